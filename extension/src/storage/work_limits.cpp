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

bool recheck_limited_lanes(const Tenant &tenant, const ClaimFilter &filter) {
  return may_recheck_watermarks(read_watermarks(tenant.number, filter.keys, filter.count), LaneKind::limited);
}

LimitsWalked walk_limits(const Tenant &tenant, const ClaimRequest &request, const LimitGate &gate,
                         const LimitPlace *place, Claimed **claimed, int found) {
  const bool claims = gate.takes_back != nullptr;
  const WatermarksView view =
      place ? read_watermarks_at(tenant, *place) : read_watermarks(tenant.number, request.keys, request.key_count);
  std::int32_t lane;
  const bool knew = has_watermarks(view, LaneKind::limited);
  if (!first_open_lane(tenant, view, LaneKind::limited, &lane)) return {0, 0, true, false, knew};
  if (!*claimed) *claimed = palloc_array_of<Claimed>(static_cast<std::size_t>(request.max_tasks));
  const Rows rows = open_rows(tenant, claims ? CMD_UPDATE : CMD_SELECT);
  LaneWalk walk = {.tenant = tenant,
                   .view = view,
                   .rows = rows,
                   .portion = request.portion,
                   .place = place,
                   .plans = claims && !place};
  if (place) walk.refusals_left = 1;
  bool held = false;
  const RowClaim claim = begin_claim(request);
  const int count = walk.walk(LaneKind::limited, lane, *claimed + found, request.max_tasks, [&](Claimed *next) {
    if (!wants(request, found_int32(rows, Column::key))) return Tried::taken;
    if (is_taken(rows)) {
      held = true;
      return Tried::taken;
    }
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
  return {count, std::max(walk.walked() - count, 0), !walk.gave_up(), held, knew};
}

struct LimitTour {
  const ClaimRequest *request;
  Rows rows;
  IndexScanDesc scan;

  bool wants(std::int32_t key) const { return insula::wants(*request, key); }

  // Goes on at the next wanted key, unless the place's own is wanted; false: there is none.
  bool skip_unwanted(LimitPlace *at) const {
    if (wants(at->key)) return true;
    const std::int32_t *end = request->keys + request->key_count;
    const std::int32_t *next = std::lower_bound(request->keys, end, at->key);
    if (next == end) return false;
    *at = {*next, PG_INT64_MIN};
    return true;
  }

  bool go_on_behind(LimitPlace *at, std::int32_t *definition, int *patience) {
    ScanKeyData keys[2];
    ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(at->key));
    ScanKeyInit(&keys[1], 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(at->limit));
    index_rescan(scan, keys, lengthof(keys), nullptr, 0);
    if (go_on(at, definition, patience)) return true;
    if (*patience < 0) return false;
    ScanKeyInit(&keys[0], 1, BTGreaterStrategyNumber, F_INT4GT, Int32GetDatum(at->key));
    keys[1] = keys[0];
    index_rescan(scan, keys, lengthof(keys), nullptr, 0);
    return go_on(at, definition, patience);
  }

 private:
  // Behind this number of dead rows at one limit the tour does not look for others.
  static constexpr int most_dead_at_one = 8;

  LimitPlace here() const {
    bool null;
    return {DatumGetInt32(index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &null)),
            DatumGetInt64(index_getattr(scan->xs_itup, 2, scan->xs_itupdesc, &null))};
  }

  // Goes on to the next entry that tells of a limit.
  bool go_on(LimitPlace *at, std::int32_t *definition, int *patience) {
    LimitPlace last = {};
    for (int dead = 0; index_getnext_tid(scan, ForwardScanDirection);) {
      CHECK_FOR_INTERRUPTS();
      const LimitPlace found = here();
      const bool lives = index_fetch_heap(scan, rows.found);
      dead = dead > 0 && found == last ? dead + 1 : 1;
      if (lives || dead == most_dead_at_one) {
        *at = found;
        *definition = lives ? found_int32(rows, Column::def) : 0;
        return true;
      }
      if (--*patience < 0) {
        *at = just_before(found);  // it has not seen this one through
        return false;
      }
      last = found;
    }
    return false;
  }
};

LimitTour *begin_limit_tour(const Tenant &tenant, const ClaimRequest &request) {
  const Rows rows = open_rows(tenant, CMD_SELECT);
  auto *tour = palloc_array_of<LimitTour>(1);
  *tour = {&request, rows, begin_row_scan(rows, tenant.work_limits, 2)};
  tour->scan->xs_want_itup = true;
  return tour;
}

bool next_limit(LimitTour *tour, LimitPlace *at, std::int32_t *definition, int *patience) {
  while (tour->skip_unwanted(at)) {
    if (!tour->go_on_behind(at, definition, patience)) return false;
    if (tour->wants(at->key)) return true;
  }
  return false;
}

void end_limit_tour(LimitTour *tour) {
  end_row_scan(tour->scan);
  close_rows(tour->rows);
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
