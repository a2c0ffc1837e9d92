// Advancing a tenant's queue: the changes that time causes.  It never waits for a lock that a
// tenant's open transaction holds; it leaves locked rows for the next time.
#include <algorithm>

#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "shared/due_queue.hpp"
#include "shared/shared.hpp"
#include "spi/budget.hpp"
#include "storage/progress.hpp"
#include "storage/record.hpp"

namespace insula {

namespace {

// Locks the rows that failing the tasks changes, without waiting; returns the tasks that can be
// failed now.
int lock_for_failure(const Tenant &tenant, TaskRow *tasks, int count) {
  if (count == 0) return 0;
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  auto keep_locked = [&](std::int64_t (*id_of)(const TaskRow &)) {
    for (int i = 0; i < count; ++i) ids[i] = id_of(tasks[i]);
    std::sort(ids, ids + count);
    const int distinct = static_cast<int>(std::unique(ids, ids + count) - ids);
    int locked = 0;
    const std::int64_t *held = lock_executions(tenant, ids, distinct, true, &locked);
    count = static_cast<int>(
        std::remove_if(tasks, tasks + count,
                       [&](const TaskRow &task) { return !std::binary_search(held, held + locked, id_of(task)); }) -
        tasks);
  };
  count = static_cast<int>(std::remove_if(tasks, tasks + count,
                                          [&](const TaskRow &task) {
                                            return task.parent_head && !lock_lineage(tenant, task.parent_head, true);
                                          }) -
                           tasks);
  keep_locked([](const TaskRow &task) { return task.execution(); });
  if (count) keep_locked([](const TaskRow &task) { return task.id; });
  return count;
}

// A requeue clears when the run began, so the event keeps it; the row of a task that has failed does by itself.
enum class Began { in_event, in_row };

void note_lapse(const Tenant &tenant, const TaskRow &task, TimestampTz now, const char *event, Began began) {
  JsonObject detail = begin_object();
  add_member(detail, "attempt", std::int64_t{task.attempt});
  add_member(detail, "worker", task.worker);
  if (began == Began::in_event) add_utc_time(detail, "started_at", task.started_at);
  insert_event(tenant, task.execution(), task.id, event, now, end_object(detail));
}

const TaskOfExecution *executions_of(const TaskRow *tasks, int count) {
  auto *ids = palloc_array_of<TaskOfExecution>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) ids[i] = {tasks[i].id, tasks[i].execution()};
  return ids;
}

// Returns how many tasks were requeued; the others are locked or have changed.
int back_to_queue(const Tenant &tenant, TaskRow *tasks, int count, TimestampTz now, TimestampTz due_by,
                  const char *event) {
  if (count == 0) return 0;
  std::sort(tasks, tasks + count, [](const TaskRow &a, const TaskRow &b) { return a.id < b.id; });
  const bool lapsed = event == lapse_event;
  const int written = requeue(tenant, tasks, count, now, due_by, lapsed);
  if (lapsed) add_lapses(tenant, executions_of(tasks, written), written);
  for (int i = 0; i < written; ++i) note_lapse(tenant, tasks[i], now, event, Began::in_event);
  return written;
}

// Moves the tasks that run again after a lapse to the front, and returns how many they are.
int part_survivors(const Tenant &tenant, TaskRow *tasks, int count) {
  if (count == 0) return 0;
  const std::int64_t *lapses = count_lapses(tenant, executions_of(tasks, count), count);
  int survivors = 0;
  for (int i = 0; i < count; ++i)
    if (core::survives_lapse(definition_of(tenant, tasks[i].definition).options[tasks[i].task].retry, lapses[i]))
      std::swap(tasks[survivors++], tasks[i]);
  return survivors;
}

// Fails tasks whose runs may not lapse once more; returns how many.
int fail_exhausted(const Tenant &tenant, TaskRow *tasks, int count, TimestampTz now, TimestampTz due_by) {
  count = lock_for_failure(tenant, tasks, count);
  if (count == 0) return 0;
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) ids[i] = tasks[i].id;
  std::sort(ids, ids + count);
  // A heartbeat or a completion may have come before the locks.
  int found;
  TaskRow *locked = peek_tasks(tenant, ids, count, &found);
  int failed = 0;
  const int survivors = part_survivors(tenant, locked, found);
  for (int i = survivors; i < found && (i == survivors || !budget_is_spent()); ++i) {
    if (locked[i].state != State::running || locked[i].due > due_by) continue;
    if (!fail_for_good(tenant, now, locked[i], lapse_error, true)) continue;
    note_lapse(tenant, locked[i], now, lapse_event, Began::in_row);
    ++failed;
  }
  return failed;
}

