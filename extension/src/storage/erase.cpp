// Emptying executions, over SPI.  Invariant: usage stays as it is, since what a row's contexts counted is stored in the
// transaction that empties them.
#include "storage/erase.hpp"

#include "core/ids.hpp"
#include "shared/clock.hpp"
#include "storage/record.hpp"
#include "storage/work.hpp"

namespace insula {

std::int64_t end_of_search(const Tenant &tenant, std::int64_t after, int rows, std::int64_t bytes) {
  static constexpr Statement end_of_search = {
      "end_of_search",
      R"(
        SELECT max(q.id)
        FROM (
          SELECT s.id, sum(s.bytes) OVER (ORDER BY s.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
          FROM (
            SELECT id, coalesce(pg_column_size(input), 0) + coalesce(pg_column_size(output), 0)
              + coalesce(pg_column_size(event), 0) AS bytes
            FROM {work} WHERE id > $1 ORDER BY id LIMIT $2) s) q
        WHERE coalesce(q.before, 0) < $3)",
      {INT8OID, INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(rows)).add(Int64GetDatum(bytes));
  (void)run(tenant, end_of_search, arguments);
  return get_int64(0, 1);
}

ErasureMatch *matching_rows(const Tenant &tenant, const ErasureFilter &filter, std::int64_t after, std::int64_t last,
                            int *count) {
  static constexpr Statement matching_rows = {
      "matching_rows",
      R"(
        SELECT min(q.id), q.head, h.state >= {state.completed} AND h.lane IS NULL
        FROM (
          SELECT w.id, coalesce(w.head, w.id) AS head
          FROM {work} w
          WHERE w.id > $1 AND w.id <= $2
            AND (jsonb_path_exists(w.input, $3, $4, true) OR jsonb_path_exists(w.output, $3, $4, true)
              OR jsonb_path_exists(w.event -> 'payload', $3, $4, true)
              OR (w.head IS NULL AND EXISTS (
                SELECT FROM {record} r
                WHERE r.kind IN ({kind.event}, {kind.progress}) AND r.owner = ANY (ARRAY[w.id])
                  AND jsonb_path_exists(r.body, $3, $4, true))))
          OFFSET 0) q, {work} h
        WHERE h.id = ANY (ARRAY[q.head])
        GROUP BY q.head, h.state, h.lane
        ORDER BY 1)",
      {INT8OID, INT8OID, JSONPATHOID, JSONBOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(last)).add(filter.path).add(filter.variables);
  const auto rows = run(tenant, matching_rows, arguments);
  auto *matches = palloc_array_of<ErasureMatch>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    matches[i] = {get_int64(i, 1), get_int64(i, 2), DatumGetBool(get_datum(i, 3))};
  *count = static_cast<int>(rows);
  return matches;
}

std::int64_t count_matching_contexts(const Tenant &tenant, const ErasureFilter &filter) {
  static constexpr Statement count_matching_contexts = {
      "count_matching_contexts",
      R"(
        SELECT (
            SELECT count(*)
            FROM {record} r
            WHERE r.kind = {kind.schedule_context} AND jsonb_path_exists(r.body, $1, $2, true)) + (
            SELECT count(*)
            FROM {record} r
            WHERE r.kind = {kind.subscription} AND r.owner = 0
              AND jsonb_path_exists(r.body -> 'context', $1, $2, true)))",
      {JSONPATHOID, JSONBOID},
  };
  Arguments arguments;
  arguments.add(filter.path).add(filter.variables);
  (void)run(tenant, count_matching_contexts, arguments);
  return get_int64(0, 1);
}

static std::int64_t *all_ids(std::uint64_t rows, int *found) {
  auto *ids = palloc_array_of<std::int64_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) ids[i] = get_int64(i, 1);
  *found = static_cast<int>(rows);
  return ids;
}

// A task that runs again forgets its child; the event stays.
constexpr Word child_words[] = {
    {"children", R"(
      {record} r, LATERAL (
        SELECT w.id
        FROM {work} w
        WHERE w.id = ANY (ARRAY[(r.body ->> 'child')::bigint & $2]) AND w.parent_head = r.owner AND w.head IS NULL
        OFFSET 0) c
      WHERE r.kind = {kind.history} AND r.owner = ANY ($1) AND r.name = ANY (ARRAY['task_waiting'])
        AND r.body ? 'child')"},
};
constexpr Words child_phrases = {child_words, lengthof(child_words)};

