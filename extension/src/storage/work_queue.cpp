// The queue side of `work`: submission, and what time causes.
#include "shared/clock.hpp"
#include "shared/watermarks.hpp"
#include "storage/work.hpp"

#include <algorithm>

#include "storage/rows.hpp"

namespace insula {

static std::int64_t queue_due(const Submission &submission) { return std::max(submission.run_at, submission.now); }

static void add_run_at(Arguments &arguments, const Submission &submission) {
  arguments.add_nullable(TimestampTzGetDatum(submission.run_at), submission.run_at <= submission.now);
}

static void add_parent(Arguments &arguments, const Submission &submission) {
  arguments.add_nullable(Int64GetDatum(submission.parent), submission.parent == 0);
  arguments.add_nullable(Int64GetDatum(submission.parent_head), submission.parent == 0);
}

static void add_limit_keys(Arguments &arguments, const NewExecutions &executions) {
  if (executions.limit_keys)
    arguments.add(int64_array(executions.limit_keys, executions.count));
  else
    arguments.add_null();
}

static void add_keys(Arguments &arguments, const NewExecutions &executions) {
  if (executions.keys)
    arguments.add(nullable_text_array(executions.keys, executions.count));
  else
    arguments.add_null();
}

// What the rows of one submission have in common.
static void fill_single(const Row &row, const Submission &submission, const TaskPlan &plan, bool limited) {
  const std::int32_t priority = submission.priority + plan.priorities[0];
  const std::int32_t lane = (limited ? lane_limited : 0) - priority;
  const bool later = submission.run_at > submission.now;
  const auto zero = Int32GetDatum(0);
  row.set(Column::created_at, TimestampTzGetDatum(submission.now));
  row.set(Column::def, Int32GetDatum(submission.definition));
  row.set(Column::task, zero);
  row.set(Column::key, Int32GetDatum(plan.keys[0]));
  row.set(Column::priority, Int32GetDatum(priority));
  row.set(Column::span, zero);
  row.set(Column::remaining, zero);
  row.set(Column::attempt, zero);
  row.set(Column::lane, Int32GetDatum(later ? lane_later : lane));
  row.set(Column::state, Int16GetDatum(static_cast<std::int16_t>(State::ready)));
  row.set_nullable(Column::run_at, TimestampTzGetDatum(submission.run_at), !later);
  row.set_nullable(Column::time_limit, Int64GetDatum(plan.time_limits[0]), plan.time_limits[0] == 0);
  row.set_nullable(Column::parent, Int64GetDatum(submission.parent), submission.parent == 0);
  row.set_nullable(Column::parent_head, Int64GetDatum(submission.parent_head), submission.parent == 0);
}

void insert_single(const Tenant &tenant, const Submission &submission, const TaskPlan &plan,
                   const NewExecutions &executions) {
  const std::int64_t due = queue_due(submission);
  const Rows rows = open_rows(tenant, CMD_INSERT);
  NewRows batch = {};
  for (int i = 0; i < executions.count; ++i) {
    const Row row = next_new_row(rows, batch);
    fill_single(row, submission, plan, executions.limit_keys != nullptr);
    row.set(Column::id, Int64GetDatum(executions.ids[i]));
    row.set(Column::due, Int64GetDatum(due + i + 1));
    row.set(Column::input, JsonbPGetDatum(executions.inputs[i]));
    if (executions.keys && executions.keys[i])
      row.set(Column::idempotency_key, CStringGetTextDatum(executions.keys[i]));
    if (executions.limit_keys) row.set(Column::limit_key, Int64GetDatum(executions.limit_keys[i]));
    add_new_row(rows, batch, VARSIZE(executions.inputs[i]));
  }
  insert_new_rows(rows, batch);
  close_rows(rows);
}

void insert_graph(const Tenant &tenant, const Submission &submission, const TaskPlan &plan,
                  const NewExecutions &executions) {
  Arguments heads;
  heads.add(Int32GetDatum(submission.definition)).add(Int32GetDatum(submission.priority));
  heads.add(Int32GetDatum(plan.tasks)).add(TimestampTzGetDatum(submission.now));
  add_run_at(heads, submission);
  heads.add(int64_array(executions.ids, executions.count)).add(jsonb_array(executions.inputs, executions.count));
  const bool timed = submission.timeout_us != 0;
  heads.add_nullable(Int32GetDatum(lane_timeout), !timed);
  heads.add_nullable(Int64GetDatum(queue_due(submission) + submission.timeout_us), !timed);
  add_keys(heads, executions);
  add_parent(heads, submission);
  (void)run(tenant, Statement::insert_heads, heads);

  Arguments rows;
  rows.add(Int32GetDatum(submission.definition));
  rows.add_nullable(Int32GetDatum(lane_later), submission.run_at <= submission.now);
  rows.add(Int64GetDatum(queue_due(submission))).add(Int32GetDatum(submission.priority));
  add_run_at(rows, submission);
  rows.add(int64_array(executions.ids, executions.count)).add(int32_array(plan.keys, plan.tasks));
  rows.add(int32_array(plan.dependencies, plan.tasks)).add(int32_array(plan.priorities, plan.tasks));
  rows.add(int64_array(plan.time_limits, plan.tasks));
  add_parent(rows, submission);
  rows.add(Int32GetDatum(executions.limit_keys ? lane_limited : 0));
  add_limit_keys(rows, executions);
  (void)run(tenant, Statement::insert_tasks, rows);
}

TimestampTz next_due(const Tenant &tenant) {
  (void)run(tenant, Statement::next_due);
  return is_null(0, 1) ? DT_NOEND : get_int64(0, 1);
}

static std::int32_t *keys_of_rows(std::uint64_t rows, int column, int *count) {
  auto *keys = palloc_array_of<std::int32_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) keys[i] = get_int32(i, column);
  *count = static_cast<int>(rows);
  return keys;
}

