// Rows of `work` under a concurrency limit.  They have lanes of their own, so that no other claim
// walks over them.  A claim takes them in the order of these lanes, as others do; after
// many that may not be claimed it gives up, and its caller goes on from limit to limit by an index
// of these, never through the backlog of one that is used up.
#include <algorithm>

#include "storage/limited_rows.hpp"
#include "storage/row_claim.hpp"

extern "C" {
#include "utils/fmgroids.h"
}

namespace insula {

namespace {

// The next search begins at the first row that may not be claimed, too, so the walk over rows behind it must not
// cost much.
struct Patience {
  int refused = 32;    // rows
  int entries = 1000;  // of dead rows, and others that are not claimed, once one was refused
};

// Shared memory has room for few places from where on to search; one behind this number of entries is worth it.
constexpr int long_walk = 100;

enum class Tried { claimed, taken, refused };

// One walk over the lanes, or over what waits at one limit.
struct Walk {
  const Tenant &tenant;
  const WatermarksView &view;
  const Rows &rows;
  const LimitPlace *place;  // nullptr: at all
  Patience left = {};
  bool refused = false;
  int not_walked = PG_INT32_MAX;

  int walked() const { return PG_INT32_MAX - not_walked; }

  bool gave_up() const { return left.refused <= 0 || left.entries < 0; }

  bool next_lane(std::int32_t *lane) const { return !gave_up() && insula::next_lane(tenant, view, lanes_free, lane); }

  // `tries` the rows of a lane until `most` are claimed; returns how many are, and notes from where on the next
  // search of the lane is to begin.
  template <typename Try>
  int walk_lane(std::int32_t lane, Claimed *claimed, int most, Try tries) {
    const std::int64_t watermark = view.at(lane);
    if (watermark == watermark_end) return 0;
    std::int64_t first_refused = watermark_end;
    int count = 0;
    bool more = true;
    IndexScanDesc scan = begin(lane, watermark);
    while (count < most && !gave_up() && (more = next(scan))) {
      CHECK_FOR_INTERRUPTS();
      const Tried tried = tries(count);
      --not_walked;
      if (tried == Tried::claimed) ++count;
      if (tried == Tried::taken && refused) --left.entries;
      if (tried != Tried::refused) continue;
      if (first_refused == watermark_end) first_refused = found_int64(rows, Column::due);
      refused = true;
      --left.refused;
    }
    end_row_scan(scan);
    const std::int64_t seen = more || gave_up() ? passed_by(claimed, count, watermark) : watermark_end;
    const std::int64_t from_now = std::min(seen, first_refused);
    if (!place)
      announce_searched(view, lane, watermark, from_now);
    else if (walked() > long_walk)
      announce_searched_of_place(view, lane, watermark, from_now);
    return count;
  }

  bool next(IndexScanDesc scan) { return next_row_within(rows, scan, refused ? &left.entries : &not_walked); }

  IndexScanDesc begin(std::int32_t lane, std::int64_t watermark) const {
    if (!place) return begin_lane_scan(rows, tenant, lane, watermark, watermark_end);
    ScanKeyData keys[4];
    ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(place->key));
    ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(place->limit));
    ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(lane));
    ScanKeyInit(&keys[3], 4, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(watermark));
    IndexScanDesc scan = begin_row_scan(rows, tenant.work_limits, lengthof(keys));
    index_rescan(scan, keys, lengthof(keys), nullptr, 0);
    return scan;
  }
};

// From where on a limit's own rows are to be searched is known by a name of its own.
WatermarksView read_watermarks_at(const Tenant &tenant, const LimitPlace &place) {
  const auto limit = static_cast<std::uint64_t>(place.limit);
  const std::int32_t name[] = {place.key, static_cast<std::int32_t>(limit >> 32), static_cast<std::int32_t>(limit)};
  return read_watermarks(tenant.number, name, lengthof(name));
}

Tried try_to_claim(const Tenant &tenant, const Rows &rows, const RowClaim &claim, const LimitGate &gate,
                   Claimed *claimed) {
  if (!claim.wants(found_int32(rows, Column::key)) || is_taken(rows)) return Tried::taken;
  const std::int64_t limit = found_int64(rows, Column::limit_key);
  if (!gate.admits(gate.self, found_int32(rows, Column::def), limit)) return Tried::refused;
  const bool claims = claim_found(rows, claim, claimed);
  if (claims)
    note_permits_used(tenant.number, Limited::workflows, limit, 1);
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
  return find_lane(tenant, PG_INT32_MIN, lanes_free, &lane);
}

