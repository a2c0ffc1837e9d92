// The operations on executions and tasks, each in the caller's transaction.  Entry points have
// resolved, checked and opened the tenant, and opened a storage session.  Ids are local numbers;
// `now` is the database's clock.
#pragma once

#include "definition/definition.hpp"
#include "storage/erase.hpp"
#include "storage/record.hpp"
#include "storage/work.hpp"

namespace insula {

struct SubmitRequest {
  const char *workflow;
  Jsonb *const *contexts;
  const char *const *keys;  // idempotency keys; nullptr: none, for one submission or for all
  int count;
  std::int32_t priority;
  TimestampTz run_at;
  std::int64_t parent = 0;  // the task that waits for the execution, and that task's own execution
  std::int64_t parent_head = 0;
  bool *fresh = nullptr;  // by context: false if the idempotency key was known; nullptr: not asked
};

// Returns whole ids, one for each context, in `result_memory`.
std::int64_t *submit(const Tenant &tenant, const SubmitRequest &request, MemoryContext result_memory);

// Advances the tenant's queue: delayed and deferred tasks become claimable, leases lapse, tasks of
// dead workers are requeued, timeouts end executions, finished ones go, and decisions that were put off are taken up.
// True: it has done something that the next due moment does not show.
enum class Visitor { scheduler, call };  // a call leaves decisions to a scheduler that attends to the tenant
bool advance(const Tenant &tenant, TimestampTz now, Visitor visitor = Visitor::call);
// The part of it that decides.
bool take_up_decisions(const Tenant &tenant, TimestampTz now);
// Whether `advance` has anything to do by `now`.  With shared memory the answer costs nothing.
bool may_need_advance(const Tenant &tenant, TimestampTz now, TimestampTz *next);
bool needs_advance(const Tenant &tenant, TimestampTz now, TimestampTz *next);
// The part of `advance` that requeues tasks of dead workers; false: some are locked.
bool reap_dead_workers(const Tenant &tenant, TimestampTz now);
// Whether a sweep through finished executions is due.
bool retention_due(const Tenant &tenant, TimestampTz now, TimestampTz *next);
// Sweeps one stretch of finished executions.
void remove_finished(const Tenant &tenant, TimestampTz now);
// Requeues the worker's tasks; the attempts do not count.
void give_back(const Tenant &tenant, const char *worker, TimestampTz now);

struct ClaimedTask {
  Claimed row;
  Jsonb *context;
  Jsonb *item;   // nullptr: the task is no element of a group
  Jsonb *event;  // nullptr: the task has waited for no event
  std::size_t text_size;
};
// The receiver of claimed tasks.
struct ClaimSink {
  void *self;
  // *bytes: the room that the task takes.  False: the caller's encoding cannot hold its text.
  bool (*put)(void *self, const Tenant &tenant, const ClaimedTask &task, std::size_t *bytes);
  std::size_t *room;   // bytes left; the last task may take more
  std::size_t *share;  // bytes left of the tenant's share, which no task goes beyond
  bool *takes_long;    // but for the first one, if this is set, which is unset then
  bool *passed_over;   // set if that first one was left since this is not set
  bool *cut_short;     // set if tasks may be left for which there was no room
  bool for_all;        // the call serves other tenants, too
};
// Rows under no limit of their workflow, or under one.
enum class RowKind { unlimited, limited };
// What may change the answer of a look that has found nothing to claim, besides what wakes a waiter.
struct Prospect {
  TimestampTz next = DT_NOEND;  // time alone does, for all of the tenant's tasks
  bool refused = false;         // tasks are ready, and have no permit
  bool unsure = false;          // another transaction holds the tenant's permits lock
};
// Whether a claim of these tasks, nullptr being any, would now return one; if not, it adds to the prospect.
// `unlocked`: only rows count that no transaction holds.  To be asked for rows under limits only where
// may_have_limited() says that there may be some.
bool would_claim(const Tenant &tenant, const char **tasks, int task_count, RowKind kind, bool unlocked,
                 Prospect *prospect);
bool would_claim(const Tenant &tenant, const char **tasks, int task_count, Prospect *prospect);
// Returns how many tasks it claimed.  Tasks for which there is no room stay ready.
int claim(const Tenant &tenant, const ClaimRequest &request, const ClaimSink &sink);

inline LimitedWork limited_work(const Tenant &tenant, Limited what) { return {tenant.number, what, tenant.work}; }
// How many of the wanted tasks the tenant's limits let this transaction claim.
int take_permits(const Tenant &tenant, TimestampTz now, int wanted);
struct UsedPermits {
  int wanted;
  int given;
  int used;
};
void use_permits(const Tenant &tenant, TimestampTz now, const UsedPermits &used);
// Whether a claim would probably get a permit; does not read the queue.
bool has_permit_at_hand(const Tenant &tenant);
// Whether a claim would get a permit; if not, it adds to the prospect.
bool has_permit(const Tenant &tenant, TimestampTz now, Prospect *prospect);
// The tenant's permits lock, until the transaction ends; false: another one has it.
bool try_lock_permits(const Tenant &tenant);
// Makes the numbers of permits known, or makes sure of them, where they are to be counted; false: it has not.
bool count_permits_if_wanted(const Tenant &tenant, Limited what);
// The limit that an execution with this input is under.
std::int64_t limit_key_of(const Definition &definition, Jsonb *input);
// Claims tasks that are under their workflows' limits.
Claimed *claim_limited(const Tenant &tenant, const ClaimRequest &request, int *count);
bool has_claimable_limited(const Tenant &tenant, const ClaimFilter &filter, Prospect *prospect);
// Raises IS006 if `added` more tasks would exceed max_queued.
void check_queue_room(const Tenant &tenant, std::int64_t added);
// Takes the room, which the end of the transaction gives back or fills; false: there is none.
bool find_queue_room(const Tenant &tenant, std::int64_t added);

// A session that was woken for work and then claimed nothing is waiting for rows that another
// transaction holds: until it claims a task, its looks skip locked rows.
void expect_claim();
void note_claim(int count);
bool claims_come_back_empty();

// Tasks of one tenant; all arrays are aligned with the ids, which ascend.
struct Completions {
  const std::int64_t *ids;
  const std::int64_t *leases;
  Jsonb *const *patches;
  int count;
  Told *told;  // what became of each
};
// Returns how many of them it has dealt with: with LockWait::skip the ends of the others would change too much in one
// step, and they are to be told later.
int complete(const Tenant &tenant, const Completions &completions, LockWait wait);
// Locks tasks, and the rows that their end may change, for several calls that settle them.  Ids ascend.
void lock_tasks(const Tenant &tenant, const std::int64_t *ids, int count);
// The same for one task that is to fail, without waiting; false: another transaction holds one.
bool try_lock_for_failure(const Tenant &tenant, std::int64_t id, const char *error);
struct Failure {
  const char *error;
  bool retryable;
  std::int64_t retry_in = -1;  // microseconds, whatever the policy says but its number of attempts; -1: as that says
  int free_retries = 0;        // with retry_in: the first runs that end so use no attempt
};
// Returns the task's next state; nullptr: the lease is lost.
const char *fail(const Tenant &tenant, TimestampTz now, std::int64_t id, std::int64_t lease, const Failure &failure);
bool defer(const Tenant &tenant, std::int64_t id, std::int64_t lease, TimestampTz until, Jsonb *patch);

// Makes the task wait for the event until `until`; DT_NOEND: for ever.  False: the lease is lost.
bool wait_event(const Tenant &tenant, std::int64_t id, std::int64_t lease, const char *event, TimestampTz until,
                Jsonb *patch);

struct SeenContext;
// A group of an execution whose row is locked.
struct FanOut {
  const Tenant &tenant;
  const Definition &definition;
  std::int64_t head;
  std::int32_t task;

