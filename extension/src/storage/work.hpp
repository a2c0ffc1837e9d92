// The table `work` of a tenant: executions and their tasks.  A row is an execution, a
// task, or, where a workflow has one task, both, so that such an execution takes three
// row writes in all: insert, claim, complete.  The tasks of a larger execution follow its
// row by number: execution n has its tasks at n + 1 to n + span.  A task with for_each is a
// group: its row counts down its elements, which are rows of the same task with numbers of
// their own; functions on all tasks of an execution see to them too.
//
// This is the storage interface: operations call these functions and nothing below them.
// work_queue.cpp submits and does what time causes, work_claim.cpp and work_limits.cpp claim, work_complete.cpp and
// work_runs.cpp end runs, work_graph.cpp moves executions on, work_decisions.cpp puts off what they wait for,
// work_elements.cpp has groups, work_control.cpp locks, cancels and pauses, retention.cpp removes, work_read.cpp reads,
// work_activity.cpp counts. Ids here are local numbers.  All arrays come sorted by id.  Lock order: the execution's
// row, then its tasks' rows, both ascending.
#pragma once

#include "shared/counters.hpp"
#include "shared/permits.hpp"
#include "shared/watermarks.hpp"
#include "spi/session.hpp"
#include "storage/codes.hpp"
#include "tenant/tenant.hpp"

namespace insula {

struct Submission {
  std::int32_t definition;
  std::int32_t priority;  // of the execution
  TimestampTz now;
  TimestampTz run_at;        // at or before now: at once
  std::int64_t parent;       // the task that waits for it; 0: none
  std::int64_t parent_head;  // and that task's execution
  std::int64_t timeout_us;   // of the execution; 0: none
};

// A task without its payload.
struct TaskRow {
  std::int64_t id;
  std::int64_t head;  // its execution's row; 0: it is that row itself
  std::int32_t definition;
  std::int32_t task;
  std::int32_t key;
  State state;
  std::int32_t attempt;
  std::int64_t lease;  // 0: none
  TimestampTz started_at;
  const char *worker;
  std::int64_t due;
  std::int64_t deadline;     // of its present run; 0: none
  std::int64_t parent;       // the task that waits for its execution; 0: none
  std::int64_t parent_head;  // and that task's execution
  std::int64_t child;        // the execution that it waits for; 0: none
  std::int32_t element;      // its place in a group; -1: it is no element
  bool limited;              // its workflow has a concurrency limit
  std::int64_t limit;        // which

  bool timed_out(TimestampTz now) const { return deadline != 0 && deadline <= now; }
  std::int64_t execution() const { return head ? head : id; }
};

struct Claimed {
  std::int64_t id;
  std::int64_t head;
  std::int32_t definition;
  std::int32_t task;
  std::int64_t lease;
  std::int32_t attempt;
  Datum input;           // this, output and event as they are stored, until the session ends; 0: none
  Datum output;          // what the task itself handed over when it was deferred
  TimestampTz deadline;  // 0: none
  Datum event;           // what it has waited for
  std::int32_t element;  // its place in a group, its item being the input; -1: it is no element
  std::int64_t due;      // before the claim
  bool limited;          // under a concurrency limit
  std::int64_t limit;    // which
};

// The first rows of a claim, which may come to more than can be handed out.  The row that fills it is its last.
struct Portion {
  int merges;  // rows whose contexts are yet to be merged
  std::int64_t bytes;
  std::int64_t head = 0;  // of the last row
  std::int32_t task = 0;  //

  bool is_full() const { return merges <= 0 || bytes <= 0; }
  void take(const Claimed &row);
};

struct ClaimRequest {
  const char *worker;
  std::int32_t max_tasks;
  const std::int32_t *keys;  // nullptr: any
  int key_count;
  TimestampTz now;
  TimestampTz lease_expires;
  TimestampTz begins;          // time limits are counted from then
  Portion *portion = nullptr;  // nullptr: it takes all that are wanted

