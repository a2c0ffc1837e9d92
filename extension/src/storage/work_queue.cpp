// The queue side of `work`: submission, and what time causes.
#include "shared/clock.hpp"
#include "shared/watermarks.hpp"

#include <algorithm>

#include "storage/rows.hpp"
#include "storage/tell.hpp"

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

// New tasks that wait for no other.
static RowChange ready_or_later(const Submission &submission, std::int32_t key, int rows) {
  const bool later = submission.run_at > submission.now;
  RowChange change = {submission.definition, no_lane, later ? lane_later : ready_lane};
  if (later) change.due = submission.run_at;
  change.key = key;
  change.rows = rows;
  return change;
}

// Fills in the columns that all rows of a submission share.
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
  tell_submitted(tenant, submission.definition, executions.count);
  tell(tenant, ready_or_later(submission, plan.keys[0], executions.count));
}

constexpr Statement insert_heads = {
    "insert_heads",
    R"(
      INSERT INTO {work} (
        id, def, task, key, state, priority, remaining, span, attempt, created_at, run_at, input, lane, due,
        idempotency_key, parent, parent_head)
      SELECT u.id, $1, -1, 0, {state.ready}, $2, $3, $3, 0, $4, $5, u.input, $8, $9,
        u.key, $11, $12
      FROM unnest($6, $7, $10) u(id, input, key))",
    {INT4OID, INT4OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8ARRAYOID, JSONBARRAYOID, INT4OID, INT8OID,
     TEXTARRAYOID, INT8OID, INT8OID},
};

constexpr Statement insert_tasks = {
    "insert_tasks",
    R"(
      INSERT INTO {work} (
        id, head, def, task, key,
        state,
        lane,
        due,
        priority, remaining, span, attempt, run_at, time_limit, parent, parent_head, limit_key)
      SELECT h.id + t.pos, h.id, $1, t.pos - 1, t.key,
        CASE WHEN t.deps = 0 THEN {state.ready} ELSE {state.pending} END,
        CASE WHEN t.deps = 0 THEN coalesce($2, $13 - $4 - t.priority) END,
        CASE WHEN t.deps = 0 THEN $3 + h.ord END,
        $4 + t.priority, t.deps, 0, 0, $5, nullif(t.time_limit, 0), $11, $12, h.limit_key
      FROM unnest($6, $14) WITH ORDINALITY h(id, limit_key, ord),
        unnest($7, $8, $9, $10) WITH ORDINALITY t(key, deps, priority, time_limit, pos))",
    {INT4OID, INT4OID, INT8OID, INT4OID, TIMESTAMPTZOID, INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID,
     INT8ARRAYOID, INT8OID, INT8OID, INT4OID, INT8ARRAYOID},
};

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
  (void)run(tenant, insert_heads, heads);

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
  (void)run(tenant, insert_tasks, rows);

  tell_submitted(tenant, submission.definition, executions.count);
  if (timed) tell(tenant, {0, no_lane, lane_timeout, queue_due(submission) + submission.timeout_us});
  for (int task = 0; task < plan.tasks; ++task)
    if (plan.dependencies[task] == 0) tell(tenant, ready_or_later(submission, plan.keys[task], executions.count));
}

TimestampTz next_due(const Tenant &tenant) {
  static constexpr Statement next_due = {
      "next_due",
      R"(
        SELECT least(
          (SELECT due FROM {work} WHERE lane = {lane.later} ORDER BY due LIMIT 1),
          (SELECT due FROM {work} WHERE lane = {lane.running} ORDER BY due LIMIT 1),
          (SELECT due FROM {work} WHERE lane = {lane.deferred} ORDER BY due LIMIT 1),
          (SELECT due FROM {work} WHERE lane = {lane.timeout} AND $1 ORDER BY due LIMIT 1),
          (SELECT due FROM {work} WHERE lane = {lane.deciding} AND $1 ORDER BY due LIMIT 1)))",
      {BOOLOID},
  };
  Arguments arguments;
  arguments.add(BoolGetDatum(!tenant.suspended));
  (void)run(tenant, next_due, arguments);
  return is_null(0, 1) ? DT_NOEND : get_int64(0, 1);
}

void release_due(const Tenant &tenant, Lane lane, TimestampTz now) {
  static constexpr Statement release_due = {
      "release_due",
      R"(
        WITH c AS (
          SELECT id
          FROM {work}
          WHERE lane = $1 AND due <= $2
          ORDER BY due
          LIMIT 1000
          FOR NO KEY UPDATE SKIP LOCKED)
        UPDATE {work} w
        SET state = {state.ready}, lane = {ready_lane}, waits_for = NULL,
          event = CASE WHEN w.waits_for IS NULL THEN w.event
            ELSE jsonb_build_object('name', w.waits_for, 'timed_out', true) END
        FROM c
        WHERE w.id = ANY (ARRAY[c.id])
        RETURNING {told})",
      {INT4OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int32GetDatum(lane)).add(Int64GetDatum(now));
  announce_maybe_locked(tenant.number);
  tell_rows(tenant, run(tenant, release_due, arguments), lane);
}

