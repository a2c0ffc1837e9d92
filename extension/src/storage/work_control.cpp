// Control of whole executions in `work`: locks, timeouts, cancels, pauses; over SPI.
#include <algorithm>

#include "shared/watermarks.hpp"
#include "storage/tell.hpp"

namespace insula {

static std::int64_t *ids_of_rows(std::uint64_t rows, int *count) {
  auto *ids = palloc_array_of<std::int64_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) ids[i] = get_int64(i, 1);
  *count = static_cast<int>(rows);
  return ids;
}

// Claims pass over what is locked here.
static void tell_locked(const Tenant &tenant, std::uint64_t rows) {
  for (std::uint64_t i = 0; i < rows; ++i)
    if (DatumGetBool(get_datum(i, 2))) return announce_locked(tenant.number);
}

static std::uint64_t lock(const Tenant &tenant, const Statement &statement, const std::int64_t *ids, int count) {
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  const int before = begin_locking(tenant.number);
  const auto rows = run(tenant, statement, arguments);
  tell_locked(tenant, rows);
  end_locking(before);
  return rows;
}

constexpr Statement lock_heads_skip = {
    "lock_heads_skip",
    R"(
      SELECT id, coalesce({is_ready}, false)
      FROM {work} w
      WHERE id = ANY ($1)
      ORDER BY id
      FOR NO KEY UPDATE SKIP LOCKED)",
    {INT8ARRAYOID},
};

constexpr Statement lock_heads = {
    "lock_heads",
    R"(
      SELECT id, coalesce({is_ready}, false)
      FROM {work} w
      WHERE id = ANY ($1) AND head IS NULL
      ORDER BY id
      FOR NO KEY UPDATE)",
    {INT8ARRAYOID},
};

std::int64_t *lock_executions(const Tenant &tenant, const std::int64_t *ids, int count, bool skip, int *locked) {
  return ids_of_rows(lock(tenant, skip ? lock_heads_skip : lock_heads, ids, count), locked);
}

void lock_rows(const Tenant &tenant, const std::int64_t *ids, int count) {
  static constexpr Statement lock_rows = {
      "lock_rows",
      R"(
        SELECT id, coalesce({is_ready}, false)
        FROM {work} w
        WHERE id = ANY ($1)
        ORDER BY id
        FOR NO KEY UPDATE)",
      {INT8ARRAYOID},
  };
  (void)lock(tenant, lock_rows, ids, count);
}

std::int64_t *live_executions(const Tenant &tenant, const std::int64_t *ids, int count, int *live) {
  static constexpr Statement live_executions = {
      "live_executions",
      R"(
        SELECT id
        FROM {work}
        WHERE id = ANY ($1) AND head IS NULL AND state < {state.completed})",
      {INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  return ids_of_rows(run(tenant, live_executions, arguments), live);
}

HeadProgress *timed_out_executions(const Tenant &tenant, TimestampTz now, int *count) {
  static constexpr Statement timed_out_executions = {
      "timed_out_executions",
      R"(
        SELECT id, def, span, remaining, input, parent, parent_head
        FROM {work}
        WHERE lane = {lane.timeout} AND due <= $1
        ORDER BY due
        LIMIT 100
        FOR NO KEY UPDATE SKIP LOCKED)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(now));
  const auto rows = run(tenant, timed_out_executions, arguments);
  auto *heads = palloc_array_of<HeadProgress>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) heads[i] = read_head(i, get_int64(i, 1), 2);
  *count = static_cast<int>(rows);
  return heads;
}

constexpr Statement lock_open_tasks = {
    "lock_open_tasks",
    R"(
      SELECT FROM {work}
      WHERE id > $1 AND id <= $2 AND state < {state.completed}
      ORDER BY id
      FOR NO KEY UPDATE SKIP LOCKED)",
    {INT8OID, INT8OID},
};

constexpr Statement lock_open_elements = {
    "lock_open_elements",
    R"(
      SELECT
      FROM {work} w,
        (SELECT e.id FROM {elements} WHERE {open_groups} AND g.id > $1 AND g.id <= $2 AND g.first_element IS NOT NULL OFFSET 0) x
      WHERE w.id = ANY (ARRAY[x.id]) AND w.state < {state.completed}
      FOR NO KEY UPDATE OF w SKIP LOCKED)",
    {INT8OID, INT8OID},
};

constexpr Statement count_open = {
    "count_open",
    R"(
      SELECT (SELECT count(*) FROM {work} WHERE id > $1 AND id <= $2 AND state < {state.completed}) +
        (SELECT count(*)
         FROM (SELECT e.state FROM {elements} WHERE {open_groups} AND g.id > $1 AND g.id <= $2 AND g.first_element IS NOT NULL) x
         WHERE x.state < {state.completed}))",
    {INT8OID, INT8OID},
};