  bool has_enough() const { return portion && portion->is_full(); }
};

struct HeadProgress {
  std::int64_t id;
  std::int32_t definition;
  std::int32_t span;
  std::int32_t remaining;
  Datum input;               // as it is stored; 0 while tasks remain
  std::int64_t parent;       // the task that waits for it; 0: none
  std::int64_t parent_head;  // and that task's execution
};

struct TaskResult {
  std::int32_t task;
  State state;
  Jsonb *output;
  const char *error;
  std::int32_t attempt;
  TimestampTz started_at;   // 0: never
  TimestampTz finished_at;  // 0: not yet
  const char *worker;       // of its last run
  std::int64_t child = 0;   // the execution that it waits, or has waited, for; 0: none
  bool leased = false;      // a worker has it, or had it when it was cancelled or failed for good
};

struct ExecutionRow {
  std::int32_t definition;
  std::int32_t span;
  State state;
  Jsonb *input;
  Jsonb *output;
  const char *error;
  TimestampTz created_at;
  TimestampTz started_at;
  TimestampTz finished_at;
  std::int32_t attempt;
  bool paused;
  std::int64_t parent_head;  // the execution that waits for it; 0: none
  const char *worker;        // of a single task's last run, as the others
  std::int64_t child;
  bool leased;
};

// From row `row` of the last result, whose columns are those of task_rows and task_details.
// Without the output.
TaskResult read_result(std::uint64_t row, bool with_error);
struct TaskDetail;
TaskDetail read_detail(std::uint64_t row);
// The same, from definition, span, remaining, input, parent and parent_head on.
HeadProgress read_head(std::uint64_t row, std::int64_t id, int first_column);

// ---- numbers; numbers.cpp ----

// Local numbers that no row has: for each of `count` executions the first of `stride` consecutive ones.  They come in
// the order of their numbers, but for the one moment in 2^36 numbers at which these begin again.
void take_execution_numbers(const Tenant &tenant, std::int64_t stride, int count, std::int64_t *ids);
// The first of `count` consecutive local numbers.
std::int64_t take_numbers(const Tenant &tenant, std::int64_t count);
// Greater than all that it gave before: what is in this order is in the order in which it came.
std::int64_t take_serial(const Tenant &tenant);
// The last number taken: rows up to it are newer than those beyond it, and each part is in the order in which it
// came.  The greatest number there can be, while none was used again.
std::int64_t newest_number(const Tenant &tenant);

// How each task of a definition enters the table.
struct TaskPlan {
  const std::int32_t *keys;
  const std::int32_t *dependencies;
  const std::int32_t *priorities;   // added to the execution's
  const std::int64_t *time_limits;  // of a run, in microseconds; 0: none
  int tasks;
};
// Executions to be inserted; their keys may be nullptr, all or each.
struct NewExecutions {
  const std::int64_t *ids;
  Jsonb *const *inputs;
  const char *const *keys;
  const std::int64_t *limit_keys;  // nullptr: under no limit
  int count;
};
void insert_single(const Tenant &tenant, const Submission &submission, const TaskPlan &plan,
                   const NewExecutions &executions);
void insert_graph(const Tenant &tenant, const Submission &submission, const TaskPlan &plan,
                  const NewExecutions &executions);

Claimed *claim_rows(const Tenant &tenant, const ClaimRequest &request, int *count);
// As if they had not been claimed, by this request.
void put_back(const Tenant &tenant, const ClaimRequest &request, Claimed *rows, int count);
// With `unlocked`, rows that another transaction holds do not count; this locks the row found.
bool has_claimable(const Tenant &tenant, const std::int32_t *keys, int key_count, bool unlocked);
// Timeouts of executions and decisions count unless the tenant is suspended.  DT_NOEND: nothing.
TimestampTz next_due(const Tenant &tenant);

// Tasks whose time has come become claimable.
void release_due(const Tenant &tenant, Lane lane, TimestampTz now);
TaskRow *lapsed_tasks(const Tenant &tenant, TimestampTz now, int *count);
TaskRow *tasks_held_by(const Tenant &tenant, const char *const *workers, int worker_count, int *count);
// Running tasks, sorted by id, become claimable again, with no attempt used, if no transaction holds their row and
// their lease ends by `due_by`; `lapsed`: since it has.  Moves those written to the front of `tasks` and returns how
// many.
int requeue(const Tenant &tenant, TaskRow *tasks, int count, TimestampTz now, TimestampTz due_by, bool lapsed);

// The last result has the columns of {task_header}.
TaskRow *read_task_rows(std::uint64_t rows, int *count);
TaskRow *peek_tasks(const Tenant &tenant, const std::int64_t *ids, int count, int *found);
// Locks executions' rows; with `skip`, only those that no other transaction holds.  Returns the locked.
std::int64_t *lock_executions(const Tenant &tenant, const std::int64_t *ids, int count, bool skip, int *locked);
void lock_rows(const Tenant &tenant, const std::int64_t *ids, int count);

// Rows that may be completed, as they were found: work_complete.cpp.
struct Rows;
struct FoundTasks {
  Rows *rows;
  const std::int64_t *ids;
  HeapTuple *tuples;  // aligned with `ids`; nullptr: there is none
  int count;
  TaskRow *tasks;  // those that there are: their ids, heads, parents, definitions and elements alone
  int task_count;
};
FoundTasks find_tasks(const Tenant &tenant, const std::int64_t *ids, int count);
// What a call knows of a task when it is told of its end.
enum class Told : char {
  lost,  // nothing was written: there is no such task, or its lease is lost
  done,
  later  // nothing was written: another transaction holds a row
};
// How the rows end: arrays that are aligned with the ids.
struct Completing {
  TimestampTz now;
  const std::int64_t *leases;
  Jsonb *const *patches;
  LockWait wait;
  Told *told;  // `done` and `later` are noted
};
// Returns the rows written.
TaskRow *complete_rows(const Tenant &tenant, const FoundTasks &found, const Completing &how, int *written);
void close_found_tasks(const FoundTasks &found);
// These end a run, or put it off; false: its lease is lost.
bool fail_row(const Tenant &tenant, TimestampTz now, const TaskRow &task, const char *error, bool lapsed);
bool retry_row(const Tenant &tenant, TimestampTz at, const TaskRow &task, const char *error, bool uses_attempt);
bool defer_row(const Tenant &tenant, TimestampTz until, const TaskRow &task, std::int64_t lease, Jsonb *patch);
// DT_NOEND: for ever.
bool wait_row(const Tenant &tenant, TimestampTz until, const TaskRow &task, std::int64_t lease, const char *event,
              Jsonb *patch);
// The first task of the execution that waits for the event becomes ready with it; false: none does.
bool deliver_event(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now, const char *name,
                   Jsonb *event);

struct ReadyTask {
  std::int64_t id;
  std::int64_t head;
  std::int32_t definition;
};
// Counts down open dependencies; returns those that became ready.
ReadyTask *count_down(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, const std::int32_t *counts,
                      int count, int *ready);
// The same of tasks that are to be decided: dependencies of pending ones, elements of groups, which run.  Returns those
// (by declared position) that wait for nothing more.
std::int32_t *count_down_decided(const Tenant &tenant, State state, const std::int64_t *ids, const std::int32_t *counts,
                                 int count, int *open);
// Pending tasks become claimable.
void make_ready(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, int count);
// Puts off the decision on rows of executions that the caller holds, ids ascending: they wait in the lane of decisions,
// from `now` on.
void put_off_decisions(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, int count);
// The next of those whose turn has come, up to a hundred behind the place, in the order of their turns.
struct DecisionPlace {
  std::int64_t due;
  std::int64_t id;
};
TaskRow *open_decisions(const Tenant &tenant, TimestampTz now, const DecisionPlace &after, int *count);
void no_longer_put_off(const Tenant &tenant, std::int64_t execution);
// Executions whose end is not put off and that tasks, which were cancelled with their execution, have waited for, up to
// `most`.
std::int64_t *open_children(const Tenant &tenant, std::int64_t execution, int most, int *count);
// Those of the rows that wait for one.
TaskRow *still_put_off(const Tenant &tenant, const std::int64_t *ids, int count, int *found);
// Pending tasks are skipped; returns those that were, by declared position.
std::int32_t *skip_rows(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, int count, int *skipped);
// Aligned with `ids`, which are sorted.
State *task_states(const Tenant &tenant, const std::int64_t *ids, int count);
HeadProgress *head_progress(const Tenant &tenant, const std::int64_t *ids, const std::int32_t *ended, int count,
                            int *found);
struct TaskResults {
  TaskResult *items;
  int count;
  std::size_t bytes;  // of the outputs of completed tasks
};
// Outputs that come to more than `most` bytes together are not read, and neither are errors beyond 16 MB.
TaskResults task_results(const Tenant &tenant, std::int64_t execution, std::int32_t span, std::size_t most);
// One of several tasks, which have all ended.
void end_execution(const Tenant &tenant, const HeadProgress &head, State state, TimestampTz now, Jsonb *final_context,
                   const char *error);

// Marks all rows of an execution that have not ended; claims do not see what is ready of them any more.
void pause_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now);
void resume_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now);
// Ended tasks are pending again, or ready where nothing remains.
void reopen_rows(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, const std::int32_t *remaining,
                 int count);
