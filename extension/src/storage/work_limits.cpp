// Rows of `work` under a concurrency limit.  They have lanes of their own, so that no other claim
// walks over them.  A claim takes them in the order of these lanes, as others do; where it meets
// many that may not be claimed it gives up, and who wants more goes from limit to limit by an
// index of these, and never through the backlog of one that is used up.
#include <algorithm>

#include "storage/row_claim.hpp"

extern "C" {
#include "utils/fmgroids.h"
}

namespace insula {

namespace {

// The lanes from here on are those of rows under a limit.
constexpr std::int32_t below_limited = 150000;

// Where rows may not be claimed the search begins at the first of them the next time too, so what
// lies behind it must not cost much.
struct Patience {
  int refused = 32;    // rows
  int entries = 1000;  // of dead rows, once one was refused
};

enum class Tried { claimed, taken, refused };

// One walk over the lanes.
struct OrderedWalk {
  const Tenant &tenant;
  const LowsView &view;
  const Rows &rows;
  Patience left = {};
  bool refused = false;

  bool gave_up() const { return left.refused <= 0 || left.entries < 0; }

  // `tries` the rows of a lane until so many are claimed; returns how many are, and notes from where on the lane
  // is to be searched the next time.
  template <typename Try>
  int walk_lane(std::int32_t lane, Claimed *claimed, int most, Try tries) {
    const std::int64_t low = view.at(lane);
    if (low == low_nothing) return 0;
    std::int64_t first_refused = low_nothing;
    int count = 0;
    bool more = true;
    IndexScanDesc scan = begin_lane_scan(rows, tenant, lane, low);
    while (count < most && !gave_up() && (more = next(scan))) {
      CHECK_FOR_INTERRUPTS();
      const Tried tried = tries(count);
      if (tried == Tried::claimed) ++count;
      if (tried != Tried::refused) continue;
      if (first_refused == low_nothing) first_refused = found_int64(rows, Column::due);
      refused = true;
      --left.refused;
    }
    end_row_scan(scan);
    const std::int64_t seen = more || gave_up() ? passed_by(claimed, count, low) : low_nothing;
    mark_low(view, lane, std::min(seen, first_refused));
    return count;
  }

