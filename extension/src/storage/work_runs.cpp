// Runs of tasks in `work`: how they end but by completion, and what becomes of their leases; over SPI.
#include <algorithm>

#include "shared/watermarks.hpp"
#include "storage/tell.hpp"

namespace insula {

// A lost lease leaves a row locked that may be claimable again.
static std::uint64_t run_on_leases(const Tenant &tenant, const Statement &statement, Arguments &arguments, int leases) {
  const int before = begin_locking(tenant.number);
  const auto rows = run(tenant, statement, arguments);
  if (rows < static_cast<std::uint64_t>(leases)) announce_locked(tenant.number);
  end_locking(before);
  return rows;
}

bool fail_row(const Tenant &tenant, TimestampTz now, const TaskRow &task, const char *error, bool lapsed) {
  static constexpr Statement fail_row = {
      "fail_row",
      R"(
        UPDATE {work}
        SET state = {state.failed}, lane = NULL, due = NULL, finished_at = $1, error = $4
        WHERE id = $2 AND lease = $3 AND state = {state.running}
        RETURNING id)",
      {TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(task.id)).add(Int64GetDatum(task.lease)).add_text(error);
  if (run_on_leases(tenant, fail_row, arguments, 1) == 0) return false;
  RowChange change = end_of_run(task, no_lane);
  change.lapsed = lapsed;
  tell(tenant, change);
  tell_end_if_single(tenant, task, State::failed);
  return true;
}

bool retry_row(const Tenant &tenant, TimestampTz at, const TaskRow &task, const char *error, bool uses_attempt) {
  static constexpr Statement retry_row = {
      "retry_row",
      R"(
        UPDATE {work}
        SET state = {state.ready}, lane = {lane.later}, due = $1, run_at = $2, lease = NULL, error = $5,
          attempt = attempt - $6
        WHERE id = $3 AND lease = $4 AND state = {state.running}
        RETURNING id)",
      {INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID, INT4OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(at)).add(TimestampTzGetDatum(at));
  arguments.add(Int64GetDatum(task.id)).add(Int64GetDatum(task.lease));
  arguments.add_text(error).add(Int32GetDatum(uses_attempt ? 0 : 1));
  if (run_on_leases(tenant, retry_row, arguments, 1) == 0) return false;
  RowChange change = end_of_run(task, lane_later);
  change.due = at;
  change.retried = true;
  tell(tenant, change);
  return true;
}

// A task can be deferred any number of times, and hand over something each time.
static void check_kept_output() {
  constexpr std::size_t most = std::size_t{16} << 20;
  if (!is_null(0, 2) && VARSIZE(get_jsonb(0, 2)) > most)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("what the deferred task has handed over would be too large"),
                    errdetail("At most 16 MB are kept.")));
}

// The row waits for a moment, or for an event and a moment; DT_NOEND: for no moment.
static void tell_deferred(const Tenant &tenant, const TaskRow &task, TimestampTz until) {
  RowChange change = end_of_run(task, lane_deferred);
  if (until != DT_NOEND) change.due = until;
  tell(tenant, change);
}

bool wait_row(const Tenant &tenant, TimestampTz until, const TaskRow &task, std::int64_t lease, const char *event,
              Jsonb *patch) {
  static constexpr Statement wait_row = {
      "wait_row",
      R"(
        UPDATE {work}
        SET state = {state.waiting}, lane = {lane.deferred}, due = $1, run_at = $2, lease = NULL, attempt = attempt - 1,
          event = NULL, waits_for = $6,
          output = CASE WHEN $5 IS NULL THEN output ELSE insula.append_patch(output, $5) END
        WHERE id = $3 AND lease = $4 AND state = {state.running}
        RETURNING id, CASE WHEN $5 IS NOT NULL THEN output END)",
      {INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, JSONBOID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(until)).add(TimestampTzGetDatum(until));
  arguments.add(Int64GetDatum(task.id)).add(Int64GetDatum(lease));
  arguments.add_nullable(PointerGetDatum(patch), patch == nullptr).add_text(event);
  if (run_on_leases(tenant, wait_row, arguments, 1) == 0) return false;
  check_kept_output();
  tell_deferred(tenant, task, until);
  return true;
}

