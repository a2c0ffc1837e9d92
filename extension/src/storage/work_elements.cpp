// Groups and their elements in `work`, over SPI.  A group's elements have numbers without a
// gap, from the group's first_element on, as many as its span says.
#include <algorithm>

#include "storage/tell.hpp"
#include "storage/usage.hpp"

namespace insula {

void open_group_row(const Tenant &tenant, std::int64_t group, int elements, TimestampTz now) {
  static constexpr Statement open_group = {
      "open_group",
      R"(
        UPDATE {work}
        SET state = {state.running}, remaining = $2, started_at = $3, lane = NULL, due = NULL
        WHERE id = $1)",
      {INT8OID, INT4OID, TIMESTAMPTZOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add(Int32GetDatum(elements)).add(TimestampTzGetDatum(now));
  (void)run(tenant, open_group, arguments);
}

void end_group_row(const Tenant &tenant, std::int64_t group, State state, TimestampTz now, Jsonb *output,
                   const char *error) {
  static constexpr Statement end_group = {
      "end_group",
      R"(
        UPDATE {work}
        SET state = $2, finished_at = $3, output = $4, error = $5, lane = NULL, due = NULL
        WHERE id = $1)",
      {INT8OID, INT4OID, TIMESTAMPTZOID, JSONBOID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add(Int32GetDatum(static_cast<std::int32_t>(state)));
  arguments.add(TimestampTzGetDatum(now)).add_nullable(PointerGetDatum(output), output == nullptr).add_text(error);
  (void)run(tenant, end_group, arguments);
}

// Adds up the outputs of a group's elements without reading them.
static std::size_t stored_outputs_of(const Tenant &tenant, std::int64_t group) {
  static constexpr Statement stored_outputs = {
      "stored_outputs",
      R"(
        SELECT e.output
        FROM {elements}
        WHERE g.id = $1 AND g.first_element IS NOT NULL AND e.state = {state.completed})",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(group));
  const auto rows = run(tenant, stored_outputs, arguments);
  std::size_t bytes = 0;
  for (std::uint64_t i = 0; i < rows; ++i) bytes += stored_size(get_datum(i, 1));
  return bytes;
}

GroupSummary summarize_group(const Tenant &tenant, std::int64_t group, const char *id, std::size_t most) {
  static constexpr Statement summarize_group = {
      "summarize_group",
      R"(
        SELECT count(*) FILTER (WHERE x.state = {state.failed}),
          coalesce(sum(octet_length(x.output::text)) FILTER (WHERE x.state = {state.completed} AND $3), 0)::bigint,
          (SELECT format('%s[%s]: %s', $2, f.element, f.error)
           FROM (SELECT e.* FROM {elements} WHERE g.id = $1 AND g.first_element IS NOT NULL) f
           WHERE f.state = {state.failed}
           ORDER BY f.element
           LIMIT 1)
        FROM (SELECT e.* FROM {elements} WHERE g.id = $1 AND g.first_element IS NOT NULL) x)",
      {INT8OID, TEXTOID, BOOLOID},
  };
  const std::size_t stored = stored_outputs_of(tenant, group);
  const bool may_fit = stored <= most;
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add_text(id).add(BoolGetDatum(may_fit));
  (void)run(tenant, summarize_group, arguments);
  return {get_int64(0, 1), may_fit ? get_int64(0, 2) : static_cast<std::int64_t>(stored), get_text(0, 3)};
}

Jsonb *group_outputs(const Tenant &tenant, std::int64_t group, const char *id) {
  static constexpr Statement group_outputs = {
      "group_outputs",
      R"(
        SELECT jsonb_build_object($2, coalesce(
          jsonb_agg(CASE WHEN x.state = {state.completed} THEN insula.merge_patch('{}'::jsonb, x.output) END
            ORDER BY x.element),
          '[]'))
        FROM (SELECT e.* FROM {elements} WHERE g.id = $1 AND g.first_element IS NOT NULL) x)",
      {INT8OID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add_text(id);
  (void)run(tenant, group_outputs, arguments);
  return get_jsonb(0, 1);
}

static std::uint64_t run_on_execution(const Tenant &tenant, const Statement &statement, std::int64_t execution,
                                      std::int32_t span) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  return run(tenant, statement, arguments);
}

ElementResult *element_results(const Tenant &tenant, std::int64_t execution, std::int32_t span, int *count) {
  static constexpr Statement element_results = {
      "element_results",
      R"(
        SELECT e.task, e.state, NULL, e.error, e.attempt, e.started_at, e.finished_at, e.worker, e.child,
          e.lease IS NOT NULL, e.element, e.id
        FROM {elements}
        WHERE g.id > $1 AND g.id <= $2 AND g.first_element IS NOT NULL
        ORDER BY e.id)",
      {INT8OID, INT8OID},
  };
  const auto rows = run_on_execution(tenant, element_results, execution, span);
  auto *results = palloc_array_of<ElementResult>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) results[i] = {read_result(i, true), get_int32(i, 11), get_int64(i, 12)};
  *count = static_cast<int>(rows);
  std::sort(results, results + rows, [](const ElementResult &a, const ElementResult &b) {
    return a.result.task < b.result.task || (a.result.task == b.result.task && a.element < b.element);
  });
  return results;
}

