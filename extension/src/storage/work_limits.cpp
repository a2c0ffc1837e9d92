// Rows of `work` under a concurrency limit.  They have lanes of their own, so that no other claim
// walks over them.  A claim takes them in the order of these lanes, as others do; after
// many that may not be claimed it gives up, and its caller goes on from limit to limit by an index
// of these, never through the backlog of one that is used up.
#include <algorithm>

#include "storage/limited_rows.hpp"
#include "storage/row_claim.hpp"
#include "storage/tell.hpp"

extern "C" {
#include "utils/fmgroids.h"
}

namespace insula {

namespace {

// From where on a limit's own rows are to be searched is known by a name of its own.
WatermarksView read_watermarks_at(const Tenant &tenant, const LimitPlace &place) {
  const auto limit = static_cast<std::uint64_t>(place.limit);
  const std::int32_t name[] = {place.key, static_cast<std::int32_t>(limit >> 32), static_cast<std::int32_t>(limit)};
  return read_watermarks(tenant.number, name, lengthof(name));
}

}  // namespace

bool may_have_limited(const Tenant &tenant) {
  std::int32_t lane;
  return find_lane(tenant, PG_INT32_MIN, lanes_free, &lane);
}

bool has_waiting_limits(const Tenant &tenant, const ClaimFilter &filter) {
  if (!may_have_limited(tenant)) return false;
  const WatermarksView view = read_watermarks(tenant.number, filter.keys, filter.count);
  const Rows rows = open_rows(tenant, CMD_SELECT);
  const LaneWalk walk = {.tenant = tenant, .view = view, .rows = rows};
  bool found = false;
  for (std::int32_t lane = PG_INT32_MIN; !found && walk.next_lane(lanes_free, &lane);) {
    if (view.at(lane) == watermark_end) continue;
    IndexScanDesc scan = walk.begin(lane, view.at(lane), watermark_end);
    found = next_row(rows, scan);
    end_row_scan(scan);
    if (!found) announce_searched(view, lane, view.at(lane), watermark_end);
  }
  close_rows(rows);
  return found || (may_recheck_watermarks(view, LaneKind::limited) && has_waiting_limits(tenant, filter));
}

bool recheck_limited_lanes(const Tenant &tenant, const ClaimFilter &filter) {
  return may_recheck_watermarks(read_watermarks(tenant.number, filter.keys, filter.count), LaneKind::limited);
}

int walk_limits(const Tenant &tenant, const ClaimRequest &request, const LimitGate &gate, const LimitPlace *place,
                Claimed *claimed, LimitsWalked *walked) {
  const bool claims = gate.takes_back != nullptr;
  const WatermarksView view =
      place ? read_watermarks_at(tenant, *place) : read_watermarks(tenant.number, request.keys, request.key_count);
  const Rows rows = open_rows(tenant, claims ? CMD_UPDATE : CMD_SELECT);
  LaneWalk walk = {.tenant = tenant,
                   .view = view,
                   .rows = rows,
                   .portion = request.portion,
                   .place = place,
                   .plans = claims && !place};
  if (place) walk.refusals_left = 1;
  const RowClaim claim = begin_claim(request);
  const int count = walk.walk(LaneKind::limited, claimed, request.max_tasks, [&](Claimed *next) {
    if (!wants(request, found_int32(rows, Column::key)) || is_taken(rows)) return Tried::taken;
    const std::int64_t limit = found_int64(rows, Column::limit_key);
    if (!gate.admits(gate.self, found_int32(rows, Column::def), limit))
      return is_gone(rows) ? Tried::taken : Tried::refused;
    next->due = found_int64(rows, Column::due);
    if (!claims) return Tried::claimed;
    if (!claim_found(rows, claim, next)) {
      gate.takes_back(gate.self, limit);
      return Tried::taken;
    }
    tell(tenant, start_of_run(request, *next));
    return Tried::claimed;
  });
  close_rows(rows);
  *walked = {!walk.gave_up(), std::max(walk.walked() - count, 0)};
  return count;
}

namespace {

// From limit to limit, by the index of what waits at them.
struct Tour {
  const Rows &rows;
  IndexScanDesc scan;
  int *entries;

  LimitPlace here() const {
    bool null;
    return {DatumGetInt32(index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &null)),
            DatumGetInt64(index_getattr(scan->xs_itup, 2, scan->xs_itupdesc, &null))};
  }

  // Behind this number of dead rows at one limit the tour does not look for others.
  static constexpr int most_dead_at_one = 8;

  // Goes on to the next entry that tells of a limit.
  bool go_on(WaitingLimit *limit) {
    LimitPlace at = {};
    for (int dead = 0; index_getnext_tid(scan, ForwardScanDirection);) {
      CHECK_FOR_INTERRUPTS();
      const bool same = dead > 0 && !(at < here()) && !(here() < at);
      at = here();
      *limit = {at, 0};
      if (index_fetch_heap(scan, rows.found)) {
        limit->definition = found_int32(rows, Column::def);
        return true;
      }
      dead = same ? dead + 1 : 1;
      if (dead == most_dead_at_one) return true;
      if (--*entries < 0) return false;
    }
    return false;
  }

  bool go_on_behind(const LimitPlace &place, WaitingLimit *limit) {
    ScanKeyData keys[2];
    ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(place.key));
    ScanKeyInit(&keys[1], 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(place.limit));
    index_rescan(scan, keys, lengthof(keys), nullptr, 0);
    if (go_on(limit) || *entries < 0) return *entries >= 0;
    ScanKeyInit(&keys[0], 1, BTGreaterStrategyNumber, F_INT4GT, Int32GetDatum(place.key));
    keys[1] = keys[0];
    index_rescan(scan, keys, lengthof(keys), nullptr, 0);
    return go_on(limit);
  }
};

}  // namespace

WaitingLimit *waiting_limits(const Tenant &tenant, LimitPlace *place, int most, int *entries, int *count) {
  auto *limits = palloc_array_of<WaitingLimit>(static_cast<std::size_t>(most));
  const Rows rows = open_rows(tenant, CMD_SELECT);
  Tour tour = {rows, begin_row_scan(rows, tenant.work_limits, 2), entries};
  tour.scan->xs_want_itup = true;
  for (*count = 0; *count < most; ++*count) {
    WaitingLimit &next = limits[*count];
    if (!tour.go_on_behind(*place, &next)) break;
    *place = next.at;
  }
  // The next tour begins with the one that this has not seen through.
  if (*entries < 0) *place = just_before(limits[*count].at);
  end_row_scan(tour.scan);
  close_rows(rows);
  return limits;
}

LimitCount *running_by_limit(const Tenant &tenant, Snapshot snapshot, int *count) {
  static constexpr Statement running_by_limit = {
      "running_by_limit",
      R"(
        SELECT limit_key, count(*)
        FROM {work}
        WHERE lane = {lane.running} AND limit_key IS NOT NULL
        GROUP BY limit_key)",
      {},
  };
  Arguments none;
  const auto rows =
      snapshot ? run_on(tenant, running_by_limit, none, snapshot) : run_on_latest(tenant, running_by_limit, none);
  auto *counts = palloc_array_of<LimitCount>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) counts[i] = {get_int64(i, 1), get_int64(i, 2)};
  std::sort(counts, counts + rows, [](const LimitCount &a, const LimitCount &b) { return a.limit < b.limit; });
  *count = static_cast<int>(rows);
  return counts;
}

}  // namespace insula
