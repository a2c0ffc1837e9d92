// Claims, and whether one would find something.  A search goes lane by lane, each from the
// place below which nothing is claimable (shared/lows.hpp), so that it costs what it finds
// and not what has been finished.
#include <algorithm>

#include "shared/clock.hpp"
#include "shared/lows.hpp"
#include "storage/random.hpp"
#include "storage/work.hpp"

extern "C" {
#include "access/genam.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
}

namespace insula {

// One random number a claim, mixed with each row's own: a lease tells nothing about the
// leases of other claims.
static void add_claim(Arguments &arguments, const ClaimRequest &request) {
  arguments.add(Int64GetDatum(request.max_tasks)).add(Int64GetDatum(request.lease_expires));
  arguments.add(Int64GetDatum(random_lease())).add(TimestampTzGetDatum(clock_now())).add_text(request.worker);
  arguments.add(Int64GetDatum(request.now));
}

// From so many on, hashing them costs less than comparing each row's key with them.
constexpr int many_keys = 32;

// PostgreSQL follows a row to its newest version, which the search's snapshot may not show:
// what has been claimed and given back meanwhile comes later in the queue than where it was found.
static bool is_moved(TransactionId writer) { return XidInMVCCSnapshot(writer, GetActiveSnapshot()); }

static Claimed *read_claimed(std::uint64_t rows, int *count) {
  auto *claimed = palloc_array_of<Claimed>(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    claimed[i] = {get_int64(i, 1),
                  get_int64(i, 2),
                  get_int32(i, 3),
                  get_int32(i, 4),
                  get_int64(i, 5),
                  get_int32(i, 6),
                  get_datum(i, 7),
                  get_datum(i, 8),
                  get_int64(i, 9),
                  get_datum(i, 10),
                  get_int32(i, 11),
                  get_int64(i, 12),
                  is_moved(DatumGetTransactionId(get_datum(i, 13)))};
  *count = static_cast<int>(rows);
  return claimed;
}

// The next lane that the queue's index holds an entry of, dead or alive: it costs one descent
// whatever lies in the lanes.
static bool next_lane(const Tenant &tenant, std::int32_t after, std::int32_t *lane) {
  const Oid queue = get_relname_relid("work_queue", get_namespace_oid(tenant.schema, false));
  Relation heap = table_open(tenant.work, NoLock);
  Relation index = index_open(queue, AccessShareLock);
  ScanKeyData above;
  ScanKeyInit(&above, 1, BTGreaterStrategyNumber, F_INT4GT, Int32GetDatum(after));
  IndexScanDesc scan = begin_index_scan(heap, index, GetActiveSnapshot(), 1);
  scan->xs_want_itup = true;
  index_rescan(scan, &above, 1, nullptr, 0);
  const bool found = index_getnext_tid(scan, ForwardScanDirection) != nullptr;
  bool null;
  if (found) *lane = DatumGetInt32(index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &null));
  index_endscan(scan);
  index_close(index, NoLock);
  table_close(heap, NoLock);
  return found;
}

static bool next_ready_lane(const Tenant &tenant, std::int32_t *lane) {
  return next_lane(tenant, *lane, lane) && *lane < lane_later;
}

static void add_lane(Arguments &arguments, std::int32_t lane, std::int64_t low, const std::int32_t *keys,
                     int key_count) {
  arguments.add(Int32GetDatum(lane)).add(Int64GetDatum(low));
  if (keys) arguments.add(int32_array(keys, key_count));
}

static Claimed *claim_lane(const Tenant &tenant, const ClaimRequest &request, std::int32_t lane, std::int64_t low,
                           int *count) {
  Arguments arguments;
  add_claim(arguments, request);
  add_lane(arguments, lane, low, request.keys, request.key_count);
  const Statement statement = !request.keys                   ? Statement::claim_any
                              : request.key_count < many_keys ? Statement::claim_keys
                                                              : Statement::claim_many_keys;
  return read_claimed(run(tenant, statement, arguments), count);
}

// Below this a search that has found all that it wanted has left nothing.
static std::int64_t passed_by(const Claimed *rows, int count, std::int64_t low) {
  std::int64_t passed = low;
  for (int i = 0; i < count; ++i) {
    if (rows[i].moved) return low;
    passed = std::max(passed, rows[i].due);
  }
  return passed;
}

static Claimed *claim_lanes(const Tenant &tenant, const ClaimRequest &request, const LowsView &view, int *count) {
  auto *claimed = palloc_array_of<Claimed>(static_cast<std::size_t>(request.max_tasks));
  *count = 0;
  ClaimRequest rest = request;
  for (std::int32_t lane = PG_INT32_MIN; rest.max_tasks > 0 && next_ready_lane(tenant, &lane);) {
    const std::int64_t low = view.at(lane);
    if (low == low_nothing) continue;
    int found;
    const Claimed *rows = claim_lane(tenant, rest, lane, low, &found);
    std::copy(rows, rows + found, claimed + *count);
    *count += found;
    mark_low(view, lane, found < rest.max_tasks ? low_nothing : passed_by(rows, found, low));
    rest.max_tasks -= found;
  }
  return claimed;
}

Claimed *claim_rows(const Tenant &tenant, const ClaimRequest &request, int *count) {
  const LowsView view = read_lows(tenant.number, request.keys, request.key_count);
  Claimed *claimed = claim_lanes(tenant, request, view, count);
  if (*count > 0 || !may_doubt_lows(view)) return claimed;
  return claim_lanes(tenant, request, read_lows(tenant.number, request.keys, request.key_count), count);
}

Claimed *claim_limited_rows(const Tenant &tenant, const ClaimRequest &request, const LimitPlace &place, int *count) {
  Arguments arguments;
  add_claim(arguments, request);
  arguments.add(Int32GetDatum(place.key)).add(Int64GetDatum(place.limit));
  return read_claimed(run_without_sort(tenant, Statement::claim_limited, arguments), count);
}

void put_back(const Tenant &tenant, Claimed *rows, int count) {
  std::sort(rows, rows + count, [](const Claimed &a, const Claimed &b) { return a.id < b.id; });
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  auto *dues = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    ids[i] = rows[i].id;
    dues[i] = rows[i].due;
    mark_claimable(tenant.number, rows[i].due);
  }
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int64_array(dues, count));
  (void)run(tenant, Statement::put_back, arguments);
}