  std::int64_t id() const { return head + 1 + task; }
};
struct Opened {
  State state;  // running, or the state of a group that ended at once
  int elements;
};
// Opens a group whose dependencies have ended: its elements are ready at `run_at`, or at once.
Opened open_group(const FanOut &group, TimestampTz now, TimestampTz run_at, SeenContext *seen);
// Closes a group whose elements have all ended.
State close_group(const FanOut &group, TimestampTz now);
// Makes the row of an ended group for `settle`.
TaskRow ended_group(const FanOut &group, State state);

// Submits an execution that the running task waits for.  Returns its whole id; 0: the lease is
// lost.
std::int64_t submit_child(const Tenant &tenant, std::int64_t id, std::int64_t lease, const char *workflow,
                          Jsonb *context);
struct Outcome {
  State state;
  Jsonb *final_context;
  const char *error;
};
// Continues the task that waited for an ended execution.  The caller holds the task's own
// execution.
void child_ended(const Tenant &tenant, TimestampTz now, std::int64_t parent, std::int64_t child,
                 const Outcome &outcome);
// Cancels the executions that an execution which has ended has waited for; ids ascending.  Those that do not fit the
// budget, or that another transaction holds where the call is not to wait, are put off.
void cancel_children(const Tenant &tenant, TimestampTz now, std::int64_t execution, const std::int64_t *children,
                     int count, LockWait wait);
// Takes that up, at least one of them; false: all are held.
bool cancel_open_children(const Tenant &tenant, TimestampTz now, std::int64_t execution, LockWait wait);

// Locks the rows that the tasks' end may change: their executions, unless all are single, and all
// executions that wait for these.  False: nothing needs a lock.
bool lock_executions_of(const Tenant &tenant, const TaskRow *tasks, int count);
// The same without waiting, and not for single tasks: held[i] says whether it has the rows of tasks[i].
bool try_lock_executions_of(const Tenant &tenant, const TaskRow *tasks, int count, bool *held);
// Locks executions and all that wait for them.
void lock_lineages(const Tenant &tenant, const std::int64_t *executions, int count);
// Locks an execution (0: none) and all that wait for it.  With `skip` it does not wait; false:
// another transaction holds one.
bool lock_lineage(const Tenant &tenant, std::int64_t execution, bool skip);

// Joins the transaction to a running task: it commits only if it also settles the task.  False: the
// lease is lost.  `role` is the caller's.
bool join(const Tenant &tenant, std::int64_t id, std::int64_t lease, Oid role);
// The number of the tenant to whose tasks the current role has joined the transaction; 0: none, or several.
std::int32_t joined_tenant();
// Called when this transaction has completed, failed or requeued the task.
void note_settled(const Tenant &tenant, std::int64_t id);
extern const TransactionStep joined_tasks_step;

// WAL between the two calls may be lost in a crash: if the transaction writes nothing else, its
// commit waits neither for the disk nor for a standby.
void begin_async_commit();
void end_async_commit();
extern const TransactionStep async_commit_step;

enum class Change {
  done,
  already,  // in that state already, or ended
  unknown,  // no such execution
};
// Starts no further task of it, and tells running handlers through their heartbeats.
Change pause(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason);
Change resume(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason);
// Runs failed and cancelled tasks again, and those skipped because of them.
Change retry(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason);
// Wakes the task that waits for the event, or stores the event for one that will.  `key`: the first event with it
// counts; nullptr: none.
struct SentEvent {
  const char *name;
  Jsonb *payload;
  const char *key;
};
Change send_event(const Tenant &tenant, std::int64_t execution, TimestampTz now, const SentEvent &event);
Change cancel(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason);
// The same if it has not ended.  With LockWait::skip the caller holds the rows that this changes, but for those of
// executions that it waits for.
Change cancel_open(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason, LockWait wait);
// Brings the execution's end about if that is put off.
void finish_put_off(const Tenant &tenant, TimestampTz now, std::int64_t execution);

enum class Verb { cancel, pause, resume, retry, remove };
struct BulkRequest {
  Verb verb;
  ExecutionFilter filter;
  TimestampTz now;
  const char *reason;
  bool dry_run;
  int most;
};
// The ids of the changed executions; in a dry run, of those that would be changed.
std::int64_t *apply_to_all(const Tenant &tenant, const BulkRequest &request, int *count);

// Empties executions that have ended, and their children; the rows stay.
struct Erasure {
  std::int64_t executions;
  std::int64_t rows;
  std::int64_t open;          // that were left out: they have not ended, or another transaction holds them
  std::int64_t open_example;  // 0: there is none
  std::int64_t parents;       // that keep what an emptied one has handed to them
  std::int64_t schedules;     // and subscriptions, whose contexts match
  std::int64_t next;          // where to go on; 0: all rows were read
};
// False: it has not ended, or is not there.
bool scrub(const Tenant &tenant, std::int64_t execution, Erasure *erasure);
struct ErasureRequest {
  ErasureFilter filter;
  std::int64_t after;
  std::int32_t most;
  bool dry_run;  // counts what would be emptied, and changes and locks nothing
};
Erasure erase(const Tenant &tenant, const ErasureRequest &request);

// Settles tasks whose rows have just ended: their dependants become ready or skipped, their
// executions end.  The caller holds the executions' rows, except those of single tasks.
// Decisions on tasks with a trigger rule or with for_each, and ends of executions, that do not fit the budget are put
// off: `advance` takes them up.  One execution ends in any case, unless what has ended is a child, whose lineage may be
// long.
void settle(const Tenant &tenant, TimestampTz now, TaskRow *ended, int count, bool of_child = false);
// Decides on tasks of one execution that are pending and wait for nothing more.  The caller holds its row.
void settle_open(const Tenant &tenant, TimestampTz now, const TaskRow *open, int count);
// Takes up decisions of one execution that were put off, at least the first one; the caller holds its row, and those
// of its lineage.  False: nothing could be done, since other transactions hold what it would change.
bool settle_put_off(const Tenant &tenant, TimestampTz now, const TaskRow *rows, int count, LockWait wait);
// Fails a task; the caller holds its row and its execution's.
bool fail_for_good(const Tenant &tenant, TimestampTz now, const TaskRow &task, const char *error, bool lapsed = false);
// Retries a task at that time; the caller holds its row.  False: the lease is lost.
bool retry_later(const Tenant &tenant, TimestampTz now, const TaskRow &task, TimestampTz at, const char *error,
                 bool uses_attempt = true);
// Records the attempt in the history.
void note_failed_attempt(const Tenant &tenant, const TaskRow &task, TimestampTz now, const char *error,
                         const char *event = attempt_event);
TimestampTz time_of_retry(const Tenant &tenant, const TaskRow &task, TimestampTz now);
// Ends an execution in this state with all its open tasks; the caller holds its row, and with LockWait::skip theirs.
void end_open_tasks(const Tenant &tenant, TimestampTz now, const HeadProgress &head, State state, const char *reason,
                    LockWait wait);
// Whether the task runs again if its present run ends with this error.
bool runs_again(const Tenant &tenant, const TaskRow &task, const char *error);
// Whether a task with a trigger rule has run after the failed task.
bool is_handled(const Definition &definition, const TaskResult *results, std::int32_t task);
// The error of a failed execution: that of its first failed task in declared order; nullptr: none
// failed.
const char *failure_of(const Definition &definition, const TaskResult *results, int count);
// nullptr: the context would be too large.
Jsonb *final_context_of(const Definition &definition, Jsonb *input, const TaskResult *results, int count);
Jsonb *final_context_of(const Definition &definition, const HeadProgress &head, const TaskResults &results);
// Records the places where tasks, neither of which waits for the other, set different values.
void note_conflicts(const Tenant &tenant, TimestampTz now, const Definition &definition, std::int64_t head,
                    const TaskResult *results, int count);

// The errors of runs that did not report back.
inline constexpr const char *lapse_error = "the worker did not report back before its lease ended";
inline constexpr const char *timeout_error = "timeout: the run took longer than the task's timeout";

}  // namespace insula