bool defer_row(const Tenant &tenant, TimestampTz until, const TaskRow &task, std::int64_t lease, Jsonb *patch) {
  static constexpr Statement defer_row = {
      "defer_row",
      R"(
        UPDATE {work}
        SET state = {state.waiting}, lane = {lane.deferred}, due = $1, run_at = $2, lease = NULL, attempt = attempt - 1,
          output = CASE WHEN $5 IS NULL THEN output ELSE insula.append_patch(output, $5) END
        WHERE id = $3 AND lease = $4 AND state = {state.running}
        RETURNING id, CASE WHEN $5 IS NOT NULL THEN output END)",
      {INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, JSONBOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(until)).add(TimestampTzGetDatum(until));
  arguments.add(Int64GetDatum(task.id)).add(Int64GetDatum(lease));
  arguments.add_nullable(PointerGetDatum(patch), patch == nullptr);
  if (run_on_leases(tenant, defer_row, arguments, 1) == 0) return false;
  check_kept_output();
  tell_deferred(tenant, task, until);
  return true;
}

bool lock_lease(const Tenant &tenant, std::int64_t id, std::int64_t lease) {
  static constexpr Statement lock_lease = {
      "lock_lease",
      R"(
        SELECT id
        FROM {work}
        WHERE id = $1 AND lease = $2 AND state = {state.running}
        FOR NO KEY UPDATE)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(id)).add(Int64GetDatum(lease));
  return run_on_leases(tenant, lock_lease, arguments, 1) > 0;
}

void wait_for_child(const Tenant &tenant, const TaskRow &task, std::int64_t child) {
  static constexpr Statement wait_for_child = {
      "wait_for_child",
      R"(
        UPDATE {work}
        SET state = {state.waiting}, lane = NULL, due = NULL, deadline = NULL, lease = NULL, child = $2
        WHERE id = $1)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(task.id)).add(Int64GetDatum(child));
  (void)run(tenant, wait_for_child, arguments);
  tell(tenant, end_of_run(task, no_lane));
}

bool complete_waiting(const Tenant &tenant, TimestampTz now, const TaskRow &task, Jsonb *patch) {
  static constexpr Statement complete_waiting = {
      "complete_waiting",
      R"(
        UPDATE {work}
        SET state = {state.completed}, finished_at = $1, error = NULL,
          output = CASE WHEN output IS NULL THEN $4 ELSE insula.append_patch(output, $4) END
        WHERE id = $2 AND child = $3 AND state = {state.waiting}
        RETURNING id)",
      {TIMESTAMPTZOID, INT8OID, INT8OID, JSONBOID},
  };
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(task.id)).add(Int64GetDatum(task.child));
  arguments.add(PointerGetDatum(patch));
  if (run(tenant, complete_waiting, arguments) == 0) return false;
  tell_end_if_single(tenant, task, State::completed);
  return true;
}

bool fail_waiting(const Tenant &tenant, TimestampTz now, const TaskRow &task, const char *error) {
  static constexpr Statement fail_waiting = {
      "fail_waiting",
      R"(
        UPDATE {work}
        SET state = {state.failed}, finished_at = $1, error = $4
        WHERE id = $2 AND child = $3 AND state = {state.waiting}
        RETURNING id)",
      {TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(task.id)).add(Int64GetDatum(task.child)).add_text(error);
  if (run(tenant, fail_waiting, arguments) == 0) return false;
  tell_end_if_single(tenant, task, State::failed);
  return true;
}

