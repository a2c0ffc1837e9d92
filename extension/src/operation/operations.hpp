// What can happen to executions and tasks, each in the caller's transaction.  Operations
// get a tenant that the entry points have resolved, checked and opened, inside a storage
// session; ids are local numbers.  Time comes in as `now`, the database's clock.
#pragma once

#include "definition/definition.hpp"
#include "storage/work.hpp"

namespace insula {

struct SubmitRequest {
  const char *workflow;
  Jsonb *const *contexts;
  const char *const *keys;  // idempotency keys, nullptr where there is none; or nullptr
  int count;
  std::int32_t priority;
  TimestampTz run_at;
  std::int64_t parent = 0;  // the task that waits for it, and that task's execution
  std::int64_t parent_head = 0;
  bool *fresh = nullptr;  // aligned with the contexts: false where a key was known
};

// Whole ids, aligned with the contexts; allocated in `result_memory`.
std::int64_t *submit(const Tenant &tenant, const SubmitRequest &request, MemoryContext result_memory);

// All that time causes: delayed and deferred tasks become claimable, lapsed leases and
// those of dead workers are given back.
void advance(const Tenant &tenant, TimestampTz now);
// Whether there is anything for `advance` to do by `now`; what the due queue knows costs nothing.
bool may_need_advance(const Tenant &tenant, TimestampTz now, TimestampTz *next);
bool needs_advance(const Tenant &tenant, TimestampTz now, TimestampTz *next);
// The part of it that gives back the tasks of dead workers; false: some are locked.
bool reap_dead_workers(const Tenant &tenant, TimestampTz now);
// Whether finished executions are to be looked through for those that may go.
bool retention_due(const Tenant &tenant, TimestampTz now, TimestampTz *next);
// An execution has ended: who waits for it is told at the commit, and in time it may go.
void note_end(const Tenant &tenant, std::int64_t execution, std::int32_t definition, State state);
// Looks through a stretch of them.
void remove_finished(const Tenant &tenant, TimestampTz now);
// A worker's tasks are ready again, without an attempt used.
void give_back(const Tenant &tenant, const char *worker, TimestampTz now);

struct ClaimedTask {
  Claimed row;
  Jsonb *context;
  Jsonb *item;   // nullptr: it is no element of a group
  Jsonb *event;  // nullptr: it has waited for none
};
// Where claimed tasks go, one after the other.
struct ClaimSink {
  void *self;
  // *bytes: what it takes there.  False: it has text that the caller cannot be sent.
  bool (*put)(void *self, const Tenant &tenant, const ClaimedTask &task, std::size_t *bytes);
  std::size_t *room;  // so many are left; the last may take more
};
// Returns how many it claimed: as many as there is room for; the others that could be had stay ready.
int claim(const Tenant &tenant, const ClaimRequest &request, const ClaimSink &sink);

// Makes the numbers of permits known where they are not and can be, or counts anew where it is time.
void count_permits_if_wanted(const Tenant &tenant);
// How many of the wanted tasks the tenant's limits let this transaction claim now.
int take_permits(const Tenant &tenant, TimestampTz now, int wanted);
struct UsedPermits {
  int wanted;
  int given;
  int used;
};
void use_permits(const Tenant &tenant, TimestampTz now, const UsedPermits &used);
// Whether it would mostly get one, as far as can be told without a look at the queue.
bool has_permit_at_hand(const Tenant &tenant);
// Whether a claim would get one; where time alone will change that, *next is brought forward.
bool has_permit(const Tenant &tenant, TimestampTz now, TimestampTz *next);
// Whose limit an execution with this input comes under.
std::int64_t limit_key_of(const Definition &definition, Jsonb *input);
// Claims tasks under their workflows' limits.
Claimed *claim_limited(const Tenant &tenant, const ClaimRequest &request, int *count);
bool has_claimable_limited(const Tenant &tenant, const ClaimFilter &filter);
// IS006 where so many tasks more would be too many.
void check_queue_room(const Tenant &tenant, std::int64_t added);

// A session that was told that there is work and whose claim then got none waits for rows
// that another transaction holds: until it gets some, its looks leave these out.
void expect_claim();
void note_claim(int count);
bool claims_come_back_empty();

// completed[i]: whether the task of ids[i] was completed.  Ids ascend.
void complete(const Tenant &tenant, const std::int64_t *ids, const std::int64_t *leases, Jsonb *const *patches,
              int count, bool *completed);
// Locks tasks, and what ending them may change, where more than one call is to settle them.  Ids ascend.
void lock_tasks(const Tenant &tenant, const std::int64_t *ids, int count);
// The task's next state; nullptr: the lease is lost.
const char *fail(const Tenant &tenant, TimestampTz now, std::int64_t id, std::int64_t lease, const char *error,
                 bool retryable);
bool defer(const Tenant &tenant, std::int64_t id, std::int64_t lease, TimestampTz until, Jsonb *patch);

// The task waits for the event until the given time, or for ever (DT_NOEND); false: the lease is lost.
bool wait_event(const Tenant &tenant, std::int64_t id, std::int64_t lease, const char *event, TimestampTz until,
                Jsonb *patch);

// A task with for_each, of an execution whose row is locked.
struct FanOut {
  const Tenant &tenant;
  const Definition &definition;
  std::int64_t head;
  std::int32_t task;