std::int32_t *release_due(const Tenant &tenant, Lane lane, TimestampTz now, int *count) {
  Arguments arguments;
  arguments.add(Int32GetDatum(lane)).add(Int64GetDatum(now));
  announce_racing(tenant.number);
  const auto rows = run(tenant, Statement::release_due, arguments);
  for (std::uint64_t i = 0; i < rows; ++i) announce_claimable(tenant.number, get_int64(i, 2));
  count_moves(tenant, rows, 3, place_of(lane));
  return keys_of_rows(rows, 1, count);
}

static TaskRow *read_task_rows(std::uint64_t rows, int *count) {
  auto *tasks = palloc_array_of<TaskRow>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    tasks[i] = {get_int64(i, 1),  get_int64(i, 2),  get_int32(i, 3),
                get_int32(i, 4),  get_int32(i, 5),  static_cast<State>(get_int16(i, 6)),
                get_int32(i, 7),  get_int64(i, 8),  get_int64(i, 9),
                get_text(i, 10),  get_int64(i, 11), get_int64(i, 12),
                get_int64(i, 13), get_int64(i, 14), get_int64(i, 15),
                get_int32(i, 16), !is_null(i, 17),  get_int64(i, 17)};
  *count = static_cast<int>(rows);
  return tasks;
}

TaskRow *lapsed_tasks(const Tenant &tenant, TimestampTz now, int *count) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now));
  return read_task_rows(run(tenant, Statement::lapsed, arguments), count);
}

TaskRow *tasks_held_by(const Tenant &tenant, const char *const *workers, int worker_count, int *count) {
  Arguments arguments;
  arguments.add(text_array(workers, worker_count));
  return read_task_rows(run(tenant, Statement::held_by_workers, arguments), count);
}

TaskRow *peek_tasks(const Tenant &tenant, const std::int64_t *ids, int count, int *found) {
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  return read_task_rows(run(tenant, Statement::peek, arguments), found);
}

int requeue(const Tenant &tenant, TaskRow *tasks, int count, TimestampTz now, TimestampTz due_by,
            bool give_back_attempt) {
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  auto *leases = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    ids[i] = tasks[i].id;
    leases[i] = tasks[i].lease;
  }
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int64_array(leases, count)).add(Int64GetDatum(now));
  arguments.add(Int32GetDatum(give_back_attempt ? 1 : 0)).add(Int64GetDatum(due_by));
  announce_racing(tenant.number);
  const auto rows = run(tenant, Statement::requeue, arguments);
  for (std::uint64_t i = 0; i < rows; ++i) ids[i] = get_int64(i, 1);
  count_moves(tenant, rows, 2, Place::running);
  std::sort(ids, ids + rows);
  const TaskRow *end = std::partition(
      tasks, tasks + count, [&](const TaskRow &task) { return std::binary_search(ids, ids + rows, task.id); });
  for (const TaskRow *task = tasks; task < end; ++task) note_limit_freed(tenant, *task);
  return static_cast<int>(end - tasks);
}

std::int64_t running_tasks(const Tenant &tenant) {
  (void)run(tenant, Statement::running_count);
  return get_int64(0, 1);
}

static std::int64_t count_at_most(const Tenant &tenant, Statement statement, std::int64_t limit) {
  Arguments arguments;
  arguments.add(Int64GetDatum(limit));
  (void)run_on_latest(tenant, statement, arguments);
  return get_int64(0, 1);
}

std::int64_t running_at_most(const Tenant &tenant, std::int64_t limit) {
  return count_at_most(tenant, Statement::running_at_most, limit);
}

std::int64_t queued_at_most(const Tenant &tenant, std::int64_t limit) {
  return count_at_most(tenant, Statement::queued_at_most, limit);
}

}  // namespace insula