std::int64_t *children_of(const Tenant &tenant, const std::int64_t *ids, int count, int *found) {
  static constexpr Statement children_of = {
      "children_of",
      "SELECT DISTINCT c.id FROM {children} ORDER BY 1",
      {INT8ARRAYOID, INT8OID},
      child_phrases,
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(Int64GetDatum(core::max_local_number));
  return all_ids(run(tenant, children_of, arguments), found);
}

std::int64_t *unemptied_children_of(const Tenant &tenant, const std::int64_t *ids, int count, std::int64_t after,
                                    int most, int *found) {
  static constexpr Statement unemptied_children_of = {
      "unemptied_children_of",
      R"(
        SELECT DISTINCT c.id
        FROM {children} AND c.id > $3
          AND NOT EXISTS (
            SELECT FROM {record} s
            WHERE s.kind = {kind.history} AND s.owner = ANY (ARRAY[c.id]) AND s.name = 'execution_scrubbed')
        ORDER BY 1
        LIMIT $4)",
      {INT8ARRAYOID, INT8OID, INT8OID, INT4OID},
      child_phrases,
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(Int64GetDatum(core::max_local_number));
  arguments.add(Int64GetDatum(after)).add(Int32GetDatum(most));
  return all_ids(run(tenant, unemptied_children_of, arguments), found);
}

std::int64_t count_parents(const Tenant &tenant, const std::int64_t *ids, int count, const std::int64_t *soon,
                           int soon_count) {
  static constexpr Statement count_parents = {
      "count_parents",
      R"(
        SELECT count(DISTINCT w.parent_head)
        FROM {work} w
        WHERE w.id = ANY ($1) AND w.parent_head <> ALL ($1) AND w.parent_head <> ALL ($2)
          AND EXISTS (SELECT FROM {work} p WHERE p.id = ANY (ARRAY[w.parent_head]))
          AND NOT EXISTS (
            SELECT FROM {record} r
            WHERE r.kind = {kind.history} AND r.owner = ANY (ARRAY[w.parent_head]) AND r.name = 'execution_scrubbed'))",
      {INT8ARRAYOID, INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int64_array(soon, soon_count));
  (void)run(tenant, count_parents, arguments);
  return get_int64(0, 1);
}

bool is_scrubbed(const Tenant &tenant, std::int64_t execution) {
  static constexpr Statement is_scrubbed = {
      "is_scrubbed",
      R"(
        SELECT 1
        FROM {record}
        WHERE kind = {kind.history} AND owner = $1 AND name = 'execution_scrubbed'
        LIMIT 1)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution));
  return run(tenant, is_scrubbed, arguments) > 0;
}

constexpr Statement read_scrub_targets = {
    "read_scrub_targets",
    R"(
      SELECT w.id, w.span, (
          SELECT d.name || ':' || w.idempotency_key
          FROM {record} d
          WHERE d.kind = {kind.version} AND d.owner = w.def
          LIMIT 1), w.state >= {state.completed} AND w.lane IS NULL, EXISTS (
          SELECT FROM {record} r
          WHERE r.kind = {kind.history} AND r.owner = ANY (ARRAY[w.id]) AND r.name = 'execution_scrubbed')
      FROM {work} w
      WHERE w.id = ANY ($1) AND w.head IS NULL
      ORDER BY w.id)",
    {INT8ARRAYOID},
};