TimestampTz oldest_ready(const Tenant &tenant) {
  const LowsView view = read_lows(tenant.number, nullptr, 0);
  TimestampTz oldest = DT_NOEND;
  for (std::int32_t lane = PG_INT32_MIN; next_lane(tenant, lane, &lane);) {
    if (place_of(lane) != Place::ready) continue;
    const bool limited = lane > lane_paused;
    const std::int64_t low = limited ? low_unknown : view.at(lane);
    if (low == low_nothing) continue;
    Arguments arguments;
    add_lane(arguments, lane, low, nullptr, 0);
    if (run(tenant, Statement::oldest_ready, arguments) > 0) oldest = std::min(oldest, get_int64(0, 1));
  }
  return oldest;
}

static bool probe_lanes(const Tenant &tenant, const std::int32_t *keys, int key_count, const LowsView &view,
                        bool unlocked) {
  Statement statement = unlocked ? Statement::probe_any_unlocked : Statement::probe_any;
  if (keys && key_count < many_keys)
    statement = unlocked ? Statement::probe_keys_unlocked : Statement::probe_keys;
  else if (keys)
    statement = unlocked ? Statement::probe_many_keys_unlocked : Statement::probe_many_keys;
  for (std::int32_t lane = PG_INT32_MIN; next_ready_lane(tenant, &lane);) {
    const std::int64_t low = view.at(lane);
    if (low == low_nothing) continue;
    Arguments arguments;
    add_lane(arguments, lane, low, keys, key_count);
    const int before = begin_locking(tenant.number);
    const bool found = run(tenant, statement, arguments) > 0;
    if (found && unlocked) mark_held(tenant.number);
    end_locking(before);
    if (found) return true;
  }
  return false;
}

bool has_claimable(const Tenant &tenant, const std::int32_t *keys, int key_count, bool unlocked) {
  if (keys && key_count == 0) return false;
  const LowsView view = read_lows(tenant.number, keys, key_count);
  if (probe_lanes(tenant, keys, key_count, view, unlocked)) return true;
  return may_doubt_lows(view) &&
         probe_lanes(tenant, keys, key_count, read_lows(tenant.number, keys, key_count), unlocked);
}

}  // namespace insula