ElementDetail *element_details(const Tenant &tenant, std::int64_t execution, std::int32_t span, int *count) {
  static constexpr Statement element_details = {
      "element_details",
      R"(
        SELECT e.task, e.state, e.lane, e.attempt, e.due, e.paused_at IS NOT NULL, e.worker, e.error, e.waits_for,
          e.child, e.limit_key, e.element
        FROM {elements}
        WHERE g.id > $1 AND g.id <= $2 AND g.first_element IS NOT NULL
        ORDER BY e.task, e.element)",
      {INT8OID, INT8OID},
  };
  const auto rows = run_on_execution(tenant, element_details, execution, span);
  auto *details = palloc_array_of<ElementDetail>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) details[i] = {read_detail(i), get_int32(i, 1), get_int32(i, 12)};
  *count = static_cast<int>(rows);
  return details;
}

int reopen_elements(const Tenant &tenant, TimestampTz now, std::int64_t group) {
  static constexpr Statement reopen_elements = {
      "reopen_elements",
      R"(
        UPDATE {work} w
        SET state = {state.ready}, lane = {open_lane}, due = $1 + w.element, {as_never_run}
        FROM (SELECT e.id FROM {elements} WHERE g.id = $2 AND g.first_element IS NOT NULL OFFSET 0) x
        WHERE w.id = ANY (ARRAY[x.id]) AND w.state IN ({state.failed}, {state.cancelled})
        RETURNING {told})",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(Int64GetDatum(group));
  const auto rows = run(tenant, reopen_elements, arguments);
  tell_rows(tenant, rows, no_lane);
  return static_cast<int>(rows);
}

int open_elements(const Tenant &tenant, std::int64_t group) {
  static constexpr Statement open_elements = {
      "open_elements",
      R"(
        SELECT count(*)
        FROM (SELECT e.state FROM {elements} WHERE g.id = $1 AND g.first_element IS NOT NULL) x
        WHERE x.state < {state.completed})",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(group));
  (void)run(tenant, open_elements, arguments);
  return static_cast<int>(get_int64(0, 1));
}

static void link_elements(const Tenant &tenant, std::int64_t group, std::int64_t first, int count) {
  static constexpr Statement link_elements = {
      "link_elements",
      R"(
        UPDATE {work}
        SET first_element = $2, span = $3
        WHERE id = $1)",
      {INT8OID, INT8OID, INT4OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add_nullable(Int64GetDatum(first), first == 0).add(Int32GetDatum(count));
  (void)run(tenant, link_elements, arguments);
}

void empty_group(const Tenant &tenant, std::int64_t group) {
  static constexpr Statement remove_elements_of_group = {
      "remove_elements_of_group",
      R"(
        WITH gone AS (
          DELETE FROM {work} w
          USING (SELECT e.id FROM {elements} WHERE g.id = $1 AND g.first_element IS NOT NULL OFFSET 0) x
          WHERE w.id = ANY (ARRAY[x.id])
          RETURNING w.id, w.head)
        DELETE FROM {record} r
        USING gone
        WHERE r.kind IN ({kind.progress}, {kind.tally}) AND r.owner = ANY (ARRAY[gone.head])
          AND r.name IN ('', 'checkpoint', 'lapses', 'free_retries') AND r.seq = ANY (ARRAY[gone.id]))",
      {INT8OID},
  };
  store_usage_of_elements(tenant, group);
  Arguments arguments;
  arguments.add(Int64GetDatum(group));
  (void)run(tenant, remove_elements_of_group, arguments);
  link_elements(tenant, group, 0, 0);
}

void insert_elements(const Tenant &tenant, const NewElements &elements) {
  static constexpr Statement insert_elements = {
      "insert_elements",
      R"(
        INSERT INTO {work} AS w (
          id, head, def, task, key, state,
          lane,
          due, priority, remaining, span, attempt, run_at, time_limit, paused_at, parent, parent_head, limit_key,
          element, input)
        SELECT $2 + u.ord - 1, g.head, g.def, g.task, g.key, {state.ready},
          CASE WHEN $3 IS NOT NULL THEN $3
            WHEN g.paused_at IS NULL
              THEN CASE WHEN g.limit_key IS NULL THEN -g.priority ELSE {lane.limited} - g.priority END
            ELSE {lane.paused} END,
          $4 + u.ord, g.priority, 0, 0, 0, $5, g.time_limit, g.paused_at, g.parent, g.parent_head, g.limit_key,
          u.ord - 1, u.item
        FROM {work} g, unnest($6) WITH ORDINALITY u(item, ord)
        WHERE g.id = ANY (ARRAY[$1])
        RETURNING {told})",
      {INT8OID, INT8OID, INT4OID, INT8OID, TIMESTAMPTZOID, JSONBARRAYOID},
  };
  const bool later = elements.run_at > elements.now;
  Arguments arguments;
  arguments.add(Int64GetDatum(elements.group)).add(Int64GetDatum(elements.first));
  arguments.add_nullable(Int32GetDatum(lane_later), !later);
  arguments.add(Int64GetDatum(std::max(elements.run_at, elements.now)));
  arguments.add_nullable(TimestampTzGetDatum(elements.run_at), !later);
  arguments.add(jsonb_array(elements.items, elements.count));
  tell_rows(tenant, run(tenant, insert_elements, arguments), no_lane);
  link_elements(tenant, elements.group, elements.first, elements.count);
}

}  // namespace insula
