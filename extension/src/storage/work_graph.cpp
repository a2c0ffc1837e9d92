// Executions as graphs in `work`: what the end of a task, or an event, makes ready, and what ends or begins anew; over
// SPI.
#include <algorithm>

#include "shared/watermarks.hpp"
#include "storage/tell.hpp"

namespace insula {

static std::int32_t *first_column(std::uint64_t rows, int *count) {
  auto *values = palloc_array_of<std::int32_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) values[i] = get_int32(i, 1);
  *count = static_cast<int>(rows);
  return values;
}

ReadyTask *count_down(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, const std::int32_t *counts,
                      int count, int *ready) {
  static constexpr Statement count_down = {
      "count_down",
      R"(
        UPDATE {work} w
        SET remaining = w.remaining - u.n,
          state = CASE WHEN w.remaining = u.n THEN {state.ready} ELSE {state.pending} END,
          lane = CASE WHEN w.remaining = u.n THEN {ready_lane} END,
          due = CASE WHEN w.remaining = u.n THEN $1 END
        FROM unnest($2, $3) u(id, n)
        WHERE w.id = ANY (ARRAY[u.id]) AND w.state = {state.pending}
        RETURNING {told}, w.id, w.head)",
      {INT8OID, INT8ARRAYOID, INT4ARRAYOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(int64_array(ids, count)).add(int32_array(counts, count));
  const auto rows = run(tenant, count_down, arguments);
  tell_rows(tenant, rows, no_lane);
  auto *tasks = palloc_array_of<ReadyTask>(rows);
  *ready = 0;
  for (std::uint64_t i = 0; i < rows; ++i)
    if (!is_null(i, 2)) tasks[(*ready)++] = {get_int64(i, 5), get_int64(i, 6), get_int32(i, 1)};
  return tasks;
}

std::int32_t *count_down_decided(const Tenant &tenant, State state, const std::int64_t *ids, const std::int32_t *counts,
                                 int count, int *open) {
  static constexpr Statement count_down_decided = {
      "count_down_decided",
      R"(
        UPDATE {work} w
        SET remaining = w.remaining - u.n
        FROM unnest($1, $2) u(id, n)
        WHERE w.id = ANY (ARRAY[u.id]) AND w.state = $3
        RETURNING w.task, w.remaining)",
      {INT8ARRAYOID, INT4ARRAYOID, INT2OID},
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int32_array(counts, count));
  arguments.add(Int16GetDatum(static_cast<std::int16_t>(state)));
  const auto rows = run(tenant, count_down_decided, arguments);
  auto *tasks = palloc_array_of<std::int32_t>(rows);
  *open = 0;
  for (std::uint64_t i = 0; i < rows; ++i)
    if (get_int32(i, 2) == 0) tasks[(*open)++] = get_int32(i, 1);
  return tasks;
}

void make_ready(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, int count) {
  static constexpr Statement make_ready = {
      "make_ready",
      R"(
        UPDATE {work} w
        SET state = {state.ready}, lane = {ready_lane}, due = $1
        FROM unnest($2) u(id)
        WHERE w.id = ANY (ARRAY[u.id]) AND w.state = {state.pending}
        RETURNING {told})",
      {INT8OID, INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(int64_array(ids, count));
  tell_rows(tenant, run(tenant, make_ready, arguments), no_lane);
}

std::int32_t *skip_rows(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, int count, int *skipped) {
  static constexpr Statement skip_rows = {
      "skip_rows",
      R"(
        UPDATE {work} w
        SET state = {state.skipped}, finished_at = $1, lane = NULL, due = NULL
        FROM unnest($2) u(id)
        WHERE w.id = ANY (ARRAY[u.id]) AND w.state = {state.pending}
        RETURNING w.task)",
      {TIMESTAMPTZOID, INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(int64_array(ids, count));
  return first_column(run(tenant, skip_rows, arguments), skipped);
}

constexpr Statement deliver_to_task = {
    "deliver_to_task",
    R"(
      WITH c AS (
        SELECT q.id
        FROM {work} q
        WHERE q.id >= $3 AND q.id <= $4 AND q.state = {state.waiting} AND q.waits_for = $5
        ORDER BY q.id
        LIMIT 1
        FOR NO KEY UPDATE)
      UPDATE {work} w
      SET state = {state.ready}, lane = {ready_lane}, due = $1, event = $2, waits_for = NULL
      FROM c
      WHERE w.id = ANY (ARRAY[c.id])
      RETURNING {told})",
    {INT8OID, JSONBOID, INT8OID, INT8OID, TEXTOID},
};

constexpr Statement deliver_to_element = {
    "deliver_to_element",
    R"(
      WITH c AS (
        SELECT e.id
        FROM {work} g, LATERAL (
          SELECT q.id
          FROM {work} q
          WHERE q.id >= g.first_element AND q.id < g.first_element + g.span
            AND q.state = {state.waiting} AND q.waits_for = $5
          ORDER BY q.id
          LIMIT 1
          FOR NO KEY UPDATE) e
        WHERE g.id > $3 AND g.id <= $4 AND g.first_element IS NOT NULL
        ORDER BY e.id
        LIMIT 1)
      UPDATE {work} w
      SET state = {state.ready}, lane = {ready_lane}, due = $1, event = $2, waits_for = NULL
      FROM c
      WHERE w.id = ANY (ARRAY[c.id])
      RETURNING {told})",
    {INT8OID, JSONBOID, INT8OID, INT8OID, TEXTOID},
};