  std::int64_t id() const { return head + 1 + task; }
};
struct Opened {
  State state;  // running, or it has ended at once
  int elements;
};
// All that the group waits for has ended: its elements are ready, at `run_at` if that is later.
Opened open_group(const FanOut &group, TimestampTz now, TimestampTz run_at);
// All its elements have ended.
State close_group(const FanOut &group, TimestampTz now);
// Such a row, for `settle`.
TaskRow ended_group(const FanOut &group, State state);

// Submits an execution that a running task waits for; returns its whole id, 0: the lease is lost.
std::int64_t submit_child(const Tenant &tenant, std::int64_t id, std::int64_t lease, const char *workflow,
                          Jsonb *context);
struct Outcome {
  State state;
  Jsonb *final_context;
  const char *error;
};
// The execution has ended: the task that waited for it goes on.  Its execution is locked.
void child_ended(const Tenant &tenant, TimestampTz now, std::int64_t parent, std::int64_t child,
                 const Outcome &outcome);
// Executions whose parents were cancelled, or have timed out; ascending.
void cancel_children(const Tenant &tenant, const std::int64_t *children, int count, TimestampTz now);

// Locks what ending the tasks may change: their executions, unless all are single, and all
// executions that wait for these.  False: there is nothing to lock.
bool lock_executions_of(const Tenant &tenant, const TaskRow *tasks, int count);
// Locks executions and all that wait for them.
void lock_lineages(const Tenant &tenant, const std::int64_t *executions, int count);
// Locks an execution and all that wait for it, or 0; with `skip`, false where somebody holds one of them.
bool lock_lineage(const Tenant &tenant, std::int64_t execution, bool skip);

// Ties the transaction to a running task: it will commit only if it settles the task too.
// False: the lease is lost.
bool join(const Tenant &tenant, std::int64_t id, std::int64_t lease);
// The task was completed, failed or given back in this transaction.
void note_settled(const Tenant &tenant, std::int64_t id);
extern const TransactionStep joined_tasks_step;

// What is written between the two may be lost in a crash: where a transaction has written
// nothing else, its commit does not wait for the disk, nor for a standby.
void begin_async_commit();
void end_async_commit();
extern const TransactionStep async_commit_step;

enum class Change {
  done,
  already,  // so already, or too late
  unknown,  // no such execution
};
// No further task of it starts; running handlers are told.
Change pause(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason);
Change resume(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason);
// Runs again what failed or was cancelled, and what was skipped because of it.
Change retry(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason);
// Wakes the task of the execution that waits for the event, or keeps it for one that will.
Change send_event(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *event, Jsonb *payload);
Change cancel(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason);

enum class Verb { cancel, retry, remove };
struct BulkRequest {
  Verb verb;
  ExecutionFilter filter;
  TimestampTz now;
  const char *reason;
  bool dry_run;
  int most;
};
// The executions that it was done to, or in a dry run would be.
std::int64_t *apply_to_all(const Tenant &tenant, const BulkRequest &request, int *count);

// Tasks whose rows have just ended: dependants, skips and ends of executions follow.
// Executions' rows are locked by the caller, except those of single tasks.
void settle(const Tenant &tenant, TimestampTz now, TaskRow *ended, int count);
// Fails a task whose row and execution are locked.
bool fail_for_good(const Tenant &tenant, TimestampTz now, const TaskRow &task, const char *error);
// Lets a task whose row is locked run again, after its delay; false: the lease is lost.
bool retry_later(const Tenant &tenant, TimestampTz now, const TaskRow &task, const char *error);
// An attempt of it becomes history.
void note_failed_attempt(const Tenant &tenant, const TaskRow &task, TimestampTz now, const char *error);
TimestampTz time_of_retry(const Tenant &tenant, const TaskRow &task, TimestampTz now);
// An execution whose row is locked ends in this state, with all that it still has to do.
void end_open_tasks(const Tenant &tenant, TimestampTz now, const HeadProgress &head, State state, const char *reason);
// Whether a task whose present run ends with this error runs again.
bool runs_again(const Tenant &tenant, const TaskRow &task, const char *error);
// Whether a task with a trigger rule has run after the failed one.
bool is_handled(const Definition &definition, const TaskResult *results, std::int32_t task);
// What an execution that failed says: its first failed task in declared order; nullptr: none failed.
const char *failure_of(const Definition &definition, const TaskResult *results, int count);
// nullptr: it would be too large.
Jsonb *final_context_of(const Definition &definition, Jsonb *input, const TaskResult *results, int count);
// Writes down where tasks of which none waits for the other had handed over different values.
void note_conflicts(const Tenant &tenant, TimestampTz now, const Definition &definition, std::int64_t head,
                    const TaskResult *results, int count);

// The errors of runs that nobody reported.
inline constexpr const char *lapse_error = "the worker did not report back before its lease ended";
inline constexpr const char *timeout_error = "timeout: the run took longer than the task's timeout";

// What a task of a larger execution sees: the input, and the patches of all its ancestors that
// were completed.  nullptr: it would be too large.
Jsonb *context_of_task(const Tenant &tenant, const Definition &definition, std::int64_t head, std::int32_t task);

// Contexts that together are larger are not merged: the task or the execution fails.
inline constexpr std::size_t max_merged_size = std::size_t{64} << 20;

}  // namespace insula
