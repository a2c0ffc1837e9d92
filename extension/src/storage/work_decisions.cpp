// Decisions in `work` that are put off: of tasks whether they run, or into which elements they fan out; of groups what
// their elements have handed over; of executions how they have ended, what that is to the execution that waits for
// them, and that those which they waited for are cancelled.  Claims do not see their lane, and it counts for no limit.
#include "storage/tell.hpp"

namespace insula {

// Each row has a place of its own in the lane, so that progress shows in what is due first.
void put_off_decisions(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, int count) {
  static constexpr Statement put_off_decisions = {
      "put_off_decisions",
      R"(
        UPDATE {work} w
        SET lane = {lane.deciding}, due = $1 + u.place
        FROM unnest($2) WITH ORDINALITY u(id, place)
        WHERE w.id = ANY (ARRAY[u.id]))",
      {INT8OID, INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(int64_array(ids, count));
  (void)run(tenant, put_off_decisions, arguments);
  tell(tenant, {0, no_lane, lane_deciding, now});
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

void no_longer_put_off(const Tenant &tenant, std::int64_t execution) {
  static constexpr Statement no_longer_put_off = {
      "no_longer_put_off",
      R"(
        UPDATE {work}
        SET lane = NULL, due = NULL
        WHERE id = $1)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution));
  (void)run(tenant, no_longer_put_off, arguments);
}

std::int64_t *open_children(const Tenant &tenant, std::int64_t execution, int most, int *count) {
  static constexpr Statement open_children = {
      "open_children",
      R"(
        SELECT c.id
        FROM (
          SELECT t.child, t.id
          FROM {work} h, {work} t
          WHERE h.id = $1 AND t.id >= h.id AND t.id <= h.id + h.span AND t.state = {state.cancelled}
          UNION ALL
          SELECT e.child, e.id
          FROM {work} h, {work} g, {work} e
          WHERE h.id = $1 AND g.id > h.id AND g.id <= h.id + h.span AND g.first_element IS NOT NULL
            AND g.state = {state.cancelled} AND e.id >= g.first_element AND e.id < g.first_element + g.span
            AND e.state = {state.cancelled}) x(child, task),
          {work} c
        WHERE c.id = ANY (ARRAY[x.child]) AND c.parent = x.task AND c.state < {state.completed}
          AND c.lane IS DISTINCT FROM {lane.deciding}
        ORDER BY c.id
        LIMIT $2)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(most));
  const auto rows = run(tenant, open_children, arguments);
  auto *children = palloc_array_of<std::int64_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) children[i] = get_int64(i, 1);
  *count = static_cast<int>(rows);
  return children;
}

}  // namespace insula
