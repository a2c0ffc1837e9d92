// Decisions in `work` that are put off: of tasks whether they run, or into which elements they fan out; of executions
// how they have ended.  Claims do not see their lane, and it counts for no limit.
#include "storage/work.hpp"

namespace insula {

// Each row has a place of its own in the lane, so that progress shows in what is due first.
void put_off_decisions(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, int count) {
  static constexpr Statement put_off_decisions = {
      "put_off_decisions",
      R"(
        UPDATE {work} w
        SET lane = {lane.deciding}, due = $1 + u.place
        FROM unnest($2) WITH ORDINALITY u(id, place)
        WHERE w.id = ANY (ARRAY[u.id]) AND w.state < {state.completed})",
      {INT8OID, INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(int64_array(ids, count));
  (void)run(tenant, put_off_decisions, arguments);
}

TaskRow *open_decisions(const Tenant &tenant, TimestampTz now, const DecisionPlace &after, int *count) {
  static constexpr Statement open_decisions = {
      "open_decisions",
      R"(
        SELECT {task_header}
        FROM {work} w
        WHERE lane = {lane.deciding} AND due <= $1 AND due >= $2 AND (due, id) > ($2, $3)
        ORDER BY due, id
        LIMIT 100)",
      {INT8OID, INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(Int64GetDatum(after.due)).add(Int64GetDatum(after.id));
  return read_task_rows(run(tenant, open_decisions, arguments), count);
}

TaskRow *still_put_off(const Tenant &tenant, const std::int64_t *ids, int count, int *found) {
  static constexpr Statement still_put_off = {
      "still_put_off",
      R"(
        SELECT {task_header}
        FROM {work} w
        WHERE id = ANY ($1) AND lane = {lane.deciding}
        ORDER BY id)",
      {INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  return read_task_rows(run(tenant, still_put_off, arguments), found);
}

}  // namespace insula
