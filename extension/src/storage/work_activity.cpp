// Counts the tasks of a tenant by their places in the queue, from the queue itself.
#include "storage/work.hpp"

namespace insula {

Place place_of(std::int32_t lane) {
  switch (lane) {
    case lane_later:
      return Place::delayed;
    case lane_running:
      return Place::running;
    case lane_deferred:
      return Place::waiting;
    case lane_paused:
      return Place::paused;
    default:
      return Place::ready;
  }
}

Activity *count_queue(const Tenant &tenant, Snapshot snapshot, int *count) {
  static constexpr Statement count_queue = {
      "count_queue",
      R"(
        SELECT def,
          count(*) FILTER (WHERE {is_ready}),
          count(*) FILTER (WHERE lane = {lane.later}),
          count(*) FILTER (WHERE lane = {lane.running}),
          count(*) FILTER (WHERE lane = {lane.deferred}),
          count(*) FILTER (WHERE lane = {lane.paused})
        FROM {work} w
        WHERE lane IS NOT NULL AND lane NOT IN ({lane.timeout}, {lane.deciding})
        GROUP BY def)",
      {},
  };
  Arguments none;
  const auto rows = run_on(tenant, count_queue, none, snapshot);
  auto *activities = static_cast<Activity *>(palloc0(sizeof(Activity) * (rows + 1)));
  for (std::uint64_t i = 0; i < rows; ++i) {
    activities[i].what = {tenant.number, get_int32(i, 1)};
    for (int place = 0; place < places; ++place) activities[i].tasks[place] = get_int64(i, 2 + place);
  }
  *count = static_cast<int>(rows);
  return activities;
}

FailingTasks *failing_tasks(const Tenant &tenant, int *count) {
  static constexpr Statement failing_tasks = {
      "failing_tasks",
      R"(
        SELECT w.def, w.error, count(*)
        FROM (SELECT q.def, q.error, q.task FROM {work} q ORDER BY q.id DESC LIMIT $1) w
        WHERE w.error IS NOT NULL AND w.task >= 0
        GROUP BY w.def, w.error
        ORDER BY count(*) DESC, w.def, w.error
        LIMIT 5)",
      {INT4OID},
  };
  Arguments arguments;
  arguments.add(Int32GetDatum(failures_looked_at));
  const auto rows = run(tenant, failing_tasks, arguments);
  auto *failing = palloc_array_of<FailingTasks>(rows + 1);
  for (std::uint64_t i = 0; i < rows; ++i) failing[i] = {get_int32(i, 1), get_text(i, 2), get_int64(i, 3)};
  *count = static_cast<int>(rows);
  return failing;
}

}  // namespace insula
