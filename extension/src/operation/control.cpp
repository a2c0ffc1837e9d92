// Pausing, resuming and retrying executions.  All rows of a paused execution carry `paused_at`: a
// row of them that becomes ready goes to a lane that no claim searches, so that each way of
// becoming ready respects the pause.  Lock order: the execution's row, then its tasks' rows.
#include <algorithm>

#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "operation/operations.hpp"
#include "storage/progress.hpp"
#include "storage/record.hpp"
#include "storage/usage.hpp"

namespace insula {

namespace {

void note(const Tenant &tenant, std::int64_t execution, const char *event, TimestampTz now, const char *reason) {
  JsonObject detail = begin_object();
  add_member(detail, "reason", reason);
  insert_event(tenant, execution, execution, event, now, end_object(detail));
}

// The execution's row forgets its end.
void note_retry(const Tenant &tenant, std::int64_t execution, const ExecutionRow &ended, TimestampTz now,
                const char *reason) {
  JsonObject detail = begin_object();
  add_member(detail, "reason", reason);
  add_member(detail, "status", state_name(ended.state));
  add_utc_time(detail, "finished_at", ended.finished_at);
  insert_event(tenant, execution, execution, "execution_retried", now, end_object(detail));
}

// Locks the execution; says whether it exists and has not ended.
Change locked_and_live(const Tenant &tenant, std::int64_t execution, ExecutionRow *row) {
  int locked;
  (void)lock_executions(tenant, &execution, 1, false, &locked);
  if (locked == 0 || !read_execution(tenant, execution, row)) return Change::unknown;
  return has_ended(row->state) ? Change::already : Change::done;
}

// The tasks that a retry runs again, by declared position: failed and cancelled ones, and those
// skipped because of them.
struct RetrySet {
  bool *runs;
  int count;
};

bool waits_only_for_these(const Definition &definition, const TaskResult *results, const RetrySet &retried,
                          std::int32_t task) {
  bool waits = false;
  for (std::int32_t dependency : definition.graph.of(task)) {
    waits = waits || retried.runs[dependency];
    if (retried.runs[dependency] || definition.options[task].has_rule()) continue;
    if (results[dependency].state != State::completed) return false;
  }
  return waits;
}

RetrySet retry_set_of(const Definition &definition, const TaskResult *results) {
  RetrySet retried = {static_cast<bool *>(palloc0(static_cast<Size>(definition.tasks))), 0};
  for (int i = 0; i < definition.tasks; ++i) {
    const std::int32_t task = definition.order[i];
    const State state = results[task].state;
    retried.runs[task] = state == State::cancelled ||
                         (state == State::failed && !is_handled(definition, results, task)) ||
                         (state == State::skipped && waits_only_for_these(definition, results, retried, task)) ||
                         (definition.options[task].on_failure && retried.count > 0);
    retried.count += retried.runs[task] ? 1 : 0;
  }
  return retried;
}

// The elements of groups with elements that run again.
struct Elements {
  const ElementResult *items;
  int count;
};

Elements elements_of(const Tenant &tenant, std::int64_t execution, const Definition &definition) {
  Elements elements = {};
  if (definition.has_groups) elements.items = element_results(tenant, execution, definition.tasks, &elements.count);
  return elements;
}

// Tasks that a retry decides on, as if their last dependency had just ended, and groups that it closes.
struct Open {
  TaskRow *rows;
  int count;
};

// Whether the group was cancelled when its elements had ended, and was only to be closed.
bool is_to_close(const TaskResult &group, const Elements &elements) {
  return group.state == State::cancelled &&
         std::any_of(elements.items, elements.items + elements.count,
                     [&](const ElementResult &element) { return element.result.task == group.task; });
}

// A task with a rule stays pending until the rule lets it run: the run before may have ended without a decision.
// A group whose elements exist runs the failed ones again; any other is opened anew once its dependencies have ended.
Open reopen_tasks(const Tenant &tenant, std::int64_t execution, TimestampTz now, const Definition &definition,
                  const RetrySet &retried, const TaskResult *results, const Elements &elements) {
  const auto room = static_cast<std::size_t>(retried.count);
  auto *ids = palloc_array_of<std::int64_t>(room);
  auto *remaining = palloc_array_of<std::int32_t>(room);
  Open open = {palloc_array_of<TaskRow>(room), 0};
  int count = 0;
  for (std::int32_t task = 0; task < definition.tasks; ++task) {
    if (!retried.runs[task]) continue;
    ids[count] = execution + 1 + task;
    std::int32_t waits_for = 0;
    for (std::int32_t dependency : definition.graph.of(task)) waits_for += retried.runs[dependency] ? 1 : 0;
    if (definition.options[task].for_each) {
      const int again = waits_for > 0 ? 0 : reopen_elements(tenant, now, ids[count]);
      const bool to_close = waits_for == 0 && again == 0 && is_to_close(results[task], elements);
      if (to_close) open.rows[open.count++] = ended_group({tenant, definition, execution, task}, State::running);
      if (again == 0 && !to_close) empty_group(tenant, ids[count]);
      waits_for += to_close ? 1 : again;
    }
    if (waits_for == 0 && definition.options[task].is_decided()) {
      open.rows[open.count++] = ended_group({tenant, definition, execution, task}, State::pending);
      waits_for = 1;
    }
    remaining[count++] = waits_for;
  }
  reopen_rows(tenant, now, ids, remaining, count);
  for (int i = 0; i < open.count; ++i)
    if (open.rows[i].state == State::running) open_group_row(tenant, open.rows[i].id, 0, now);
  return open;
}

// Opens the groups of a reopened execution that wait for nothing but elements of theirs.
void reopen_groups(const Tenant &tenant, std::int64_t execution, TimestampTz now, const Definition &definition,
                   const RetrySet &retried) {
  for (std::int32_t task = 0; task < definition.tasks; ++task) {
    if (!retried.runs[task] || !definition.options[task].for_each) continue;
    const auto waits_for = definition.graph.of(task);
    if (std::any_of(waits_for.begin(), waits_for.end(), [&](std::int32_t other) { return retried.runs[other]; }))
      continue;
    const std::int64_t group = execution + 1 + task;
    const int elements = open_elements(tenant, group);
    if (elements == 0) continue;
    open_group_row(tenant, group, elements, now);
  }
}

// The last run of a task whose row forgets it.  A group is no run; its elements are.
struct Forgotten {
  std::int64_t id;
  const TaskResult &result;
  bool is_group;
};

void note_forgotten_run(const Tenant &tenant, std::int64_t execution, const Forgotten &task) {
  const TaskResult &result = task.result;
  const bool failed = result.state == State::failed;
  if (!failed && !(result.state == State::cancelled && result.leased)) return;
  JsonObject detail = begin_object();
  add_member(detail, "attempt", std::int64_t{result.attempt});
  add_member(detail, "worker", result.worker);
  if (!task.is_group && result.started_at) add_utc_time(detail, "started_at", result.started_at);
  if (failed) add_member(detail, "error", result.error);
  if (failed && result.child) add_member(detail, "child", core::make_id(tenant.number, result.child));
  insert_event(tenant, execution, task.id, failed ? "task_attempt_failed" : "task_attempt_cancelled",
               result.finished_at, end_object(detail));
}

// Raises IS006 if the tasks that run again exceed max_queued.
void check_room_for(const Tenant &tenant, const RetrySet &retried, const Elements &elements) {
  std::int64_t count = retried.count;
  for (int i = 0; i < elements.count; ++i)
    if (retried.runs[elements.items[i].result.task] && elements.items[i].result.state != State::completed) ++count;
  check_queue_room(tenant, count);
}

// Records the last attempts of tasks that run again in the history.
void note_forgotten_runs(const Tenant &tenant, std::int64_t execution, const Definition &definition,
                         const TaskResult *results, const RetrySet &retried, const Elements &elements) {
  for (std::int32_t task = 0; task < definition.tasks; ++task)
    if (retried.runs[task])
      note_forgotten_run(tenant, execution,
                         {execution + 1 + task, results[task], definition.options[task].for_each != nullptr});
  for (int i = 0; i < elements.count; ++i) {
    const ElementResult &element = elements.items[i];
    if (retried.runs[element.result.task]) note_forgotten_run(tenant, execution, {element.id, element.result, false});
  }
}

}  // namespace

Change pause(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason) {
  ExecutionRow row;
  const Change can = locked_and_live(tenant, execution, &row);
  if (can != Change::done) return can;
  if (row.paused) return Change::already;
  pause_rows(tenant, execution, row.span, now);
  note(tenant, execution, "execution_paused", now, reason);
  return Change::done;
}

Change resume(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason) {
  ExecutionRow row;
  const Change can = locked_and_live(tenant, execution, &row);
  if (can != Change::done) return can;
  if (!row.paused) return Change::already;
  resume_rows(tenant, execution, row.span, now);
  note(tenant, execution, "execution_resumed", now, reason);
  return Change::done;
}

Change retry(const Tenant &tenant, std::int64_t execution, TimestampTz now, const char *reason) {
  ExecutionRow row;
  if (!read_execution(tenant, execution, &row)) return Change::unknown;
  finish_put_off(tenant, now, execution);
  const Change live = locked_and_live(tenant, execution, &row);
  if (live != Change::already) return live == Change::done ? Change::already : live;
  // Its input is gone.
  if (row.state == State::completed || is_scrubbed(tenant, execution)) return Change::already;
  const Definition &definition = definition_of(tenant, row.definition);
  if (row.span == 0) {
    const TaskResult result = {0,           row.state,      nullptr,         row.error,
                               row.attempt, row.started_at, row.finished_at, row.worker,
                               row.child,   row.leased};
    check_queue_room(tenant, 1);
    note_forgotten_run(tenant, execution, {execution, result, false});
    const std::int32_t none = 0;
    reopen_rows(tenant, now, &execution, &none, 1);
  } else {
    const TaskResult *results = task_results(tenant, execution, row.span, 0).items;
    const RetrySet retried = retry_set_of(definition, results);
    if (retried.count == 0) return Change::already;
    const Elements elements = elements_of(tenant, execution, definition);
    check_room_for(tenant, retried, elements);
    note_forgotten_runs(tenant, execution, definition, results, retried, elements);
    for (std::int32_t task = 0; task < definition.tasks; ++task) {
      if (!definition.options[task].on_failure) continue;
      store_usage_of_task(tenant, execution + 1 + task);
      forget_progress(tenant, execution, execution + 1 + task);
    }
    const Open open = reopen_tasks(tenant, execution, now, definition, retried, results, elements);
    const TimestampTz due = definition.timeout_us ? now + definition.timeout_us : 0;
    reopen_execution(tenant, execution, retried.count, due);
    if (definition.has_groups) reopen_groups(tenant, execution, now, definition, retried);
    if (open.count > 0) settle_open(tenant, now, open.rows, open.count);
  }
  forget_tallies(tenant, execution);
  note_retry(tenant, execution, row, now, reason);
  return Change::done;
}

}  // namespace insula
