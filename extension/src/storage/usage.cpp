// Usage, over SPI.  Nothing is counted when work is done: usage is a sum over the rows that exist, and over what has
// been stored of those that are gone.  Both sums are made of the same lines ({usage_lines} in words.cpp), so a removal
// changes no total.
//
// Invariants.  Rows are removed, and their usage is stored, in one transaction, under the executions' locks; a reader
// sees both or neither, as it reads everything in one snapshot.  What a line tells of an hour that is over stays so: a
// retry leaves an event for each end and each run that it takes back.  A removal only appends records, under the number
// of its first execution, which no other transaction can remove, so none waits for another; the holder of the
// retention lock alone merges them.
#include "storage/usage.hpp"
#include "shared/clock.hpp"
#include "storage/codes.hpp"

namespace insula {

constexpr Statement store_usage_of_executions = {
    "store_usage",
    R"(
      WITH heads AS (
        SELECT w.id, w.span
        FROM {work} w
        WHERE w.id = ANY ($3) AND w.head IS NULL AND w.state >= {state.completed} AND w.lane IS NULL
          AND w.span > 0),
      counted AS (
        SELECT w.*
        FROM {work} w
        WHERE w.id = ANY ($3) AND w.head IS NULL AND w.state >= {state.completed} AND w.lane IS NULL
        UNION ALL
        SELECT t.*
        FROM heads h, LATERAL (SELECT q.* FROM {work} q WHERE q.id > h.id AND q.id <= h.id + h.span OFFSET 0) t
        UNION ALL
        SELECT x.*
        FROM heads h, LATERAL (
          SELECT e.* FROM {elements} WHERE g.id > h.id AND g.id <= h.id + h.span AND g.first_element IS NOT NULL) x),
      events AS (
        SELECT w.def, r.name, r.at, r.body
        FROM {record} r, LATERAL (
          SELECT q.def
          FROM {work} q
          WHERE q.id = r.owner AND q.head IS NULL AND q.state >= {state.completed} AND q.lane IS NULL
          OFFSET 0) w
        WHERE r.kind = {kind.history} AND r.owner = ANY ($3) AND {is_usage_event})
      {store_usage})",
    {INT8OID, TIMESTAMPTZOID, INT8ARRAYOID},
};

void store_usage(const Tenant &tenant, const std::int64_t *executions, int count) {
  if (count == 0) return;
  Arguments arguments;
  arguments.add(Int64GetDatum(executions[0])).add(TimestampTzGetDatum(clock_now()));
  arguments.add(int64_array(executions, count));
  (void)run(tenant, store_usage_of_executions, arguments);
}