bool lock_open_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  announce_locked(tenant.number);
  std::uint64_t locked = run(tenant, lock_open_tasks, arguments);
  locked += run(tenant, lock_open_elements, arguments);
  (void)run(tenant, count_open, arguments);
  return static_cast<std::int64_t>(locked) == get_int64(0, 1);
}

// A row of the last result, which has its former lane in this column and its limit in the next.
static void tell_cancelled(const Tenant &tenant, std::uint64_t row, std::int32_t definition, int column) {
  if (is_null(row, column)) return;
  RowChange change = {definition, get_int32(row, column), no_lane};
  change.limited = !is_null(row, column + 1);
  change.limit = get_int64(row, column + 1);
  tell(tenant, change);
}

bool cancel_execution_row(const Tenant &tenant, std::int64_t id, TimestampTz now, const char *reason,
                          HeadProgress *execution, std::int64_t *child) {
  static constexpr Statement cancel_execution_row = {
      "cancel_execution_row",
      R"(
        WITH o AS (
          SELECT id, lane
          FROM {work}
          WHERE id = $2 AND head IS NULL AND state < {state.completed} AND lane IS DISTINCT FROM {lane.deciding}
          FOR NO KEY UPDATE)
        UPDATE {work} w
        SET state = {state.cancelled}, lane = NULL, due = NULL, finished_at = $1, error = $3
        FROM o
        WHERE w.id = ANY (ARRAY[o.id])
        RETURNING w.def, w.span, 0, w.input, w.parent, w.parent_head, w.child, o.lane, w.limit_key)",
      {TIMESTAMPTZOID, INT8OID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(id)).add_text(reason);
  announce_locked(tenant.number);
  if (run(tenant, cancel_execution_row, arguments) == 0) return false;
  *execution = read_head(0, id, 1);
  *child = get_int64(0, 7);
  // The row of an execution of several tasks may stand in the queue for its timeout, and ends with its tasks.
  if (execution->span > 0) return true;
  tell_cancelled(tenant, 0, execution->definition, 8);
  tell_end(tenant, id, execution->definition, State::cancelled);
  return true;
}

// The last result has of each cancelled row the execution that it waited for, definition, former lane and limit;
// returns these executions.
static std::int64_t *children_of_cancelled(const Tenant &tenant, std::uint64_t rows, int *count) {
  auto *children = palloc_array_of<std::int64_t>(rows);
  *count = 0;
  for (std::uint64_t i = 0; i < rows; ++i) {
    if (!is_null(i, 1)) children[(*count)++] = get_int64(i, 1);
    tell_cancelled(tenant, i, get_int32(i, 2), 3);
  }
  return children;
}

constexpr Statement cancel_tasks = {
    "cancel_tasks",
    R"(
      WITH o AS (
        SELECT id, lane
        FROM {work}
        WHERE id > $2 AND id <= $3 AND state < {state.completed}
        FOR NO KEY UPDATE),
      c AS (
        UPDATE {work} w
        SET state = {state.cancelled}, lane = NULL, due = NULL, finished_at = $1
        FROM o
        WHERE w.id = ANY (ARRAY[o.id])
        RETURNING w.child, w.def, o.lane, w.limit_key)
      SELECT child, def, lane, limit_key
      FROM c
      ORDER BY child)",
    {TIMESTAMPTZOID, INT8OID, INT8OID},
};

constexpr Statement cancel_elements = {
    "cancel_elements",
    R"(
      WITH o AS (
        SELECT w.id, w.lane
        FROM {work} w,
          (SELECT e.id FROM {elements} WHERE {open_groups} AND g.id > $2 AND g.id <= $3 AND g.first_element IS NOT NULL
           OFFSET 0) x
        WHERE w.id = ANY (ARRAY[x.id]) AND w.state < {state.completed}
        FOR NO KEY UPDATE OF w),
      c AS (
        UPDATE {work} w
        SET state = {state.cancelled}, lane = NULL, due = NULL, finished_at = $1
        FROM o
        WHERE w.id = ANY (ARRAY[o.id])
        RETURNING w.child, w.def, o.lane, w.limit_key)
      SELECT child, def, lane, limit_key
      FROM c
      ORDER BY child)",
    {TIMESTAMPTZOID, INT8OID, INT8OID},
};