  bool next(IndexScanDesc scan) { return refused ? next_row_within(rows, scan, &left.entries) : next_row(rows, scan); }
};

Tried try_to_claim(const Tenant &tenant, const Rows &rows, const RowClaim &claim, const LimitGate &gate,
                   Claimed *claimed) {
  if (!claim.wants(found_int32(rows, Column::key)) || is_taken(rows)) return Tried::taken;
  const std::int64_t limit = found_int64(rows, Column::limit_key);
  if (!gate.admits(gate.self, found_int32(rows, Column::def), limit)) return Tried::refused;
  const bool claims = claim_found(rows, claim, claimed);
  if (claims)
    note_under_limit(tenant.number, limit, 1);
  else
    gate.takes_back(gate.self, limit);
  return claims ? Tried::claimed : Tried::taken;
}

bool wants(const ClaimFilter &filter, std::int32_t key) {
  return !filter.keys || std::binary_search(filter.keys, filter.keys + filter.count, key);
}

}  // namespace

bool may_have_limited(const Tenant &tenant) {
  std::int32_t lane;
  return find_lane(tenant, below_limited, PG_INT32_MAX, &lane);
}

bool has_waiting_limits(const Tenant &tenant, const ClaimFilter &filter) {
  if (!may_have_limited(tenant)) return false;
  const LowsView view = read_lows(tenant.number, filter.keys, filter.count);
  for (std::int32_t lane = below_limited; next_lane(tenant, view, PG_INT32_MAX, &lane);) {
    if (view.at(lane) == low_nothing) continue;
    Arguments arguments;
    arguments.add(Int32GetDatum(lane)).add(Int64GetDatum(view.at(lane)));
    if (run(tenant, Statement::probe_any, arguments) > 0) return true;
  }
  return false;
}

int claim_in_order(const Tenant &tenant, const ClaimRequest &request, const LimitGate &gate, Claimed *claimed,
                   bool *whole) {
  const LowsView view = read_lows(tenant.number, request.keys, request.key_count);
  const Rows rows = open_rows(tenant, CMD_UPDATE);
  const RowClaim claim = begin_claim(request);
  OrderedWalk walk = {tenant, view, rows};
  int count = 0;
  for (std::int32_t lane = below_limited;
       count < request.max_tasks && !walk.gave_up() && next_lane(tenant, view, PG_INT32_MAX, &lane);) {
    Claimed *of_lane = claimed + count;
    count += walk.walk_lane(lane, of_lane, request.max_tasks - count,
                            [&](int at) { return try_to_claim(tenant, rows, claim, gate, of_lane + at); });
  }
  close_rows(rows);
  *whole = !walk.gave_up();
  return count;
}

bool find_in_order(const Tenant &tenant, const ClaimFilter &filter, const LimitGate &gate, bool *whole) {
  const LowsView view = read_lows(tenant.number, filter.keys, filter.count);
  const Rows rows = open_rows(tenant, CMD_SELECT);
  OrderedWalk walk = {tenant, view, rows};
  Claimed none;
  bool found = false;
  for (std::int32_t lane = below_limited; !found && !walk.gave_up() && next_lane(tenant, view, PG_INT32_MAX, &lane);) {
    found = walk.walk_lane(lane, &none, 1, [&](int) {
      if (!wants(filter, found_int32(rows, Column::key)) || is_taken(rows)) return Tried::taken;
      none.due = found_int64(rows, Column::due);
      const bool free = gate.admits(gate.self, found_int32(rows, Column::def), found_int64(rows, Column::limit_key));
      return free ? Tried::claimed : Tried::refused;
    }) > 0;
  }
  close_rows(rows);
  *whole = !walk.gave_up();
  return found;
}

int claim_at_limit(const Tenant &tenant, const ClaimRequest &request, const LimitPlace &place, const LimitGate &gate,
                   Claimed *claimed) {
  const Rows rows = open_rows(tenant, CMD_UPDATE);
  const RowClaim claim = begin_claim(request);
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(place.key));
  ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(place.limit));
  IndexScanDesc scan = begin_row_scan(rows, tenant.work_limits, 2);
  index_rescan(scan, keys, 2, nullptr, 0);
  int count = 0;
  while (count < request.max_tasks && next_row(rows, scan)) {
    CHECK_FOR_INTERRUPTS();
    const Tried tried = try_to_claim(tenant, rows, claim, gate, claimed + count);
    if (tried == Tried::refused) break;
    if (tried == Tried::claimed) ++count;
  }
  end_row_scan(scan);
  close_rows(rows);
  return count;
}

WaitingLimit *waiting_limits(const Tenant &tenant, const LimitPlace &after, int most, int *count) {
  Arguments arguments;
  arguments.add(Int32GetDatum(after.key)).add(Int64GetDatum(after.limit)).add(Int64GetDatum(most));
  const auto rows = run_without_sort(tenant, Statement::waiting_limits, arguments);
  auto *limits = palloc_array_of<WaitingLimit>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) limits[i] = {{get_int32(i, 1), get_int64(i, 2)}, get_int32(i, 3)};
  *count = static_cast<int>(rows);
  return limits;
}

LimitCount *running_by_limit(const Tenant &tenant, Snapshot snapshot, int *count) {
  Arguments none;
  const auto rows = snapshot ? run_on(tenant, Statement::running_by_limit, none, snapshot)
                             : run_on_latest(tenant, Statement::running_by_limit, none);
  auto *counts = palloc_array_of<LimitCount>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) counts[i] = {get_int64(i, 1), get_int64(i, 2)};
  std::sort(counts, counts + rows, [](const LimitCount &a, const LimitCount &b) { return a.limit < b.limit; });
  *count = static_cast<int>(rows);
  return counts;
}

}  // namespace insula
