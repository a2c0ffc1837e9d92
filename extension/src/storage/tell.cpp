// The one place from which changes of rows go to shared memory.
#include "storage/tell.hpp"

#include <algorithm>

#include "core/ids.hpp"
#include "shared/clock.hpp"
#include "shared/shared.hpp"

namespace insula {

namespace {

bool is_in_queue(std::int32_t lane) { return lane != no_lane && is_queued(lane); }
bool is_ready(std::int32_t lane) { return lane < lane_later; }

bool is_start_of_run(const RowChange &change) { return is_ready(change.from) && change.to == lane_running; }

void count_places(const Counted &counted, const RowChange &change) {
  const bool leaves = is_in_queue(change.from);
  const bool arrives = is_in_queue(change.to);
  if (leaves && arrives) {
    const Place from = place_of(change.from);
    const Place to = place_of(change.to);
    if (from != to) count_moved(counted, from, to, change.rows);
  } else if (arrives) {
    count_arrived(counted, place_of(change.to), change.rows);
  } else if (leaves) {
    count_left(counted, place_of(change.from), change.rows);
  }
}

void count_end_of_run(const Tenant &tenant, const Counted &counted, const RowChange &change) {
  if (change.started_at) count_run(counted, clock_now() - change.started_at);
  if (change.limited) note_permits_used(tenant.number, Limited::workflows, change.limit, -change.rows);
}

void count_start_of_run(const Tenant &tenant, const Counted &counted, const RowChange &change) {
  count_happened(counted, Happened::started, change.rows);
  count_wait(counted, change.waited, change.rows);
  if (change.limited) note_permits_used(tenant.number, Limited::workflows, change.limit, change.rows);
}

// Time changes the rows of these lanes; a paused row keeps its place.
bool is_lane_of_moments(std::int32_t lane) { return !is_ready(lane) && lane != no_lane && lane != lane_paused; }

void announce(const Tenant &tenant, const RowChange &change) {
  if (is_start_of_run(change)) announce_claimed(tenant.number);
  if (is_ready(change.to)) {
    if (change.due != due_now) announce_claimable(tenant.number, change.due);
    announce_ready(tenant.number, change.key);
  } else if (is_lane_of_moments(change.to) && change.due != due_now) {
    announce_due(tenant.number, change.due);
  }
}

Happened end_in(State state) {
  if (state == State::completed) return Happened::completed;
  return state == State::failed ? Happened::failed : Happened::cancelled;
}

// Whether the changes can be told as one.
bool are_alike(const RowChange &one, const RowChange &other) {
  return one.definition == other.definition && one.to == other.to && one.key == other.key;
}

// `wanted` says of which rows is told.
template <typename Wanted>
void tell_wanted_rows(const Tenant &tenant, std::uint64_t rows, std::int32_t from, Wanted wanted) {
  RowChange all = {0, no_lane, no_lane};
  for (std::uint64_t i = 0; i < rows; ++i) {
    const std::int32_t lane = is_null(i, 2) ? no_lane : get_int32(i, 2);
    if (lane == no_lane || !wanted(lane)) continue;
    const RowChange next = {get_int32(i, 1), from, lane, get_int64(i, 4), from == lane_paused ? 0 : get_int32(i, 3)};
    if (are_alike(all, next)) {
      ++all.rows;
      all.due = std::min(all.due, next.due);
    } else {
      tell(tenant, all);
      all = next;
    }
  }
  tell(tenant, all);
}

}  // namespace

void tell(const Tenant &tenant, const RowChange &change) {
  const Counted counted = {tenant.number, change.definition};
  count_places(counted, change);
  if (is_start_of_run(change)) count_start_of_run(tenant, counted, change);
  if (change.from == lane_running && change.to != lane_running) count_end_of_run(tenant, counted, change);
  if (change.retried) count_happened(counted, Happened::retried, change.rows);
  if (change.lapsed) count_happened(counted, Happened::lapsed, change.rows);
  if (change.rows > 0) announce(tenant, change);
}

void tell_rows(const Tenant &tenant, std::uint64_t rows, std::int32_t from) {
  tell_wanted_rows(tenant, rows, from, [](std::int32_t) { return true; });
}

void tell_rows_now_in(const Tenant &tenant, std::uint64_t rows, std::int32_t from, Place place) {
  tell_wanted_rows(tenant, rows, from,
                   [place](std::int32_t lane) { return is_in_queue(lane) && place_of(lane) == place; });
}

void tell_submitted(const Tenant &tenant, std::int32_t definition, int executions) {
  count_happened({tenant.number, definition}, Happened::submitted, executions);
}

void tell_end(const Tenant &tenant, std::int64_t execution, std::int32_t definition, State state) {
  count_happened({tenant.number, definition}, end_in(state), 1);
  announce_ended(core::make_id(tenant.number, execution));
  if (tenant.limits.retains()) announce_upkeep(tenant.number, clock_now() + tenant.limits.between_sweeps());
}

void tell_schedule(const Tenant &tenant) { announce_rescheduled(tenant.number); }

void tell_end_if_single(const Tenant &tenant, const TaskRow &task, State state) {
  if (!task.head) tell_end(tenant, task.id, task.definition, state);
}

RowChange start_of_run(const ClaimRequest &request, const Claimed &task) {
  RowChange change = {task.definition, ready_lane, lane_running, request.lease_expires};
  if (task.deadline) change.due = std::min(change.due, task.deadline);
  change.limited = task.limited;
  change.limit = task.limit;
  change.waited = request.now - task.due;
  return change;
}

RowChange end_of_run(const TaskRow &task, std::int32_t to) {
  RowChange change = {task.definition, lane_running, to};
  change.limited = task.limited;
  change.limit = task.limit;
  change.started_at = task.started_at;
  return change;
}

}  // namespace insula
