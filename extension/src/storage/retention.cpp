// Finding executions by what they are, and removing them, over SPI.
#include <algorithm>

#include "core/ids.hpp"
#include "shared/watermarks.hpp"
#include "storage/record.hpp"
#include "storage/usage.hpp"
#include "storage/work.hpp"

namespace insula {

std::int64_t end_of_stretch(const Tenant &tenant, std::int64_t after, std::int64_t last, int rows) {
  static constexpr Statement end_of_stretch = {
      "end_of_stretch",
      R"(
        SELECT max(id)
        FROM (SELECT id FROM {work} WHERE id > $1 AND id <= $3 ORDER BY id LIMIT $2) q)",
      {INT8OID, INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(rows)).add(Int64GetDatum(last));
  (void)run(tenant, end_of_stretch, arguments);
  return get_int64(0, 1);
}

std::int64_t *matching_executions(const Tenant &tenant, const ExecutionFilter &filter, std::int64_t after,
                                  std::int64_t last, int *count) {
  static constexpr Statement matching_executions = {
      "matching_executions",
      R"(
        SELECT w.id
        FROM {work} w, LATERAL (
          SELECT CASE w.state
            WHEN {state.completed} THEN 'completed'
            WHEN {state.failed} THEN 'failed'
            WHEN {state.cancelled} THEN 'cancelled'
            ELSE CASE
              WHEN w.paused_at IS NOT NULL THEN 'paused'
              WHEN w.started_at IS NOT NULL OR EXISTS (
                SELECT FROM {work} t WHERE t.id > w.id AND t.id <= w.id + w.span AND t.started_at IS NOT NULL)
                THEN 'running'
              ELSE 'pending' END
            END
          OFFSET 0) s(status)
        WHERE w.id > $1 AND w.id <= $2 AND w.head IS NULL AND s.status = ANY ($4)
          AND coalesce(w.finished_at, w.created_at) < $5
          AND ($3 IS NULL OR (
            SELECT d.name = $3 FROM {record} d WHERE d.kind = {kind.version} AND d.owner = w.def LIMIT 1))
        ORDER BY w.id)",
      {INT8OID, INT8OID, TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(last)).add_text(filter.workflow);
  int statuses = 1;
  while (statuses < 3 && filter.statuses[statuses]) ++statuses;
  arguments.add(filter.status ? text_array(&filter.status, 1) : text_array(filter.statuses, statuses));
  arguments.add(TimestampTzGetDatum(filter.before));
  const auto rows = run(tenant, matching_executions, arguments);
  auto *ids = palloc_array_of<std::int64_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) ids[i] = get_int64(i, 1);
  *count = static_cast<int>(rows);
  return ids;
}

FinishedExecution *finished_executions(const Tenant &tenant, std::int64_t after, std::int64_t last, int *count) {
  static constexpr Statement finished_executions = {
      "finished_executions",
      R"(
        SELECT id, finished_at, def, state
        FROM {work}
        WHERE id > $1 AND id <= $2 AND head IS NULL AND state >= {state.completed} AND lane IS NULL
        ORDER BY id)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(last));
  const auto rows = run(tenant, finished_executions, arguments);
  auto *finished = palloc_array_of<FinishedExecution>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) 
    finished[i] = {get_int64(i, 1), get_int64(i, 2), get_int32(i, 3), get_int16(i, 4)};
  *count = static_cast<int>(rows);
  return finished;
}

RetentionRule *retention_rules(const Tenant &tenant, const std::int64_t *definitions, int definition_count,
                               int *count) {
  static constexpr Statement retention_rules = {
      "retention_rules",
      R"(
        SELECT v.owner::integer, s.state, coalesce(q.retain, -1)
        FROM {record} v,
          (VALUES ({state.completed}, 'completed'), ({state.failed}, 'failed'), ({state.cancelled}, 'cancelled'))
            s(state, status),
          LATERAL (
            SELECT (extract(epoch FROM r.retain) * 1000000)::bigint AS retain
            FROM insula.retention_rule r
            WHERE r.tenant_no = $1 AND r.workflow IN ('', v.name) AND r.status IN ('', s.status)
            ORDER BY r.workflow DESC, r.status DESC
            LIMIT 1) q
        WHERE v.kind = {kind.version} AND v.owner = ANY ($2)
        ORDER BY 1, 2)",
      {INT4OID, INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(Int32GetDatum(tenant.number)).add(int64_array(definitions, definition_count));
  const auto rows = run(tenant, retention_rules, arguments);
  auto *rules = palloc_array_of<RetentionRule>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) rules[i] = {get_int32(i, 1), get_int32(i, 2), get_int64(i, 3)};
  *count = static_cast<int>(rows);
  return rules;
}

static std::int64_t finished_but(const Tenant &tenant, std::int64_t count, std::int64_t after, std::int64_t last) {
  static constexpr Statement finished_but = {
      "finished_but",
      R"(
        SELECT id
        FROM {work}
        WHERE head IS NULL AND state >= {state.completed} AND id > $2 AND id <= $3
        ORDER BY id DESC
        OFFSET $1
        LIMIT 1)",
      {INT8OID, INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(count)).add(Int64GetDatum(after)).add(Int64GetDatum(last));
  return run(tenant, finished_but, arguments) > 0 ? get_int64(0, 1) : 0;
}