CancelledElements cancel_some_elements(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now,
                                       int most) {
  static constexpr Statement cancel_some_elements = {
      "cancel_some_elements",
      R"(
        WITH x AS MATERIALIZED (
          SELECT e.id
          FROM {elements}
          WHERE {open_groups} AND g.id > $2 AND g.id <= $3 AND g.first_element IS NOT NULL
            AND e.state < {state.completed} AND e.child IS NULL
          LIMIT $4),
        o AS (
          SELECT w.id, w.lane
          FROM {work} w, x
          WHERE w.id = ANY (ARRAY[x.id]) AND w.state < {state.completed} AND w.child IS NULL
          FOR NO KEY UPDATE OF w SKIP LOCKED),
        c AS (
          UPDATE {work} w
          SET state = {state.cancelled}, lane = NULL, due = NULL, finished_at = $1
          FROM o
          WHERE w.id = ANY (ARRAY[o.id])
          RETURNING w.def, o.lane, w.limit_key)
        SELECT n.found, c.def, c.lane, c.limit_key
        FROM (SELECT count(*) FROM x) n(found) LEFT JOIN c ON true)",
      {TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID},
  };
  announce_locked(tenant.number);
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  arguments.add(Int64GetDatum(most));
  const auto rows = run(tenant, cancel_some_elements, arguments);
  for (std::uint64_t i = 0; i < rows; ++i) tell_cancelled(tenant, i, get_int32(i, 2), 3);
  return {!is_null(0, 2), get_int64(0, 1) < most};
}

std::int64_t *cancel_task_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now,
                               int *children) {
  announce_locked(tenant.number);
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  // Elements are found by their groups, while these are open.
  int indirect;
  const std::int64_t *of_elements = children_of_cancelled(tenant, run(tenant, cancel_elements, arguments), &indirect);
  int direct;
  const std::int64_t *of_tasks = children_of_cancelled(tenant, run(tenant, cancel_tasks, arguments), &direct);
  auto *all = palloc_array_of<std::int64_t>(static_cast<std::size_t>(direct + indirect));
  std::merge(of_tasks, of_tasks + direct, of_elements, of_elements + indirect, all);
  *children = direct + indirect;
  return all;
}

constexpr Statement pause_tasks = {
    "pause_tasks",
    R"(
      UPDATE {work} w
      SET paused_at = $1, lane = CASE WHEN {is_ready} THEN {lane.paused} ELSE w.lane END
      WHERE w.id >= $2 AND w.id <= $3 AND w.state < {state.completed}
      RETURNING {told})",
    {TIMESTAMPTZOID, INT8OID, INT8OID},
};

constexpr Statement pause_elements = {
    "pause_elements",
    R"(
      UPDATE {work} w
      SET paused_at = $1, lane = CASE WHEN {is_ready} THEN {lane.paused} ELSE w.lane END
      FROM (SELECT e.id FROM {elements} WHERE g.id > $2 AND g.id <= $3 AND g.first_element IS NOT NULL OFFSET 0) x
      WHERE w.id = ANY (ARRAY[x.id]) AND w.state < {state.completed}
      RETURNING {told})",
    {TIMESTAMPTZOID, INT8OID, INT8OID},
};

void pause_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now) {
  announce_locked(tenant.number);
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  tell_rows_now_in(tenant, run(tenant, pause_tasks, arguments), ready_lane, Place::paused);
  if (span > 0) tell_rows_now_in(tenant, run(tenant, pause_elements, arguments), ready_lane, Place::paused);
}

constexpr Statement resume_tasks = {
    "resume_tasks",
    R"(
      UPDATE {work} w
      SET paused_at = NULL,
        lane = CASE WHEN w.lane = {lane.paused} THEN {open_lane} ELSE w.lane END,
        due = CASE WHEN w.lane = {lane.paused} THEN $1 ELSE w.due END
      WHERE w.id >= $2 AND w.id <= $3 AND w.paused_at IS NOT NULL
      RETURNING {told})",
    {INT8OID, INT8OID, INT8OID},
};

constexpr Statement resume_elements = {
    "resume_elements",
    R"(
      UPDATE {work} w
      SET paused_at = NULL,
        lane = CASE WHEN w.lane = {lane.paused} THEN {open_lane} ELSE w.lane END,
        due = CASE WHEN w.lane = {lane.paused} THEN $1 ELSE w.due END
      FROM (SELECT e.id FROM {elements} WHERE g.id > $2 AND g.id <= $3 AND g.first_element IS NOT NULL OFFSET 0) x
      WHERE w.id = ANY (ARRAY[x.id]) AND w.paused_at IS NOT NULL
      RETURNING {told})",
    {INT8OID, INT8OID, INT8OID},
};

void resume_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  tell_rows_now_in(tenant, run(tenant, resume_tasks, arguments), lane_paused, Place::ready);
  if (span > 0) tell_rows_now_in(tenant, run(tenant, resume_elements, arguments), lane_paused, Place::ready);
}

}  // namespace insula
