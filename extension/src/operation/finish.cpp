// Completion, failure, deferral and cancellation; settle.cpp does the consequences.  Lock order:
// executions' rows ascending, then tasks' rows ascending.  A transaction that ends a task of a
// larger execution holds the execution's row, so that one transaction at a time counts down its
// dependants.
#include <algorithm>

#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "shared/clock.hpp"
#include "spi/budget.hpp"
#include "storage/progress.hpp"
#include "storage/random.hpp"
#include "storage/record.hpp"

namespace insula {

namespace {

const TaskOptions &options_of(const Tenant &tenant, const TaskRow &task) {
  return definition_of(tenant, task.definition).options[task.task];
}

}  // namespace

void note_failed_attempt(const Tenant &tenant, const TaskRow &task, TimestampTz now, const char *error,
                         const char *event) {
  JsonObject detail = begin_object();
  add_member(detail, "attempt", std::int64_t{task.attempt});
  add_member(detail, "worker", task.worker);
  add_utc_time(detail, "started_at", task.started_at);
  add_member(detail, "error", error);
  if (task.child) add_member(detail, "child", core::make_id(tenant.number, task.child));
  insert_event(tenant, task.execution(), task.id, event, now, end_object(detail));
}

TimestampTz time_of_retry(const Tenant &tenant, const TaskRow &task, TimestampTz now) {
  return now + core::retry_delay_us(options_of(tenant, task).retry, task.attempt, random_fraction());
}

bool runs_again(const Tenant &tenant, const TaskRow &task, const char *error) {
  const TaskOptions &options = options_of(tenant, task);
  return core::retries(options.retry, options.patterns, task.attempt, error);
}

// Locks what the ends of the tasks change, and finds their rows anew if that took locks.
static FoundTasks find_and_lock(const Tenant &tenant, const std::int64_t *ids, int count) {
  FoundTasks found = find_tasks(tenant, ids, count);
  if (!lock_executions_of(tenant, found.tasks, found.task_count)) return found;
  close_found_tasks(found);
  return find_tasks(tenant, ids, count);
}

// The same without waiting: tasks of which another transaction holds an execution are left out.
static FoundTasks find_and_try_lock(const Tenant &tenant, const Completions &completions) {
  FoundTasks found = find_tasks(tenant, completions.ids, completions.count);
  auto *held = palloc_array_of<bool>(static_cast<std::size_t>(found.task_count));
  if (!try_lock_executions_of(tenant, found.tasks, found.task_count, held)) return found;
  close_found_tasks(found);
  const TaskRow *tasks = found.tasks;
  const TaskRow *end = tasks + found.task_count;
  const bool *held_now = held;
  found = find_tasks(tenant, completions.ids, completions.count);
  for (int i = 0; i < found.count; ++i) {
    while (tasks < end && tasks->id < completions.ids[i]) ++tasks, ++held_now;
    if (!found.tuples[i] || (tasks < end && tasks->id == completions.ids[i] && *held_now)) continue;
    found.tuples[i] = nullptr;
    completions.told[i] = Told::later;
  }
  return found;
}

// Rows of their executions that the ends of tasks may count down in one step.
constexpr int most_counted = 10000;

// Leaves out the tasks behind those whose executions have `most_counted` tasks together; the first execution's stay.
// Returns how many do.
static int leave_some(const Tenant &tenant, const FoundTasks &found, const Completions &completions) {
  int tasks = 0;
  std::int64_t head = 0;
  for (int i = 0; i < found.task_count; ++i) {
    const TaskRow &task = found.tasks[i];
    // An element counts down its group alone.
    if (task.element >= 0 || task.execution() == head) continue;
    head = task.execution();
    if (tasks < most_counted) {
      tasks += definition_of(tenant, task.definition).tasks;
      continue;
    }
    const auto *first = std::lower_bound(completions.ids, completions.ids + completions.count, task.id);
    const auto stay = static_cast<int>(first - completions.ids);
    for (int left = stay; left < found.count; ++left) {
      found.tuples[left] = nullptr;
      completions.told[left] = Told::later;
    }
    return stay;
  }
  return completions.count;
}

int complete(const Tenant &tenant, const Completions &completions, LockWait wait) {
  std::fill(completions.told, completions.told + completions.count, Told::lost);
  const FoundTasks found = wait == LockWait::block ? find_and_lock(tenant, completions.ids, completions.count)
                                                   : find_and_try_lock(tenant, completions);
  const int stay = wait == LockWait::skip ? leave_some(tenant, found, completions) : completions.count;
  // The locks may have taken a while, and a task must not end before its start or its dependencies'
  // ends.
  const TimestampTz now = clock_now();

  int written;
  TaskRow *ended =
      complete_rows(tenant, found, {now, completions.leases, completions.patches, wait, completions.told}, &written);
  close_found_tasks(found);
  for (int i = 0; i < written; ++i) note_settled(tenant, ended[i].id);
  if (written) settle(tenant, now, ended, written);
  return stay;
}

void lock_tasks(const Tenant &tenant, const std::int64_t *ids, int count) {
  int found;
  const TaskRow *tasks = peek_tasks(tenant, ids, count, &found);
  (void)lock_executions_of(tenant, tasks, found);
  lock_rows(tenant, ids, count);
}

bool try_lock_for_failure(const Tenant &tenant, std::int64_t id, const char *error) {
  int found;
  const TaskRow *task = peek_tasks(tenant, &id, 1, &found);
  bool held = true;
  // What has ended or is lost needs no lock.
  if (found == 0 || task->state != State::running) return true;
  if (!runs_again(tenant, *task, error)) (void)try_lock_executions_of(tenant, task, 1, &held);
  int locked;
  (void)lock_executions(tenant, &id, 1, true, &locked);
  return held && locked > 0;
}

bool fail_for_good(const Tenant &tenant, TimestampTz now, const TaskRow &task, const char *error, bool lapsed) {
  if (!fail_row(tenant, now, task, error, lapsed)) return false;
  note_settled(tenant, task.id);
  TaskRow ended = task;
  ended.state = State::failed;
  settle(tenant, now, &ended, 1);
  return true;
}

bool retry_later(const Tenant &tenant, TimestampTz now, const TaskRow &task, TimestampTz at, const char *error,
                 bool uses_attempt) {
  if (!retry_row(tenant, at, task, error, uses_attempt)) return false;
  note_settled(tenant, task.id);
  note_failed_attempt(tenant, task, now, error, uses_attempt ? attempt_event : free_retry_event);
  if (!uses_attempt) add_free_retry(tenant, {task.id, task.execution()});
  return true;
}

static bool has_free_retry(const Tenant &tenant, const TaskRow &task, int most) {
  return most > 0 && count_free_retries(tenant, {task.id, task.execution()}) < most;
}

const char *fail(const Tenant &tenant, TimestampTz now, std::int64_t id, std::int64_t lease, const Failure &failure) {
  const char *error = failure.error;
  int found;
  const TaskRow *task = peek_tasks(tenant, &id, 1, &found);
  if (found == 0 || task->state != State::running || task->lease != lease) return nullptr;
  const bool at_will = failure.retry_in >= 0;
  const bool is_free = failure.retryable && has_free_retry(tenant, *task, failure.free_retries);
  const bool again =
      at_will ? task->attempt < options_of(tenant, *task).retry.max_attempts : runs_again(tenant, *task, error);
  if (failure.retryable && (again || is_free)) {
    const TimestampTz at = at_will ? now + failure.retry_in : time_of_retry(tenant, *task, now);
    return retry_later(tenant, now, *task, at, error, !is_free) ? state_name(State::ready) : nullptr;
  }
  (void)lock_executions_of(tenant, task, 1);
  return fail_for_good(tenant, now, *task, error) ? state_name(State::failed) : nullptr;
}

bool defer(const Tenant &tenant, std::int64_t id, std::int64_t lease, TimestampTz until, Jsonb *patch) {
  int found;
  const TaskRow *task = peek_tasks(tenant, &id, 1, &found);
  if (found == 0 || !defer_row(tenant, until, *task, lease, patch)) return false;
  JsonObject detail = begin_object();
  add_member(detail, "worker", task->worker);
  add_time(detail, "until", until);
  add_utc_time(detail, "started_at", task->started_at);
  insert_event(tenant, task->execution(), id, "task_deferred", clock_now(), end_object(detail));
  note_settled(tenant, id);
  return true;
}

void end_open_tasks(const Tenant &tenant, TimestampTz now, const HeadProgress &head, State state, const char *reason,
                    LockWait wait) {
  int child_count;
  const std::int64_t *children = cancel_task_rows(tenant, head.id, head.span, now, &child_count);
  const TaskResults results = task_results(tenant, head.id, head.span, max_merged_size);
  const Definition &definition = definition_of(tenant, head.definition);
  Jsonb *final_context = final_context_of(definition, head, results);
  end_execution(tenant, head, state, now, final_context, reason);
  if (final_context) note_conflicts(tenant, now, definition, head.id, results.items, results.count);
  cancel_children(tenant, now, head.id, children, child_count, wait);
}

Change cancel_open(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason, LockWait wait) {
  Lineage lineage;
  if (!read_lineage(tenant, execution, &lineage)) return Change::unknown;
  (void)lock_lineage(tenant, lineage.parent_head, false);
  HeadProgress head;
  std::int64_t child;
  if (!cancel_execution_row(tenant, execution, now, reason, &head, &child)) return Change::already;
  if (head.span > 0)
    end_open_tasks(tenant, now, head, State::cancelled, reason, wait);
  else if (child)
    cancel_children(tenant, now, execution, &child, 1, wait);
  if (head.parent) child_ended(tenant, now, head.parent, execution, {State::cancelled, nullptr, reason});
  return Change::done;
}

void finish_put_off(const Tenant &tenant, TimestampTz now, std::int64_t execution) {
  int count;
  (void)still_put_off(tenant, &execution, 1, &count);
  if (count == 0) return;
  (void)lock_lineage(tenant, execution, false);
  for (bool goes_on = true; goes_on;) {
    CHECK_FOR_INTERRUPTS();
    begin_budget();
    const TaskRow *head = still_put_off(tenant, &execution, 1, &count);
    goes_on = count > 0 && settle_put_off(tenant, now, head, count, LockWait::block);
  }
}

// An execution whose tasks have all ended is over, even if its end is put off.
Change cancel(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason) {
  const Change change = cancel_open(tenant, execution, now, reason, LockWait::block);
  if (change == Change::already) finish_put_off(tenant, now, execution);
  return change;
}

}  // namespace insula