std::int64_t finished_beyond(const Tenant &tenant, std::int64_t newest, std::int64_t count) {
  static constexpr Statement finished_up_to = {
      "finished_up_to",
      R"(
        SELECT count(*)
        FROM {work}
        WHERE head IS NULL AND state >= {state.completed} AND id <= $1)",
      {INT8OID},
  };
  const std::int64_t found = finished_but(tenant, count, 0, newest);
  if (found || newest == core::max_local_number) return found;
  Arguments arguments;
  arguments.add(Int64GetDatum(newest));
  (void)run(tenant, finished_up_to, arguments);
  return finished_but(tenant, count - get_int64(0, 1), newest, core::max_local_number);
}

constexpr Statement remove_heads = {
    "remove_heads",
    R"(
      DELETE FROM {work} w
      WHERE w.id = ANY ($1) AND w.state >= {state.completed} AND w.lane IS NULL
      RETURNING w.id, w.span, (
        SELECT d.name || ':' || w.idempotency_key
        FROM {record} d
        WHERE d.kind = {kind.version} AND d.owner = w.def
        LIMIT 1))",
    {INT8ARRAYOID},
};

constexpr Statement remove_elements = {
    "remove_elements",
    R"(
      DELETE FROM {work} w
      USING (
        SELECT e.id
        FROM unnest($1, $2) u(head, last), LATERAL (
          SELECT e.id FROM {elements} WHERE g.id > u.head AND g.id <= u.last AND g.first_element IS NOT NULL) e
        OFFSET 0) x
      WHERE w.id = ANY (ARRAY[x.id]))",
    {INT8ARRAYOID, INT8ARRAYOID},
};

constexpr Statement remove_tasks = {
    "remove_tasks",
    R"(
      DELETE FROM {work} w
      USING unnest($1, $2) u(head, last)
      WHERE w.id > u.head AND w.id <= u.last)",
    {INT8ARRAYOID, INT8ARRAYOID},
};

constexpr Statement remove_records = {
    "remove_records",
    R"(
      DELETE FROM {record}
      WHERE kind IN ({kind.history}, {kind.event}, {kind.event_key}, {kind.progress}, {kind.tally})
        AND owner = ANY ($1))",
    {INT8ARRAYOID},
};

// A search for each, as in find_idempotency_keys().
constexpr Statement remove_keys = {
    "remove_keys",
    R"(
      DELETE FROM {record}
      WHERE ctid = ANY (ARRAY(
        SELECT r.place
        FROM unnest($1) u(name)
          CROSS JOIN LATERAL (
            SELECT k.ctid AS place FROM {record} k
            WHERE k.kind = {kind.idempotency_key} AND k.owner = 0 AND k.name = u.name AND k.seq = 0
            LIMIT 1) r)))",
    {TEXTARRAYOID},
};

std::int64_t *remove_executions(const Tenant &tenant, const std::int64_t *ids, int count, int *removed_count) {
  store_usage(tenant, ids, count);
  Arguments heads;
  heads.add(int64_array(ids, count));
  announce_maybe_locked(tenant.number);
  const auto rows = run(tenant, remove_heads, heads);
  auto *removed = palloc_array_of<std::int64_t>(rows);
  auto *lasts = palloc_array_of<std::int64_t>(rows);
  auto **keys = palloc_array_of<const char *>(rows);
  int key_count = 0;
  for (std::uint64_t i = 0; i < rows; ++i) {
    removed[i] = get_int64(i, 1);
    lasts[i] = removed[i] + get_int32(i, 2);
    if (const char *key = get_text(i, 3)) keys[key_count++] = key;
  }
  *removed_count = static_cast<int>(rows);
  const Datum gone = int64_array(removed, *removed_count);
  const Datum last = int64_array(lasts, *removed_count);
  Arguments tasks;
  tasks.add(gone).add(last);
  // Elements are found by their groups, so they go first.
  (void)run(tenant, remove_elements, tasks);
  (void)run(tenant, remove_tasks, tasks);
  Arguments records;
  records.add(gone);
  (void)run(tenant, remove_records, records);
  if (key_count > 0) {
    Arguments names;
    names.add(text_array(keys, key_count));
    (void)run(tenant, remove_keys, names);
  }
  std::sort(removed, removed + rows);
  return removed;
}

Sweep read_sweep(const Tenant &tenant) {
  static constexpr Statement read_sweep = {
      "read_sweep",
      R"(
        SELECT at, ref, body::bigint
        FROM {record}
        WHERE kind = {kind.sweep} AND owner = 0 AND name = '' AND seq = 0)",
      {},
  };
  if (run(tenant, read_sweep) == 0) return {DT_NOBEGIN, 0, DT_NOEND};
  const std::int64_t packed = get_int64(0, 2);
  // Without the moment in a row that an older version has written.
  const TimestampTz due = is_null(0, 3) ? DT_NOBEGIN : get_int64(0, 3);
  return {get_int64(0, 1), packed / 2, packed % 2 != 0 ? due : DT_NOEND};
}

void write_sweep(const Tenant &tenant, const Sweep &sweep) {
  static constexpr Statement write_sweep = {
      "write_sweep",
      R"(
        INSERT INTO {record} (kind, owner, name, seq, at, ref, body)
        VALUES ({kind.sweep}, 0, '', 0, $1, $2, to_jsonb($3))
        ON CONFLICT (kind, owner, name, seq)
          DO UPDATE SET at = EXCLUDED.at, ref = EXCLUDED.ref, body = EXCLUDED.body)",
      {TIMESTAMPTZOID, INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(sweep.next_at))
      .add(Int64GetDatum(sweep.after * 2 + (sweep.first_due != DT_NOEND ? 1 : 0)))
      .add(Int64GetDatum(sweep.first_due));
  (void)run(tenant, write_sweep, arguments);
}

}  // namespace insula
