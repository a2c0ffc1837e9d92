// Lists of executions, over SPI; see listing.hpp.
#include "storage/listing.hpp"

#include "spi/session.hpp"
#include "storage/codes.hpp"

namespace insula {

std::int64_t beginning_of_stretch(const Tenant &tenant, std::int64_t after, std::int64_t before, int rows) {
  static constexpr Statement beginning_of_stretch = {
      "beginning_of_stretch",
      R"(
        SELECT min(id)
        FROM (SELECT id FROM {work} WHERE id > $1 AND id < $2 ORDER BY id DESC LIMIT $3) q)",
      {INT8OID, INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(before)).add(Int64GetDatum(rows));
  (void)run(tenant, beginning_of_stretch, arguments);
  return get_int64(0, 1);
}

bool all_created_before(const Tenant &tenant, std::int64_t first, std::int64_t last, TimestampTz time) {
  static constexpr Statement all_created_before = {
      "all_created_before",
      R"(
        SELECT max(created_at) < $3
        FROM {work}
        WHERE id >= $1 AND id <= $2 AND head IS NULL)",
      {INT8OID, INT8OID, TIMESTAMPTZOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(first)).add(Int64GetDatum(last)).add(TimestampTzGetDatum(time));
  (void)run(tenant, all_created_before, arguments);
  return !is_null(0, 1) && DatumGetBool(get_datum(0, 1));
}

ListedExecution *list_executions(const Tenant &tenant, const ListFilter &filter, std::int64_t after,
                                 std::int64_t before, int most, int *count) {
  static constexpr Statement list_executions = {
      "list_executions",
      R"(
        SELECT w.id, d.name, d.seq::int, {execution_status}, w.priority, w.created_at, t.started_at, w.finished_at,
          {execution_error}
        FROM {work} w
        JOIN {record} d ON d.kind = {kind.version} AND d.owner = w.def
        LEFT JOIN {record} k ON k.kind = {kind.task_key} AND k.owner = w.key
        CROSS JOIN LATERAL (SELECT CASE WHEN w.span = 0 THEN w.started_at
          ELSE (SELECT min(r.started_at) FROM {work} r WHERE r.id > w.id AND r.id <= w.id + w.span) END
          OFFSET 0) t(started_at)
        WHERE w.id > $1 AND w.id < $2 AND w.head IS NULL AND w.created_at >= $5 AND w.created_at < $6
          AND ($3 IS NULL OR d.name = $3) AND ($4 IS NULL OR {execution_status} = $4)
        ORDER BY w.id DESC
        LIMIT $7)",
      {INT8OID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(before)).add_text(filter.workflow).add_text(filter.status);
  arguments.add(TimestampTzGetDatum(filter.created_after)).add(TimestampTzGetDatum(filter.created_before));
  arguments.add(Int64GetDatum(most));
  const auto rows = run(tenant, list_executions, arguments);
  auto *listed = palloc_array_of<ListedExecution>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    listed[i] = {get_int64(i, 1), get_text(i, 2),  get_int32(i, 3), get_text(i, 4), get_int32(i, 5),
                 get_int64(i, 6), get_int64(i, 7), get_int64(i, 8), get_text(i, 9)};
  *count = static_cast<int>(rows);
  return listed;
}

FailureGroup *group_failures(const Tenant &tenant, const char *workflow, TimestampTz since, std::int64_t rows, int most,
                             int *count) {
  static constexpr Statement group_failures = {
      "group_failures",
      R"(
        SELECT f.name, (array_agg(f.error ORDER BY f.finished_at DESC, f.id DESC))[1], count(*), max(f.finished_at),
          (array_agg(f.id ORDER BY f.finished_at DESC, f.id DESC))[1]
        FROM (
          SELECT d.name, left({execution_error}, 1000) AS error, w.finished_at, w.id
          FROM (SELECT * FROM {work} ORDER BY id DESC LIMIT $3) w
          JOIN {record} d ON d.kind = {kind.version} AND d.owner = w.def
          LEFT JOIN {record} k ON k.kind = {kind.task_key} AND k.owner = w.key
          WHERE w.head IS NULL AND w.state = {state.failed} AND w.finished_at >= $2 AND ($1 IS NULL OR d.name = $1)) f
        GROUP BY f.name, regexp_replace(f.error, '[0-9]+', '0', 'g')
        ORDER BY count(*) DESC, max(f.finished_at) DESC
        LIMIT $4)",
      {TEXTOID, TIMESTAMPTZOID, INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add_text(workflow).add(TimestampTzGetDatum(since)).add(Int64GetDatum(rows)).add(Int64GetDatum(most));
  const auto found = run(tenant, group_failures, arguments);
  auto *groups = palloc_array_of<FailureGroup>(found);
  for (std::uint64_t i = 0; i < found; ++i)
    groups[i] = {get_text(i, 1), get_text(i, 2), get_int64(i, 3), get_int64(i, 4), get_int64(i, 5)};
  *count = static_cast<int>(found);
  return groups;
}

}  // namespace insula