// $1: the first execution, under whose number the difference is stored, as a removal does; $2: the time.
constexpr Statement store_scrubbed_usage = {
    "store_scrubbed_usage",
    R"(
      WITH heads AS (SELECT u.id, u.last FROM unnest($3, $4) u(id, last)),
      counted AS (
        SELECT w.* FROM {work} w WHERE w.id = ANY ($3)
        UNION ALL
        SELECT t.*
        FROM heads h, LATERAL (SELECT q.* FROM {work} q WHERE q.id > h.id AND q.id <= h.last OFFSET 0) t
        UNION ALL
        SELECT x.*
        FROM heads h, LATERAL (
          SELECT e.* FROM {elements} WHERE g.id > h.id AND g.id <= h.last AND g.first_element IS NOT NULL) x),
      lines AS (
        SELECT w.def, w.created_at AS at, insula.context_size(w.input) AS bytes
        FROM counted w
        WHERE w.head IS NULL AND w.input IS NOT NULL
        UNION ALL
        SELECT w.def, w.finished_at, insula.context_size(w.output)
        FROM counted w
        WHERE {run_ended} AND w.state = {state.completed} AND w.output IS NOT NULL)
      INSERT INTO {record} AS r (kind, owner, name, seq, at, body)
      SELECT {kind.usage_added}, l.hour, l.name, $1, $2, jsonb_build_object('bytes', l.bytes)
      FROM (
        SELECT d.name, l.hour, sum(l.bytes) AS bytes
        FROM (
          SELECT l.def, {usage_hour} AS hour, sum(l.bytes - insula.context_size('{}')) AS bytes
          FROM lines l
          GROUP BY l.def, hour) l,
          LATERAL (SELECT v.name FROM {record} v WHERE v.kind = {kind.version} AND v.owner = l.def LIMIT 1) d
        GROUP BY d.name, l.hour) l
      WHERE l.bytes <> 0
      {add_usage})",
    {INT8OID, TIMESTAMPTZOID, INT8ARRAYOID, INT8ARRAYOID},
};

constexpr Statement scrub_elements = {
    "scrub_elements",
    R"(
      UPDATE {work} w
      SET {as_scrubbed}
      FROM (
        SELECT e.id
        FROM unnest($1, $2) u(head, last), LATERAL (
          SELECT e.id FROM {elements} WHERE g.id > u.head AND g.id <= u.last AND g.first_element IS NOT NULL) e
        OFFSET 0) x
      WHERE w.id = ANY (ARRAY[x.id]))",
    {INT8ARRAYOID, INT8ARRAYOID},
};

// The executions' own rows, and their tasks.
constexpr Statement scrub_rows = {
    "scrub_rows",
    R"(
      UPDATE {work} w
      SET {as_scrubbed}
      FROM unnest($1, $2) u(head, last)
      WHERE w.id >= u.head AND w.id <= u.last)",
    {INT8ARRAYOID, INT8ARRAYOID},
};

constexpr Statement scrub_records = {
    "scrub_records",
    R"(
      DELETE FROM {record}
      WHERE kind IN ({kind.event}, {kind.event_key}, {kind.progress}) AND owner = ANY ($1))",
    {INT8ARRAYOID},
};

constexpr Statement scrub_keys = {
    "scrub_keys",
    R"(
      DELETE FROM {record}
      WHERE ctid = ANY (ARRAY(
        SELECT r.place
        FROM unnest($1) u(name)
          CROSS JOIN LATERAL (
            SELECT k.ctid AS place, k.ref FROM {record} k
            WHERE k.kind = {kind.idempotency_key} AND k.owner = 0 AND k.name = u.name AND k.seq = 0
            LIMIT 1) r
        WHERE r.ref = ANY ($2))))",
    {TEXTARRAYOID, INT8ARRAYOID},
};

// As many as the two above change.
constexpr Statement count_scrub_rows = {
    "count_scrub_rows",
    R"(
      SELECT (
          SELECT count(*)
          FROM unnest($1, $2) u(head, last), LATERAL (
            SELECT FROM {work} w WHERE w.id >= u.head AND w.id <= u.last OFFSET 0) r) + (
          SELECT count(*)
          FROM unnest($1, $2) u(head, last), LATERAL (
            SELECT e.id FROM {elements} WHERE g.id > u.head AND g.id <= u.last AND g.first_element IS NOT NULL) x))",
    {INT8ARRAYOID, INT8ARRAYOID},
};

