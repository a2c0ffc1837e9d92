// Reads for people; see look.hpp.  Lists are read by id, from its end backwards, in stretches that their callers bound.
#include "spi/budget.hpp"
#include "storage/look.hpp"

#include "core/ids.hpp"
#include "storage/rows.hpp"

extern "C" {
#include "utils/fmgroids.h"
}

namespace insula {

Stretch last_stretch(const Tenant &tenant, std::int64_t after, std::int64_t last, int rows) {
  static constexpr Statement last_stretch = {
      "last_stretch",
      R"(
        SELECT min(id), max(created_at)
        FROM (SELECT id, created_at FROM {work} WHERE id > $1 AND id <= $2 ORDER BY id DESC LIMIT $3) q)",
      {INT8OID, INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(last)).add(Int64GetDatum(rows));
  (void)run(tenant, last_stretch, arguments);
  return {get_int64(0, 1), is_null(0, 2) ? DT_NOBEGIN : get_int64(0, 2)};
}

ListedExecution *listed_executions(const Tenant &tenant, const LookFilter &filter, std::int64_t after,
                                   std::int64_t last, int most, int *count) {
  static constexpr Statement listed_executions = {
      "listed_executions",
      R"(
        SELECT w.id, d.name, d.seq::integer, s.status, e.error, w.priority::integer, w.created_at, {first_start},
          w.finished_at
        FROM {work} w,
          LATERAL (SELECT r.name, r.seq FROM {record} r WHERE r.kind = {kind.version} AND r.owner = w.def LIMIT 1) d,
          LATERAL (
            SELECT CASE WHEN w.span = 0 THEN w.started_at
              ELSE (SELECT min(x.started_at) FROM {work} x WHERE x.id > w.id AND x.id <= w.id + w.span) END
            OFFSET 0) t(started_at),
          LATERAL (
            SELECT CASE w.state
              WHEN {state.completed} THEN 'completed'
              WHEN {state.failed} THEN 'failed'
              WHEN {state.cancelled} THEN 'cancelled'
              ELSE CASE WHEN w.paused_at IS NOT NULL THEN 'paused'
                WHEN t.started_at IS NOT NULL THEN 'running' ELSE 'pending' END
              END
            OFFSET 0) s(status),
          LATERAL (
            SELECT CASE WHEN w.state = {state.failed} AND w.span = 0
              THEN 'task "' || split_part((
                SELECT k.name FROM {record} k WHERE k.kind = {kind.task_key} AND k.owner = w.key LIMIT 1), '.', 2)
                || '" failed: ' || w.error
              WHEN w.state IN ({state.failed}, {state.cancelled}) THEN w.error END
            OFFSET 0) e(error)
        WHERE w.id > $1 AND w.id <= $2 AND w.head IS NULL
          AND ($3 IS NULL OR d.name = $3) AND ($4 IS NULL OR s.status = $4)
          AND w.created_at >= $5 AND w.created_at < $6
          AND ($7 IS NULL OR strpos(e.error, $7) > 0) AND ($8 IS NULL OR w.input @> $8)
        ORDER BY w.id DESC
        LIMIT $9)",
      {INT8OID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, JSONBOID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(last)).add_text(filter.workflow).add_text(filter.status);
  arguments.add(TimestampTzGetDatum(filter.created_after)).add(TimestampTzGetDatum(filter.created_before));
  arguments.add_text(filter.error).add_nullable(PointerGetDatum(filter.context), !filter.context);
  arguments.add(Int64GetDatum(most));
  const auto rows = run(tenant, listed_executions, arguments);
  auto *executions = palloc_array_of<ListedExecution>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    executions[i] = {get_int64(i, 1), get_text(i, 2),  get_int32(i, 3), get_text(i, 4), get_text(i, 5),
                     get_int32(i, 6), get_int64(i, 7), get_int64(i, 8), get_int64(i, 9)};
  *count = static_cast<int>(rows);
  return executions;
}

// Of an execution's own row only the errors that no task's row tells.  The row of a task that runs again does not tell
// when it failed, but an event does, if it is among the newest of its execution.  Rows and events come together by a
// sort: a join of two lists would compare each of one with all of the other.
FailureGroup *failure_groups(const Tenant &tenant, std::int64_t first, std::int64_t last, TimestampTz since,
                             int *count) {
  static constexpr Statement failure_groups = {
      "failure_groups",
      R"(
        WITH failing AS MATERIALIZED (
          SELECT w.id, coalesce(w.head, w.id) AS execution, w.def, w.key, w.task, w.state, w.started_at, w.finished_at,
            left(regexp_replace(left(w.error, 1000),
              '[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+|0x[0-9a-f]+|[0-9]+', '#', 'gi'), 200) AS error
          FROM {work} w
          WHERE w.id >= $1 AND w.id <= $2 AND w.error IS NOT NULL
            AND (w.state = {state.failed} OR w.state < {state.completed})
            AND (w.task >= 0 OR (w.state = {state.failed} AND NOT starts_with(w.error, 'task "')))),
        dated AS (
          SELECT u.id, max(u.execution) AS execution, max(u.def) AS def, max(u.key) AS key, max(u.task) AS task,
            max(u.state) AS state, max(u.error) AS error,
            coalesce(max(u.finished_at), max(u.tried_at), max(u.started_at)) AS at
          FROM (
            SELECT f.id, f.execution, f.def, f.key, f.task, f.state, f.error, f.finished_at, NULL::timestamptz,
              f.started_at
            FROM failing f
            UNION ALL
            SELECT e.ref, NULL, NULL, NULL, NULL, NULL, NULL, NULL, e.at, NULL
            FROM (SELECT DISTINCT f.execution FROM failing f WHERE f.state < {state.completed}) o,
              unnest(ARRAY['task_attempt_failed', 'task_put_off']) n(name),
              LATERAL (
                SELECT h.ref, h.at FROM {record} h
                WHERE h.kind = {kind.history} AND h.owner = o.execution AND h.name = n.name COLLATE "C"
                ORDER BY h.seq DESC
                LIMIT 100) e) u(id, execution, def, key, task, state, error, finished_at, tried_at, started_at)
          GROUP BY u.id
          HAVING max(u.state) IS NOT NULL)
        SELECT d.name, split_part(k.name, '.', 2), w.error, count(*) FILTER (WHERE w.state = {state.failed}),
          count(*) FILTER (WHERE w.state < {state.completed}), min(w.at), max(w.at), max(w.execution)
        FROM dated w
          JOIN {record} d ON d.kind = {kind.version} AND d.owner = w.def
          LEFT JOIN {record} k ON k.kind = {kind.task_key} AND k.owner = w.key AND w.task >= 0
        WHERE w.at >= $3
        GROUP BY d.name, k.name, w.error)",
      {INT8OID, INT8OID, TIMESTAMPTZOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(first)).add(Int64GetDatum(last)).add(TimestampTzGetDatum(since));
  const auto rows = run(tenant, failure_groups, arguments);
  auto *groups = palloc_array_of<FailureGroup>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    groups[i] = {get_text(i, 1),  get_text(i, 2),  get_text(i, 3),  get_int64(i, 4),
                 get_int64(i, 5), get_int64(i, 6), get_int64(i, 7), get_int64(i, 8)};
  *count = static_cast<int>(rows);
  return groups;
}

TimelineEvent *timeline_of(const Tenant &tenant, std::int64_t execution, std::int32_t span, int *count) {
  static constexpr Statement timeline_of = {
      "timeline_of",
      R"(
        WITH tasks AS MATERIALIZED (
          SELECT t.id, t.state, t.attempt, t.worker, t.error, t.output, t.started_at, t.finished_at, t.first_element,
            split_part(k.name, '.', 2) || coalesce('[' || t.element || ']', '') AS task
          FROM (
            SELECT * FROM {work} WHERE id >= $1 AND id <= $2 AND task >= 0
            UNION ALL
            SELECT e.* FROM {elements} WHERE g.id > $1 AND g.id <= $2 AND g.first_element IS NOT NULL) t
          JOIN {record} k ON k.kind = {kind.task_key} AND k.owner = t.key)
        SELECT q.at, q.task, q.event, q.attempt::integer, q.worker, q.detail, q.changed
        FROM (
          SELECT created_at, 0, 0::bigint, NULL::text, 'execution_submitted', NULL::integer, NULL::text, NULL::jsonb,
            input
          FROM {work} WHERE id = $1
          UNION ALL
          SELECT started_at, 2, id, task, 'task_started', attempt, worker, NULL, NULL
          FROM tasks WHERE started_at IS NOT NULL
          UNION ALL
          SELECT finished_at, CASE WHEN first_element IS NULL THEN 3 ELSE 4 END, id, task,
            'task_' || CASE state WHEN {state.completed} THEN 'completed' WHEN {state.failed} THEN 'failed'
              WHEN {state.skipped} THEN 'skipped' ELSE 'cancelled' END,
            attempt, worker, CASE WHEN error IS NOT NULL THEN jsonb_build_object('error', error) END,
            CASE WHEN state = {state.completed} THEN output END
          FROM tasks WHERE state >= {state.completed}
          UNION ALL
          SELECT r.at, 1, r.seq, t.task, r.name, (r.body ->> 'attempt')::integer, r.body ->> 'worker', r.body, NULL
          FROM {record} r LEFT JOIN tasks t ON t.id = r.ref
          WHERE r.kind = {kind.history} AND r.owner = $1
          UNION ALL
          SELECT finished_at, 5, 0, NULL,
            'execution_' || CASE state WHEN {state.completed} THEN 'completed' WHEN {state.failed} THEN 'failed'
              ELSE 'cancelled' END,
            NULL, NULL, CASE WHEN error IS NOT NULL THEN jsonb_build_object('error', error) END, NULL
          FROM {work} WHERE id = $1 AND state >= {state.completed}
        ) q(at, place, seq, task, event, attempt, worker, detail, changed)
        ORDER BY q.at, q.place, q.seq)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  const auto rows = run(tenant, timeline_of, arguments);
  auto *events = palloc_array_of<TimelineEvent>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    events[i] = {get_int64(i, 1), get_text(i, 2),  get_text(i, 3), get_int32(i, 4),
                 get_text(i, 5),  get_jsonb(i, 6), get_jsonb(i, 7)};
  *count = static_cast<int>(rows);
  return events;
}

ListedWorkflow *listed_workflows(const Tenant &tenant, int *count) {
  static constexpr Statement listed_workflows = {
      "listed_workflows",
      R"(
        SELECT c.name, d.seq::integer, c.body IS NOT NULL, c.at, d.body
        FROM {record} c JOIN {record} d ON d.kind = {kind.version} AND d.owner = c.ref
        WHERE c.kind = {kind.current} AND c.owner = 0 AND c.seq = 0
        ORDER BY c.name COLLATE "C")",
      {},
  };
  const auto rows = run(tenant, listed_workflows);
  auto *workflows = palloc_array_of<ListedWorkflow>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    workflows[i] = {get_text(i, 1), get_int32(i, 2), DatumGetBool(get_datum(i, 3)), get_int64(i, 4), get_jsonb(i, 5)};
  *count = static_cast<int>(rows);
  return workflows;
}