// Fails runs that have reached their timeout, or retries them by their policy; returns how many.
int fail_timed_out(const Tenant &tenant, TaskRow *tasks, int count, TimestampTz now) {
  count = lock_for_failure(tenant, tasks, count);
  int failed = 0;
  for (int i = 0; i < count && (i == 0 || !budget_is_spent()); ++i) {
    const bool done = runs_again(tenant, tasks[i], timeout_error)
                          ? retry_later(tenant, now, tasks[i], time_of_retry(tenant, tasks[i], now), timeout_error)
                          : fail_for_good(tenant, now, tasks[i], timeout_error);
    failed += done ? 1 : 0;
  }
  return failed;
}

// A lapsed run uses no attempt; one too many fails the task.  True: every task was dealt with; false: some are locked.
bool lapse(const Tenant &tenant, TaskRow *tasks, int count, TimestampTz now, TimestampTz due_by) {
  const int all = count;
  TaskRow *in_time = std::partition(tasks, tasks + count, [now](const TaskRow &task) { return task.timed_out(now); });
  const int timed_out = fail_timed_out(tenant, tasks, static_cast<int>(in_time - tasks), now);
  count -= static_cast<int>(in_time - tasks);
  tasks = in_time;
  const int survivors = part_survivors(tenant, tasks, count);
  const int back = back_to_queue(tenant, tasks, survivors, now, due_by, lapse_event);
  const int failed = fail_exhausted(tenant, tasks + survivors, count - survivors, now, due_by);
  return timed_out + back + failed == all;
}

}  // namespace

bool reap_dead_workers(const Tenant &tenant, TimestampTz now) {
  int dead_count;
  const DeadWorker *dead = dead_workers_of(tenant.number, &dead_count);
  if (dead_count == 0) return true;
  auto **names = palloc_array_of<const char *>(static_cast<std::size_t>(dead_count));
  for (int i = 0; i < dead_count; ++i) names[i] = dead[i].name;
  int count;
  TaskRow *tasks = tasks_held_by(tenant, names, dead_count, &count);
  if (!lapse(tenant, tasks, count, now, DT_NOEND)) return false;
  // A dead worker of all tenants is forgotten only after every tenant's visit.
  for (int i = 0; i < dead_count; ++i)
    if (dead[i].tenant == tenant.number) announce_dead_worker_reaped(dead[i].role, dead[i].name);
  return true;
}

bool may_need_advance(const Tenant &tenant, TimestampTz now, TimestampTz *next) {
  TimestampTz due;
  if (tenant.is_aside()) {
    if (next) *next = tenant.aside_until + scheduler_patience;  // the scheduler visits it before
    return false;
  }
  if (!due_in_queue(tenant.number, &due) || due <= now || has_dead_worker(tenant.number))
    return needs_advance(tenant, now, next);
  if (next) *next = due;
  return false;
}

bool needs_advance(const Tenant &tenant, TimestampTz now, TimestampTz *next) {
  const TimestampTz due = next_due(tenant);
  if (next) *next = due;
  const bool sweep = retention_due(tenant, now, next);
  return due <= now || has_dead_worker(tenant.number) || sweep;
}