bool has_waiting_limits(const Tenant &tenant, const ClaimFilter &filter) {
  static constexpr Statement probe_limited = {
      "probe_limited",
      "{probe} ORDER BY due LIMIT 1",
      {INT4OID, INT8OID},
  };
  if (!may_have_limited(tenant)) return false;
  const WatermarksView view = read_watermarks(tenant.number, filter.keys, filter.count);
  for (std::int32_t lane = PG_INT32_MIN; next_lane(tenant, view, lanes_free, &lane);) {
    if (view.at(lane) == watermark_end) continue;
    Arguments arguments;
    arguments.add(Int32GetDatum(lane)).add(Int64GetDatum(view.at(lane)));
    if (run(tenant, probe_limited, arguments) > 0) return true;
    announce_searched(view, lane, view.at(lane), watermark_end);
  }
  return may_recheck_watermarks(view, LaneKind::limited) && has_waiting_limits(tenant, filter);
}

bool recheck_limited_lanes(const Tenant &tenant, const ClaimFilter &filter) {
  return may_recheck_watermarks(read_watermarks(tenant.number, filter.keys, filter.count), LaneKind::limited);
}

static int claim_rows_of(Walk &walk, const ClaimRequest &request, const LimitGate &gate, Claimed *claimed) {
  const RowClaim claim = begin_claim(request);
  int count = 0;
  for (std::int32_t lane = PG_INT32_MIN; count < request.max_tasks && walk.next_lane(&lane);) {
    Claimed *of_lane = claimed + count;
    count += walk.walk_lane(lane, of_lane, request.max_tasks - count,
                            [&](int at) { return try_to_claim(walk.tenant, walk.rows, claim, gate, of_lane + at); });
  }
  return count;
}

int claim_in_order(const Tenant &tenant, const ClaimRequest &request, const LimitGate &gate, Claimed *claimed,
                   bool *whole) {
  const WatermarksView view = read_watermarks(tenant.number, request.keys, request.key_count);
  const Rows rows = open_rows(tenant, CMD_UPDATE);
  Walk walk = {tenant, view, rows, nullptr};
  const int count = claim_rows_of(walk, request, gate, claimed);
  close_rows(rows);
  *whole = !walk.gave_up();
  return count;
}

int claim_at_limit(const Tenant &tenant, const ClaimRequest &request, const LimitPlace &place, const LimitGate &gate,
                   Claimed *claimed, int *entries) {
  const WatermarksView view = read_watermarks_at(tenant, place);
  const Rows rows = open_rows(tenant, CMD_UPDATE);
  Walk walk = {tenant, view, rows, &place, {.refused = 1}};
  const int count = claim_rows_of(walk, request, gate, claimed);
  close_rows(rows);
  *entries -= std::max(walk.walked() - count, 0);
  return count;
}

static bool find_row_of(Walk &walk, const ClaimFilter &filter, const LimitGate &gate) {
  const Rows &rows = walk.rows;
  Claimed seen;
  const auto look = [&](int) {
    if (!wants(filter, found_int32(rows, Column::key)) || is_taken(rows)) return Tried::taken;
    seen.due = found_int64(rows, Column::due);
    const bool free = gate.admits(gate.self, found_int32(rows, Column::def), found_int64(rows, Column::limit_key));
    return free ? Tried::claimed : Tried::refused;
  };
  for (std::int32_t lane = PG_INT32_MIN; walk.next_lane(&lane);)
    if (walk.walk_lane(lane, &seen, 1, look) > 0) return true;
  return false;
}

bool find_in_order(const Tenant &tenant, const ClaimFilter &filter, const LimitGate &gate, bool *whole) {
  const WatermarksView view = read_watermarks(tenant.number, filter.keys, filter.count);
  const Rows rows = open_rows(tenant, CMD_SELECT);
  Walk walk = {tenant, view, rows, nullptr};
  const bool found = find_row_of(walk, filter, gate);
  close_rows(rows);
  *whole = !walk.gave_up();
  return found;
}

bool find_at_limit(const Tenant &tenant, const LimitPlace &place, const LimitGate &gate, int *entries) {
  const WatermarksView view = read_watermarks_at(tenant, place);
  const Rows rows = open_rows(tenant, CMD_SELECT);
  Walk walk = {tenant, view, rows, &place, {.refused = 1}};
  const bool found = find_row_of(walk, {}, gate);
  close_rows(rows);
  *entries -= walk.walked();
  return found;
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