PausedWorkflow *paused_workflows(const Tenant &tenant, const std::int64_t *definitions, int many, int *count) {
  static constexpr Statement paused_workflows = {
      "paused_workflows",
      R"(
        SELECT d.owner, d.name
        FROM {record} c JOIN {record} d ON d.name = c.name
        WHERE c.kind = {kind.current} AND c.owner = 0 AND c.seq = 0 AND c.body IS NOT NULL
          AND d.kind = {kind.version} AND d.owner = ANY ($1)
        ORDER BY d.name, d.owner)",
      {INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(int64_array(definitions, many));
  const auto rows = run(tenant, paused_workflows, arguments);
  auto *paused = palloc_array_of<PausedWorkflow>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) paused[i] = {get_int64(i, 1), get_text(i, 2)};
  *count = static_cast<int>(rows);
  return paused;
}

LeasedTask *leased_tasks(const Tenant &tenant, int *count) {
  static constexpr Statement leased_tasks = {
      "leased_tasks",
      R"(
        SELECT w.id, coalesce(w.head, w.id), split_part(k.name, '.', 1),
          split_part(k.name, '.', 2) || coalesce('[' || w.element || ']', ''), w.worker, w.attempt::integer,
          w.started_at, w.due, w.deadline
        FROM {work} w,
          LATERAL (SELECT r.name FROM {record} r WHERE r.kind = {kind.task_key} AND r.owner = w.key LIMIT 1) k
        WHERE w.lane = {lane.running}
        ORDER BY w.lane, w.due)",
      {},
  };
  const auto rows = run(tenant, leased_tasks);
  auto *tasks = palloc_array_of<LeasedTask>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    tasks[i] = {get_int64(i, 1), get_int64(i, 2), get_text(i, 3),  get_text(i, 4), get_text(i, 5),
                get_int32(i, 6), get_int64(i, 7), get_int64(i, 8), get_int64(i, 9)};
  *count = static_cast<int>(rows);
  return tasks;
}

// Between two looks at the budget, of rows that have gone on, which an old snapshot keeps.
constexpr int dead_entries = 1000;

bool first_leased_task(const Tenant &tenant, LeasedTask *task) {
  *task = {};
  const Rows rows = open_rows(tenant, CMD_SELECT);
  ScanKeyData key;
  ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(lane_running));
  IndexScanDesc scan = begin_row_scan(rows, tenant.work_queue, 1);
  index_rescan(scan, &key, 1, nullptr, 0);
  bool found;
  int entries;
  do {
    entries = dead_entries;
    found = next_row_within(rows, scan, &entries);
  } while (!found && entries < 0 && !budget_is_spent());
  if (found) {
    task->id = found_int64(rows, Column::id);
    task->execution = found_is_null(rows, Column::head) ? task->id : found_int64(rows, Column::head);
    if (!found_is_null(rows, Column::worker)) task->worker = TextDatumGetCString(found_column(rows, Column::worker));
    task->expires = found_int64(rows, Column::due);
  }
  end_row_scan(scan);
  close_rows(rows);
  return found;
}

}  // namespace insula