bool retry_waiting(const Tenant &tenant, TimestampTz at, const TaskRow &task, const char *error) {
  static constexpr Statement retry_waiting = {
      "retry_waiting",
      R"(
        UPDATE {work}
        SET state = {state.ready}, lane = {lane.later}, due = $1, run_at = $2, child = NULL, error = $5
        WHERE id = $3 AND child = $4 AND state = {state.waiting}
        RETURNING id)",
      {INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(at)).add(TimestampTzGetDatum(at));
  arguments.add(Int64GetDatum(task.id)).add(Int64GetDatum(task.child)).add_text(error);
  if (run(tenant, retry_waiting, arguments) == 0) return false;
  RowChange change = {task.definition, no_lane, lane_later, at};
  change.retried = true;
  tell(tenant, change);
  return true;
}

std::int64_t *lock_leases(const Tenant &tenant, const std::int64_t *ids, const std::int64_t *leases, int count,
                          int *locked) {
  static constexpr Statement lock_leases = {
      "lock_leases",
      R"(
        SELECT w.id
        FROM unnest($1, $2) u(id, lease), {work} w
        WHERE w.id = ANY (ARRAY[u.id]) AND w.lease = u.lease AND w.state = {state.running}
        FOR NO KEY UPDATE OF w SKIP LOCKED)",
      {INT8ARRAYOID, INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int64_array(leases, count));
  const auto rows = run_on_leases(tenant, lock_leases, arguments, count);
  auto *held = palloc_array_of<std::int64_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) held[i] = get_int64(i, 1);
  std::sort(held, held + rows);
  *locked = static_cast<int>(rows);
  return held;
}

ExtendedLease *extend_leases(const Tenant &tenant, TimestampTz now, TimestampTz expires, const std::int64_t *ids,
                             const std::int64_t *leases, int count, int *extended) {
  static constexpr Statement extend_leases = {
      "extend_leases",
      R"(
        UPDATE {work} w
        SET due = least($1, w.deadline)
        FROM unnest($2, $3) u(id, lease)
        WHERE w.id = ANY (ARRAY[u.id]) AND w.lease = u.lease AND w.state = {state.running}
          AND (w.deadline IS NULL OR w.deadline > $4)
        RETURNING w.id, w.paused_at IS NOT NULL)",
      {INT8OID, INT8ARRAYOID, INT8ARRAYOID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(expires)).add(int64_array(ids, count)).add(int64_array(leases, count));
  arguments.add(Int64GetDatum(now));
  const auto rows = run_on_leases(tenant, extend_leases, arguments, count);
  auto *kept = palloc_array_of<ExtendedLease>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) kept[i] = {get_int64(i, 1), DatumGetBool(get_datum(i, 2))};
  std::sort(kept, kept + rows, [](const ExtendedLease &a, const ExtendedLease &b) { return a.id < b.id; });
  if (rows > 0) tell(tenant, {0, lane_running, lane_running, expires});
  *extended = static_cast<int>(rows);
  return kept;
}

StoppedLease *stopped_leases(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, const std::int64_t *leases,
                             int count, int *stopped) {
  static constexpr Statement stopped_leases = {
      "stopped_leases",
      R"(
        SELECT w.id, w.state = {state.cancelled} AND NOT EXISTS (
          SELECT FROM {work} h WHERE h.id = ANY (ARRAY[w.head]) AND h.state = {state.failed})
        FROM unnest($1, $2) u(id, lease), {work} w
        WHERE w.id = ANY (ARRAY[u.id]) AND w.lease = u.lease
          AND (w.state = {state.cancelled} OR (w.state = {state.running} AND w.deadline <= $3))
        ORDER BY w.id)",
      {INT8ARRAYOID, INT8ARRAYOID, INT8OID},
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int64_array(leases, count)).add(Int64GetDatum(now));
  const auto rows = run(tenant, stopped_leases, arguments);
  auto *leases_found = palloc_array_of<StoppedLease>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) leases_found[i] = {get_int64(i, 1), DatumGetBool(get_datum(i, 2))};
  *stopped = static_cast<int>(rows);
  return leases_found;
}

}  // namespace insula