// `due` is its new timeout; 0: none.
void reopen_execution(const Tenant &tenant, std::int64_t execution, std::int32_t remaining, TimestampTz due);
// Executions whose time is up and whose rows no other transaction holds; locks these.
HeadProgress *timed_out_executions(const Tenant &tenant, TimestampTz now, int *count);

// Locks the rows of tasks and elements that have not ended, without waiting; false: another transaction holds one.  The
// execution's row is locked by the caller.
bool lock_open_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span);

// Cancels the execution's row; false if it has ended, even if that is put off, or does not exist.  `child`: the
// execution that it waits for.
bool cancel_execution_row(const Tenant &tenant, std::int64_t id, TimestampTz now, const char *reason,
                          HeadProgress *execution, std::int64_t *child);
// A step cancels no more.
inline constexpr int most_elements = 10000;
// Cancels up to `most` elements of an execution that is to end, of those that wait for no child and that no transaction
// holds.
struct CancelledElements {
  bool any;
  bool all;  // of which there are no more
};
CancelledElements cancel_some_elements(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now,
                                       int most);
// Returns the executions that they waited for, ascending.
std::int64_t *cancel_task_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now,
                               int *children);

// Locks a running task's row; false: the lease is lost.
bool lock_lease(const Tenant &tenant, std::int64_t id, std::int64_t lease);
// A running task, whose row is locked, waits for another execution to end.
void wait_for_child(const Tenant &tenant, const TaskRow &task, std::int64_t child);
// End or retry a task that waited for its child; false: it does so no more.
bool complete_waiting(const Tenant &tenant, TimestampTz now, const TaskRow &task, Jsonb *patch);
bool fail_waiting(const Tenant &tenant, TimestampTz now, const TaskRow &task, const char *error);
bool retry_waiting(const Tenant &tenant, TimestampTz at, const TaskRow &task, const char *error);
struct Lineage {
  std::int64_t parent_head;  // the execution that waits for this one; 0: none
  std::int32_t priority;
};
// False: there is no such execution.
bool read_lineage(const Tenant &tenant, std::int64_t execution, Lineage *lineage);