// Usage is read of some of these; what tasks and persons have said goes.
constexpr Statement scrub_history = {
    "scrub_history",
    R"(
      UPDATE {record} r
      SET body = (
        SELECT coalesce(jsonb_object_agg(m.key, m.value), '{}')
        FROM jsonb_each(r.body) m
        WHERE m.key IN ('attempt', 'worker', 'started_at', 'finished_at', 'status', 'child', 'event', 'until'))
      WHERE r.kind = {kind.history} AND r.owner = ANY ($1) AND r.body IS NOT NULL)",
    {INT8ARRAYOID},
};

static std::int64_t scrub_rows_of(const Tenant &tenant, Datum heads, Datum lasts) {
  Arguments of_elements;
  of_elements.add(heads).add(lasts);
  const auto elements = run(tenant, scrub_elements, of_elements);
  Arguments of_rows;
  of_rows.add(heads).add(lasts);
  return static_cast<std::int64_t>(elements + run(tenant, scrub_rows, of_rows));
}

static void scrub_records_of(const Tenant &tenant, Datum heads, const char *const *keys, int key_count) {
  Arguments of_records;
  of_records.add(heads);
  (void)run(tenant, scrub_records, of_records);
  Arguments of_history;
  of_history.add(heads);
  (void)run(tenant, scrub_history, of_history);
  if (key_count == 0) return;
  Arguments arguments;
  arguments.add(text_array(keys, key_count)).add(heads);
  (void)run(tenant, scrub_keys, arguments);
}

namespace {

// Executions that have ended and are not emptied yet: their own rows, the last of their tasks', their keys.
struct ScrubTargets {
  std::int64_t *heads;
  std::int64_t *lasts;
  const char **keys;
  int count;
  int key_count;
};

ScrubTargets scrub_targets(const Tenant &tenant, const std::int64_t *ids, int count, Scrubbed *scrubbed) {
  Arguments wanted;
  wanted.add(int64_array(ids, count));
  const auto rows = run(tenant, read_scrub_targets, wanted);
  ScrubTargets targets = {palloc_array_of<std::int64_t>(rows), palloc_array_of<std::int64_t>(rows),
                          palloc_array_of<const char *>(rows), 0, 0};
  for (std::uint64_t i = 0; i < rows; ++i) {
    if (!DatumGetBool(get_datum(i, 4))) {
      ++scrubbed->open;
      if (!scrubbed->open_head) scrubbed->open_head = get_int64(i, 1);
    } else if (!DatumGetBool(get_datum(i, 5))) {
      targets.heads[targets.count] = get_int64(i, 1);
      targets.lasts[targets.count] = get_int64(i, 1) + get_int32(i, 2);
      if (const char *key = get_text(i, 3)) targets.keys[targets.key_count++] = key;
      ++targets.count;
    }
  }
  scrubbed->executions = targets.count;
  return targets;
}

}  // namespace

Scrubbed scrub_executions(const Tenant &tenant, const std::int64_t *ids, int count) {
  Scrubbed scrubbed = {};
  const ScrubTargets targets = scrub_targets(tenant, ids, count, &scrubbed);
  if (targets.count == 0) return scrubbed;
  const Datum first = int64_array(targets.heads, targets.count);
  const Datum last = int64_array(targets.lasts, targets.count);
  const TimestampTz now = clock_now();
  Arguments usage;
  usage.add(Int64GetDatum(targets.heads[0])).add(TimestampTzGetDatum(now)).add(first).add(last);
  (void)run(tenant, store_scrubbed_usage, usage);
  scrubbed.rows = scrub_rows_of(tenant, first, last);
  scrub_records_of(tenant, first, targets.keys, targets.key_count);
  for (int i = 0; i < targets.count; ++i)
    insert_event(tenant, targets.heads[i], targets.heads[i], "execution_scrubbed", now, nullptr);
  return scrubbed;
}

Scrubbed count_scrubbable(const Tenant &tenant, const std::int64_t *ids, int count) {
  Scrubbed scrubbed = {};
  const ScrubTargets targets = scrub_targets(tenant, ids, count, &scrubbed);
  if (targets.count == 0) return scrubbed;
  Arguments of_rows;
  of_rows.add(int64_array(targets.heads, targets.count)).add(int64_array(targets.lasts, targets.count));
  (void)run(tenant, count_scrub_rows, of_rows);
  scrubbed.rows = get_int64(0, 1);
  return scrubbed;
}

}  // namespace insula