// The lock of the execution's row orders the event and the task that waits for it, whatever they see of each other.
bool deliver_event(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now, const char *name,
                   Jsonb *event) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(PointerGetDatum(event)).add(Int64GetDatum(execution));
  arguments.add(Int64GetDatum(execution + span)).add_text(name);
  announce_maybe_locked(tenant.number);
  bool delivered = run_on_latest(tenant, deliver_to_task, arguments) > 0;
  if (!delivered && span > 0) {
    Arguments elements;
    elements.add(Int64GetDatum(now)).add(PointerGetDatum(event)).add(Int64GetDatum(execution));
    elements.add(Int64GetDatum(execution + span)).add_text(name);
    delivered = run_on_latest(tenant, deliver_to_element, elements) > 0;
  }
  tell_rows(tenant, delivered ? 1 : 0, lane_deferred);
  return delivered;
}

HeadProgress *head_progress(const Tenant &tenant, const std::int64_t *ids, const std::int32_t *ended, int count,
                            int *found) {
  static constexpr Statement head_progress = {
      "head_progress",
      R"(
        UPDATE {work} w
        SET remaining = w.remaining - u.n
        FROM unnest($1, $2) u(id, n)
        WHERE w.id = ANY (ARRAY[u.id])
        RETURNING w.id, w.def, w.span, w.remaining, CASE WHEN w.remaining = 0 THEN w.input END,
          w.parent, w.parent_head)",
      {INT8ARRAYOID, INT4ARRAYOID},
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int32_array(ended, count));
  const auto rows = run(tenant, head_progress, arguments);
  auto *heads = palloc_array_of<HeadProgress>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) heads[i] = read_head(i, get_int64(i, 1), 2);
  *found = static_cast<int>(rows);
  return heads;
}

void end_execution(const Tenant &tenant, const HeadProgress &head, State state, TimestampTz now, Jsonb *final_context,
                   const char *error) {
  static constexpr Statement end_execution = {
      "end_execution",
      R"(
        UPDATE {work}
        SET state = $2, finished_at = $3, output = $4, error = $5, lane = NULL, due = NULL, element = NULL
        WHERE id = $1)",
      {INT8OID, INT4OID, TIMESTAMPTZOID, JSONBOID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(head.id)).add(Int32GetDatum(static_cast<std::int32_t>(state)));
  arguments.add(TimestampTzGetDatum(now));
  arguments.add_nullable(PointerGetDatum(final_context), final_context == nullptr).add_text(error);
  (void)run(tenant, end_execution, arguments);
  tell_end(tenant, head.id, head.definition, state);
}

// The execution's own row has room for it: its output comes with its end, and it is no element of a group.
KeptContext kept_context(const Tenant &tenant, std::int64_t execution, bool whole) {
  static constexpr Statement kept_context = {
      "kept_context",
      R"(
        SELECT coalesce(element, -1), CASE WHEN $2 THEN output END
        FROM {work}
        WHERE id = $1 AND state < {state.completed})",
      {INT8OID, BOOLOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(BoolGetDatum(whole));
  if (run(tenant, kept_context, arguments) == 0) return {-1, nullptr};
  return {get_int32(0, 1), get_jsonb(0, 2)};
}

void keep_context(const Tenant &tenant, std::int64_t execution, const KeptContext &kept) {
  static constexpr Statement keep_context = {
      "keep_context",
      R"(
        UPDATE {work}
        SET element = $2, output = $3
        WHERE id = $1 AND state < {state.completed})",
      {INT8OID, INT4OID, JSONBOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int32GetDatum(kept.task)).add(PointerGetDatum(kept.context));
  (void)run(tenant, keep_context, arguments);
}

void reopen_rows(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, const std::int32_t *remaining,
                 int count) {
  static constexpr Statement reopen_rows = {
      "reopen_rows",
      R"(
        UPDATE {work} w
        SET state = CASE WHEN u.n = 0 THEN {state.ready} ELSE {state.pending} END, remaining = u.n,
          lane = CASE WHEN u.n = 0 THEN {open_lane} END,
          due = CASE WHEN u.n = 0 THEN $1 END,
          {as_never_run}
        FROM unnest($2, $3) u(id, n)
        WHERE w.id = ANY (ARRAY[u.id])
        RETURNING {told})",
      {INT8OID, INT8ARRAYOID, INT4ARRAYOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(int64_array(ids, count)).add(int32_array(remaining, count));
  tell_rows(tenant, run(tenant, reopen_rows, arguments), no_lane);
}

void reopen_execution(const Tenant &tenant, std::int64_t execution, std::int32_t remaining, TimestampTz due) {
  static constexpr Statement reopen_execution = {
      "reopen_execution",
      R"(
        UPDATE {work}
        SET state = {state.ready}, remaining = $2, lane = $3, due = $4, finished_at = NULL, output = NULL, error = NULL,
          paused_at = NULL
        WHERE id = $1)",
      {INT8OID, INT4OID, INT4OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int32GetDatum(remaining));
  arguments.add_nullable(Int32GetDatum(lane_timeout), due == 0).add_nullable(Int64GetDatum(due), due == 0);
  (void)run(tenant, reopen_execution, arguments);
  if (due) tell(tenant, {0, no_lane, lane_timeout, due});
}

}  // namespace insula