// The context of one of its tasks that an execution which has not ended keeps, for others that see more.
struct KeptContext {
  std::int32_t task;  // -1: it keeps none
  Jsonb *context;     // nullptr: not asked for
};
KeptContext kept_context(const Tenant &tenant, std::int64_t execution, bool whole);
// The caller holds the execution's row.
void keep_context(const Tenant &tenant, std::int64_t execution, const KeptContext &kept);

// The given rows' output, if they were completed, or input of an execution's row; aligned with `ids`, nullptr where
// there is none.  nullptr: they come to more than `most` bytes together, and are not read.
Jsonb **outputs_of(const Tenant &tenant, const std::int64_t *ids, int count, std::size_t most);

struct ExtendedLease {
  std::int64_t id;
  bool paused;  // its execution is
};
// Locks running tasks under their leases, without waiting; returns the ids of those locked, ascending.
std::int64_t *lock_leases(const Tenant &tenant, const std::int64_t *ids, const std::int64_t *leases, int count,
                          int *locked);
// Sorted by id.  No lease outlasts the deadline of its run.
ExtendedLease *extend_leases(const Tenant &tenant, TimestampTz now, TimestampTz expires, const std::int64_t *ids,
                             const std::int64_t *leases, int count, int *extended);
struct StoppedLease {
  std::int64_t id;
  bool cancelled;  // else its run or its execution has timed out
};
// Finds those of the leases whose run is to stop, sorted by id.
StoppedLease *stopped_leases(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, const std::int64_t *leases,
                             int count, int *stopped);
std::int64_t *live_executions(const Tenant &tenant, const std::int64_t *ids, int count, int *live);

struct ExecutionFilter {
  const char *workflow;         // nullptr: any
  const char *status;           // nullptr: any of `statuses`
  TimestampTz before;           // finished, or where it has not ended created, by then
  const char *const *statuses;  // three, or fewer and nullptr
};
std::int64_t *matching_executions(const Tenant &tenant, const ExecutionFilter &filter, std::int64_t after,
                                  std::int64_t last, int *count);

struct FinishedExecution {
  std::int64_t id;
  TimestampTz finished_at;
  std::int32_t definition;
  std::int32_t state;
};
// The rule of the tenant that fits executions of a definition with a state; retain_us -1: for ever.
struct RetentionRule {
  std::int32_t definition;
  std::int32_t state;
  std::int64_t retain_us;
};
// Those of some definitions, by definition, then state.
RetentionRule *retention_rules(const Tenant &tenant, const std::int64_t *definitions, int definition_count, int *count);
// The last of the next `rows` rows by number, up to `last`; 0: there is none.
std::int64_t end_of_stretch(const Tenant &tenant, std::int64_t after, std::int64_t last, int rows);
FinishedExecution *finished_executions(const Tenant &tenant, std::int64_t after, std::int64_t last, int *count);
// The first finished execution behind the `count` newest, `newest` being the last number taken; 0: there is none.
std::int64_t finished_beyond(const Tenant &tenant, std::int64_t newest, std::int64_t count);
// Those of them that are finished go, with tasks, history, events and keys, and their usage is stored; returns them,
// ascending.  The caller holds the locks of all.
std::int64_t *remove_executions(const Tenant &tenant, const std::int64_t *ids, int count, int *removed);

