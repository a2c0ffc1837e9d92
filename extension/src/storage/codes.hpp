// The numbers and letters that `work` and `record` hold, each listed once.  C++ has them as enums; SQL texts have them
// as words in braces, {state.ready}, {lane.running} and {kind.version}, which storage/words.cpp makes of the same
// lists.
#pragma once

#include "shared/watermarks.hpp"

namespace insula {

// ---- states of tasks and executions ----

// From `completed` on the row has ended.
#define INSULA_STATES(X)                                                  \
  X(pending, 0) /* dependencies open */                                   \
  X(ready, 1)   /* claimable, now or later; of an execution: not ended */ \
  X(running, 2) /* of a group: its elements run */                        \
  X(waiting, 3) /* deferred, or for an event or another execution */      \
  X(completed, 4)                                                         \
  X(failed, 5)                                                            \
  X(skipped, 6)                                                           \
  X(cancelled, 7)

#define INSULA_STATE(name, number) name = number,
enum class State : std::int16_t { INSULA_STATES(INSULA_STATE) };
#undef INSULA_STATE

inline bool has_ended(State state) { return state >= State::completed; }
const char *state_name(State state);

// ---- lanes of the queue ----

// The low lanes are claimable and are the negated priority, of rows under a concurrency limit with `lane_limited`
// added: these lie below `lanes_free`.  In the others `due` is a moment, in microseconds as timestamps count them. What
// runs comes behind all that is ready: an index takes what is added at its end more easily than in its middle.
#define INSULA_LANES(X)                                                                   \
  X(limited, -200000)                                                                     \
  X(later, 100000)   /* ready, but not yet due */                                         \
  X(running, 100001) /* due: the end of the lease */                                      \
  X(deferred, 100002)                                                                     \
  X(timeout, 100003)  /* an execution's own row: its time is up */                        \
  X(paused, 100004)   /* ready, but paused */                                             \
  X(deciding, 100005) /* waits for nothing but a decision that did not fit a budget: of a \
                         pending task whether it runs; of an execution how it has ended */

#define INSULA_LANE(name, number) lane_##name = number,
enum Lane : std::int32_t { INSULA_LANES(INSULA_LANE) };
#undef INSULA_LANE

// From here on ready rows are under no limit.
inline constexpr std::int32_t lanes_free = first_free_lane;

inline constexpr std::int32_t max_priority = 32767;
static_assert(lane_limited + max_priority < lanes_free && lanes_free < -max_priority && max_priority < lane_later);

// ---- kinds of records ----

// A record is found by its key: kind, owner, name and seq, of which those that are not named here are 0 or ''.
#define INSULA_KINDS(X)                                                                                                \
  X(version, 'w')          /* of a workflow: owner its definition number, name, seq its version, body, hash */         \
  X(current, 'c')          /* version of a workflow: name, ref its definition number; body while it is paused */       \
  X(task_key, 't')         /* owner its number, which rows of `work` carry, name `workflow.task` */                    \
  X(key_number, 'b')       /* the same by name: name `workflow.task`, ref its number */                                \
  X(held_keys, 'o')        /* of paused workflows: hash a bit for each number, the lowest of a byte first */           \
  X(number, 'n')           /* given out last: name of what, ref the number */                                          \
  X(idempotency_key, 'k')  /* name `workflow:key`, ref the execution */                                                \
  X(event, 'e')            /* that no task has waited for yet: owner the execution, name, seq in order, body */        \
  X(schedule, 'd')         /* name, ref its number, at the moment after which it fires, body what it was made with,    \
                              but for its context */                                                                   \
  X(schedule_context, 'i') /* of a schedule: owner its number, body */                                                 \
  X(fire, 'f')             /* of a schedule: owner its number, seq the time in microseconds, ref the execution that it \
                              made; none: it was passed over, and all before it */                                     \
  X(subscription, 'g')     /* of a workflow to a trigger: name `trigger.workflow`, body how */                         \
  X(sweep, 's')            /* how far retention has come: at its next turn, ref where it is */                         \
  X(rate, 'r')             /* limit: at the moment up to which it is spent */                                          \
  X(event_key, 'm')        /* idempotency key of an event: owner the execution, name */                                \
  X(progress, 'p')         /* of a task: owner its execution, seq the task, body what its runs have said; by name      \
                              `checkpoint` the value that they have saved */                                           \
  X(tally, 'y')            /* of runs of a task that used no attempt: owner its execution, name which, seq the task,   \
                              ref their number, at what it is counted from */                                          \
  X(usage, 'u')            /* of removed executions: owner the hour since 1970, name the workflow, body the sums */    \
  X(usage_added, 'a')      /* the same, not merged yet; seq the first execution removed */                             \
  X(history, 'h')          /* what departed from an undisturbed run: owner the execution, name the event, seq in       \
                              order, ref the task, body details */

#define INSULA_KIND(name, letter) name = letter,
enum class Kind : char { INSULA_KINDS(INSULA_KIND) };
#undef INSULA_KIND

// ---- as words of SQL texts ----

struct Words;
// All of the above, {lane.free}, and the phrases that statements have in common.
const Words &storage_words();

}  // namespace insula