// The other elements' runs are in the history: see note_forgotten_run.
void store_usage_of_elements(const Tenant &tenant, std::int64_t group) {
  static constexpr Statement store_usage_of_group = {
      "store_usage_of_elements",
      R"(
        WITH counted AS (
          SELECT e.*
          FROM {elements}
          WHERE g.id = $1 AND g.first_element IS NOT NULL AND e.state = {state.completed}),
        events AS (SELECT r.seq::integer AS def, r.name, r.at, r.body FROM {record} r WHERE false)
        {store_usage})",
      {INT8OID, TIMESTAMPTZOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add(TimestampTzGetDatum(clock_now()));
  (void)run(tenant, store_usage_of_group, arguments);
}

void store_usage_of_task(const Tenant &tenant, std::int64_t task) {
  static constexpr Statement store_usage_of_task = {
      "store_usage_of_task",
      R"(
        WITH counted AS (SELECT w.* FROM {work} w WHERE w.id = $1 AND w.state = {state.completed}),
        events AS (SELECT r.seq::integer AS def, r.name, r.at, r.body FROM {record} r WHERE false)
        {store_usage})",
      {INT8OID, TIMESTAMPTZOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(task)).add(TimestampTzGetDatum(clock_now()));
  (void)run(tenant, store_usage_of_task, arguments);
}

void merge_usage(const Tenant &tenant) {
  constexpr std::int64_t most = 10000;
  static constexpr Statement merge_usage = {
      "merge_usage",
      R"(
        WITH taken AS (
          DELETE FROM {record} t
          USING (
            SELECT a.owner, a.name, a.seq
            FROM {record} a
            WHERE a.kind = {kind.usage_added}
            LIMIT $1
            FOR UPDATE SKIP LOCKED) k
          WHERE t.kind = {kind.usage_added} AND t.owner = k.owner AND t.name = k.name AND t.seq = k.seq
          RETURNING t.owner, t.name, t.body)
        INSERT INTO {record} AS r (kind, owner, name, seq, at, body)
        SELECT {kind.usage}, q.owner, q.name, 0, $2, jsonb_object_agg(q.key, q.total)
        FROM (
          SELECT t.owner, t.name, m.key, sum(m.value::numeric) AS total
          FROM taken t, LATERAL jsonb_each_text(t.body) m
          GROUP BY t.owner, t.name, m.key) q
        GROUP BY q.owner, q.name
        {add_usage})",
      {INT8OID, TIMESTAMPTZOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(most)).add(TimestampTzGetDatum(clock_now()));
  (void)run(tenant, merge_usage, arguments);
}

BatchedQuery begin_usage(const Tenant &tenant, std::int64_t first_hour, std::int64_t end_hour) {
  static constexpr Statement usage_of_tenant = {
      "usage",
      R"(
        WITH counted AS (SELECT w.* FROM {work} w),
        events AS (
          SELECT w.def, r.name, r.at, r.body
          FROM {record} r, LATERAL (SELECT q.def FROM {work} q WHERE q.id = r.owner OFFSET 0) w
          WHERE r.kind = {kind.history} AND {is_usage_event}),
        lines AS (SELECT l.*, {usage_hour} AS hour FROM ({usage_lines}) l),
        known AS (
          SELECT d.name, l.hour, l.started, l.completed, l.failed, l.cancelled, l.runs, extract(epoch FROM l.ran) AS ran,
            l.bytes
          FROM (
            SELECT l.def, l.hour, {usage_sums}
            FROM lines l
            WHERE l.hour >= $1 AND l.hour < $2
            GROUP BY l.def, l.hour) l,
            LATERAL (SELECT v.name FROM {record} v WHERE v.kind = {kind.version} AND v.owner = l.def LIMIT 1) d
          UNION ALL
          SELECT s.name, s.owner, (s.body ->> 'started')::bigint, (s.body ->> 'completed')::bigint,
            (s.body ->> 'failed')::bigint, (s.body ->> 'cancelled')::bigint, (s.body ->> 'runs')::bigint,
            (s.body ->> 'seconds')::numeric, (s.body ->> 'bytes')::bigint
          FROM {record} s
          WHERE s.kind IN ({kind.usage}, {kind.usage_added}) AND s.owner >= $1 AND s.owner < $2)
        SELECT l.name, l.hour, coalesce(l.started, 0), coalesce(l.completed, 0), coalesce(l.failed, 0),
          coalesce(l.cancelled, 0), coalesce(l.runs, 0), round(coalesce(l.ran, 0), 6), coalesce(l.bytes, 0)
        FROM (SELECT l.name, l.hour, {usage_sums} FROM known l GROUP BY l.name, l.hour) l
        WHERE greatest(l.started, l.completed, l.failed, l.cancelled, l.runs, l.bytes, ceil(l.ran)) > 0
        ORDER BY l.name COLLATE "C", l.hour)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(first_hour)).add(Int64GetDatum(end_hour));
  return begin_query(tenant, usage_of_tenant, arguments);
}

Usage usage_row(std::uint64_t row) {
  return {get_text(row, 1),  get_int64(row, 2), get_int64(row, 3), get_int64(row, 4), get_int64(row, 5),
          get_int64(row, 6), get_int64(row, 7), get_datum(row, 8), get_int64(row, 9)};
}

}  // namespace insula