// Explains a task's state.
struct TaskDetail {
  State state;
  std::int32_t lane;
  std::int32_t attempt;
  std::int64_t due;
  bool paused;
  const char *worker;
  const char *error;
  const char *waits_for;
  std::int64_t child;
  std::int64_t limit;
};
// By declared position.
TaskDetail *task_details(const Tenant &tenant, std::int64_t execution, std::int32_t span, int tasks);

struct ClaimFilter {
  const std::int32_t *keys;  // sorted; nullptr: any
  int count;
};
// Whether the queue may hold rows under limits of workflows, which costs next to nothing.
bool may_have_limited(const Tenant &tenant);

// ---- groups; work_elements.cpp ----

struct NewElements {
  std::int64_t group;  // its row
  std::int64_t first;  // their numbers
  Jsonb *const *items;
  int count;
  TimestampTz now;
  TimestampTz run_at;  // at or before now: at once
};
// They are the group's, in the order of their numbers.
void insert_elements(const Tenant &tenant, const NewElements &elements);
// The group's elements run; `elements` of them have not ended.
void open_group_row(const Tenant &tenant, std::int64_t group, int elements, TimestampTz now);
void end_group_row(const Tenant &tenant, std::int64_t group, State state, TimestampTz now, Jsonb *output,
                   const char *error);
struct GroupSummary {
  std::int64_t failed;
  std::int64_t bytes;  // of what its elements handed over
  const char *error;   // of the first that failed, with its name
};
// Outputs that take more than `most` bytes as jsonb are not read, and `bytes` is their size as such.
GroupSummary summarize_group(const Tenant &tenant, std::int64_t group, const char *id, std::size_t most);
// {id: [what each element handed over, null where it failed]}
Jsonb *group_outputs(const Tenant &tenant, std::int64_t group, const char *id);

struct ElementResult {
  TaskResult result;
  std::int32_t element;
  std::int64_t id;
};
// By task and element.
ElementResult *element_results(const Tenant &tenant, std::int64_t execution, std::int32_t span, int *count);
struct ElementDetail {
  TaskDetail detail;
  std::int32_t task;
  std::int32_t element;
};
ElementDetail *element_details(const Tenant &tenant, std::int64_t execution, std::int32_t span, int *count);
// Those that failed or were cancelled are ready again; returns how many.
int reopen_elements(const Tenant &tenant, TimestampTz now, std::int64_t group);
// How many have not ended.
int open_elements(const Tenant &tenant, std::int64_t group);
// Its elements go.
void empty_group(const Tenant &tenant, std::int64_t group);

std::int64_t running_tasks(const Tenant &tenant);
std::int64_t running_tasks(const Tenant &tenant, Snapshot snapshot);
// Counted up to `limit`: tasks that run; tasks that wait or run.
std::int64_t running_at_most(const Tenant &tenant, std::int64_t limit);
std::int64_t queued_at_most(const Tenant &tenant, std::int64_t limit);
std::int64_t queued_at_most(const Tenant &tenant, std::int64_t limit, Snapshot snapshot);

// Reads the whole queue, as the snapshot shows it: the tasks of each version of a workflow.
Activity *count_queue(const Tenant &tenant, Snapshot snapshot, int *count);
// Tasks whose last attempt has failed, among the newest rows, by workflow and error: those that are most.
struct FailingTasks {
  std::int32_t definition;
  const char *error;
  std::int64_t tasks;
};
inline constexpr int failures_looked_at = 1000;
FailingTasks *failing_tasks(const Tenant &tenant, int *count);
// Since when the oldest claimable task has been ready, and its execution; DT_NOEND: there is none.
TimestampTz oldest_ready(const Tenant &tenant, std::int64_t *execution = nullptr);

// Rows may stand in the queue index for a timeout or a decision alone.
inline bool is_queued(std::int32_t lane) { return lane != lane_timeout && lane != lane_deciding; }
Place place_of(std::int32_t lane);  // where it is queued
bool read_execution(const Tenant &tenant, std::int64_t id, ExecutionRow *row);
// The first start of the execution's tasks, of which the last runs began at `last_runs`, or later; 0: none has started.
TimestampTz first_start(const Tenant &tenant, std::int64_t execution, TimestampTz last_runs);

}  // namespace insula