TaskRow *read_task_rows(std::uint64_t rows, int *count) {
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
  static constexpr Statement lapsed_tasks = {
      "lapsed_tasks",
      R"(
        SELECT {task_header}
        FROM {work} w
        WHERE lane = {lane.running} AND due <= $1
        ORDER BY due
        LIMIT 1000)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(now));
  return read_task_rows(run(tenant, lapsed_tasks, arguments), count);
}

TaskRow *tasks_held_by(const Tenant &tenant, const char *const *workers, int worker_count, int *count) {
  static constexpr Statement tasks_held_by = {
      "tasks_held_by",
      R"(
        SELECT {task_header}
        FROM {work} w
        WHERE lane = {lane.running} AND worker = ANY ($1))",
      {TEXTARRAYOID},
  };
  Arguments arguments;
  arguments.add(text_array(workers, worker_count));
  return read_task_rows(run(tenant, tasks_held_by, arguments), count);
}

TaskRow *peek_tasks(const Tenant &tenant, const std::int64_t *ids, int count, int *found) {
  static constexpr Statement peek_tasks = {
      "peek_tasks",
      R"(
        SELECT {task_header}
        FROM {work} w
        WHERE id = ANY ($1)
        ORDER BY id)",
      {INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  return read_task_rows(run(tenant, peek_tasks, arguments), found);
}

// A run that comes back to the queue counts for none: another one follows.
static void tell_requeued(const Tenant &tenant, std::uint64_t row, bool lapsed) {
  RowChange change = {get_int32(row, 1), lane_running, get_int32(row, 2), get_int64(row, 4), get_int32(row, 3)};
  change.limited = !is_null(row, 6);
  change.limit = get_int64(row, 6);
  change.lapsed = lapsed;
  tell(tenant, change);
}

int requeue(const Tenant &tenant, TaskRow *tasks, int count, TimestampTz now, TimestampTz due_by, bool lapsed) {
  static constexpr Statement requeue = {
      "requeue",
      R"(
        WITH c AS (
          SELECT w.id
          FROM unnest($1, $2) u(id, lease), {work} w
          WHERE w.id = ANY (ARRAY[u.id]) AND w.lease = u.lease AND w.state = {state.running} AND w.due <= $4
          FOR NO KEY UPDATE OF w SKIP LOCKED)
        UPDATE {work} w
        SET state = {state.ready}, lane = {ready_lane}, due = $3, lease = NULL, attempt = w.attempt - 1
        FROM c
        WHERE w.id = ANY (ARRAY[c.id])
        RETURNING {told}, w.id, w.limit_key)",
      {INT8ARRAYOID, INT8ARRAYOID, INT8OID, INT8OID},
  };
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  auto *leases = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    ids[i] = tasks[i].id;
    leases[i] = tasks[i].lease;
  }
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int64_array(leases, count)).add(Int64GetDatum(now));
  arguments.add(Int64GetDatum(due_by));
  announce_maybe_locked(tenant.number);
  const auto rows = run(tenant, requeue, arguments);
  for (std::uint64_t i = 0; i < rows; ++i) {
    ids[i] = get_int64(i, 5);
    tell_requeued(tenant, i, lapsed);
  }
  std::sort(ids, ids + rows);
  const TaskRow *end = std::partition(
      tasks, tasks + count, [&](const TaskRow &task) { return std::binary_search(ids, ids + rows, task.id); });
  return static_cast<int>(end - tasks);
}

static constexpr Statement count_running = {
    "count_running",
    R"(
      SELECT count(*)
      FROM {work}
      WHERE lane = {lane.running})",
    {},
};

std::int64_t running_tasks(const Tenant &tenant) {
  (void)run(tenant, count_running);
  return get_int64(0, 1);
}

std::int64_t running_tasks(const Tenant &tenant, Snapshot snapshot) {
  Arguments none;
  (void)run_on(tenant, count_running, none, snapshot);
  return get_int64(0, 1);
}

static std::int64_t count_at_most(const Tenant &tenant, const Statement &statement, std::int64_t limit,
                                  Snapshot snapshot) {
  Arguments arguments;
  arguments.add(Int64GetDatum(limit));
  (void)run_on(tenant, statement, arguments, snapshot);
  return get_int64(0, 1);
}

std::int64_t running_at_most(const Tenant &tenant, std::int64_t limit) {
  static constexpr Statement running_at_most = {
      "running_at_most",
      R"(
        SELECT count(*)
        FROM (SELECT FROM {work} WHERE lane = {lane.running} LIMIT $1) q)",
      {INT8OID},
  };
  return count_at_most(tenant, running_at_most, limit, GetLatestSnapshot());
}

std::int64_t queued_at_most(const Tenant &tenant, std::int64_t limit, Snapshot snapshot) {
  static constexpr Statement queued_at_most = {
      "queued_at_most",
      R"(
        SELECT count(*)
        FROM (
          (SELECT FROM {work} WHERE lane < {lane.timeout} LIMIT $1)
          UNION ALL
          (SELECT FROM {work} WHERE lane = {lane.paused} LIMIT $1)
          LIMIT $1) q)",
      {INT8OID},
  };
  return count_at_most(tenant, queued_at_most, limit, snapshot);
}

std::int64_t queued_at_most(const Tenant &tenant, std::int64_t limit) {
  return queued_at_most(tenant, limit, GetLatestSnapshot());
}

}  // namespace insula