// An execution past its timeout fails at once, whatever its tasks do, unless it has very many elements: then
// these go first.  True: some have.
static bool fail_timed_out_executions(const Tenant &tenant, TimestampTz now) {
  const char *error = "timeout: the execution took longer than its timeout";
  int count;
  const HeadProgress *heads = timed_out_executions(tenant, now, &count);
  bool some_gone = false;
  for (int i = 0; i < count && (i == 0 || !budget_is_spent()); ++i) {
    const HeadProgress &head = heads[i];
    // The timeout of its parent may just have ended it.
    ExecutionRow row;
    if (!read_execution(tenant, head.id, &row) || has_ended(row.state)) continue;
    if (head.parent_head && !lock_lineage(tenant, head.parent_head, true)) continue;
    if (definition_of(tenant, head.definition).has_groups) {
      const CancelledElements cancelled = cancel_some_elements(tenant, head.id, head.span, now, most_elements);
      some_gone = some_gone || cancelled.any;
      if (!cancelled.all) continue;
    }
    if (!lock_open_rows(tenant, head.id, head.span)) continue;
    end_open_tasks(tenant, now, head, State::failed, error, LockWait::skip);
    if (head.parent) child_ended(tenant, now, head.parent, head.id, {State::failed, nullptr, error});
  }
  return some_gone;
}

// Takes up the decisions of one execution, unless a transaction holds it or its lineage; true: it decided.
static bool decide_of_one(const Tenant &tenant, TimestampTz now, const TaskRow *rows, int count) {
  if (!lock_lineage(tenant, rows[0].execution(), true)) return false;
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) ids[i] = rows[i].id;
  std::sort(ids, ids + count);
  // Another transaction may have decided before the locks.
  int found;
  const TaskRow *locked = still_put_off(tenant, ids, count, &found);
  return found > 0 && settle_put_off(tenant, now, locked, found, LockWait::skip);
}

// Execution by execution, in the order of their turns, at least one; those that transactions hold are passed over.
bool take_up_decisions(const Tenant &tenant, TimestampTz now) {
  constexpr int most_held = 100;
  if (tenant.suspended) return false;
  int decided = 0;
  int held = 0;
  const auto is_over = [&] { return held == most_held || (decided + held > 0 && budget_is_spent()); };
  DecisionPlace place = {PG_INT64_MIN, 0};
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula decisions", ALLOCSET_DEFAULT_SIZES);
  MemoryContext before = MemoryContextSwitchTo(scratch);
  for (int count = 1; count > 0 && !is_over();) {
    MemoryContextReset(scratch);
    const TaskRow *rows = open_decisions(tenant, now, place, &count);
    for (int first = 0, last; first < count && !is_over(); first = last) {
      CHECK_FOR_INTERRUPTS();
      for (last = first + 1; last < count && rows[last].execution() == rows[first].execution();) ++last;
      ++(decide_of_one(tenant, now, rows + first, last - first) ? decided : held);
      place = {rows[last - 1].due, rows[last - 1].id};
    }
  }
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
  return decided > 0;
}

bool advance(const Tenant &tenant, TimestampTz now, Visitor visitor) {
  for (Lane lane : {lane_later, lane_deferred}) release_due(tenant, lane, now);
  int count;
  TaskRow *tasks = lapsed_tasks(tenant, now, &count);
  (void)lapse(tenant, tasks, count, now, now);
  (void)reap_dead_workers(tenant, now);
  const bool cancelled = !tenant.suspended && fail_timed_out_executions(tenant, now);
  const bool decides = visitor == Visitor::scheduler || !is_attended(tenant.number, now);
  const bool decided = decides && take_up_decisions(tenant, now);
  remove_finished(tenant, now);
  return cancelled || decided;
}

void give_back(const Tenant &tenant, const char *worker, TimestampTz now) {
  int count;
  TaskRow *tasks = tasks_held_by(tenant, &worker, 1, &count);
  (void)back_to_queue(tenant, tasks, count, now, DT_NOEND, "task_given_back");
}

}  // namespace insula
