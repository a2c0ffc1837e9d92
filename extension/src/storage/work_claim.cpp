// Claims, and whether one would find something.  A search goes lane by lane, each from the
// place below which nothing is claimable (shared/watermarks.hpp), so that it costs what it finds
// and not what has been finished.
#include <algorithm>

#include "shared/clock.hpp"
#include "storage/random.hpp"
#include "storage/row_claim.hpp"

extern "C" {
#include "utils/datum.h"
#include "utils/fmgroids.h"
}

namespace insula {

// From this number of keys on, hashing them costs less than comparing each row's key with them.
constexpr int many_keys = 32;

// Up to a lane that is known there is mostly none, and to see that costs less than to read
// what lies in the next.
bool next_lane(const Tenant &tenant, const WatermarksView &view, std::int32_t end, std::int32_t *lane) {
  const std::int32_t known = view.lane_after(*lane, end);
  if (find_lane(tenant, *lane, known, lane)) return true;
  *lane = known;
  return known < end;
}

bool RowClaim::wants(std::int32_t key) const {
  return !request.keys || std::binary_search(request.keys, request.keys + request.key_count, key);
}

RowClaim begin_claim(const ClaimRequest &request) {
  return {request, random_lease(), clock_now(), CStringGetTextDatum(request.worker)};
}

IndexScanDesc begin_lane_scan(const Rows &rows, const Tenant &tenant, std::int32_t lane, std::int64_t from,
                              std::int64_t to) {
  ScanKeyData keys[3];
  ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(lane));
  ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
  ScanKeyInit(&keys[2], 2, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(to));
  IndexScanDesc scan = begin_row_scan(rows, tenant.work_queue, lengthof(keys));
  index_rescan(scan, keys, lengthof(keys), nullptr, 0);
  return scan;
}

std::int64_t passed_by(const Claimed *rows, int count, std::int64_t watermark) {
  for (int i = 0; i < count; ++i) watermark = std::max(watermark, rows[i].due);
  return watermark;
}

namespace {

Datum copy_stored(const Row &row, Column column) {
  return row.is_null(column) ? Datum{0} : datumCopy(row.get(column), false, -1);
}

Claimed write_claim(const Row &row, const RowClaim &claim) {
  Claimed claimed = {};
  claimed.id = row.get_int64(Column::id);
  claimed.head = row.get_int64(Column::head);
  claimed.definition = row.get_int32(Column::def);
  claimed.task = row.get_int32(Column::task);
  claimed.lease = claim.lease ^ claimed.id;
  claimed.attempt = row.get_int32(Column::attempt) + 1;
  claimed.input = copy_stored(row, Column::input);
  claimed.output = copy_stored(row, Column::output);
  claimed.event = copy_stored(row, Column::event);
  claimed.element = row.is_null(Column::element) ? -1 : row.get_int32(Column::element);
  claimed.due = row.get_int64(Column::due);
  claimed.limited = !row.is_null(Column::limit_key);
  claimed.limit = row.get_int64(Column::limit_key);
  if (!row.is_null(Column::time_limit)) claimed.deadline = claim.request.begins + row.get_int64(Column::time_limit);

  TimestampTz due = claim.request.lease_expires;
  if (claimed.deadline) due = std::min(due, claimed.deadline);
  row.set(Column::state, Int16GetDatum(static_cast<std::int16_t>(State::running)));
  row.set(Column::lane, Int32GetDatum(lane_running));
  row.set(Column::due, Int64GetDatum(due));
  row.set_nullable(Column::deadline, Int64GetDatum(claimed.deadline), claimed.deadline == 0);
  row.set(Column::lease, Int64GetDatum(claimed.lease));
  row.set(Column::attempt, Int32GetDatum(claimed.attempt));
  row.set(Column::started_at, TimestampTzGetDatum(claim.started_at));
  row.set(Column::worker, claim.worker);
  return claimed;
}

}  // namespace

bool claim_found(const Rows &rows, const RowClaim &claim, Claimed *claimed) {
  const Hold hold = hold_found(rows);
  if (hold == Hold::none) return false;
  read_row(rows, found_tuple(rows));
  *claimed = write_claim(rows.row, claim);
  return write_held(rows, hold);
}

namespace {

// Claims at most `most` rows of a stretch of a lane, in the order of the queue.
int claim_stretch(const Tenant &tenant, const Rows &rows, const RowClaim &claim, std::int32_t lane, std::int64_t from,
                  std::int64_t to, Claimed *claimed, int most) {
  IndexScanDesc scan = begin_lane_scan(rows, tenant, lane, from, to);
  int count = 0;
  while (count < most && next_row(rows, scan)) {
    CHECK_FOR_INTERRUPTS();
    if (claim.wants(found_int32(rows, Column::key)) && claim_found(rows, claim, claimed + count)) ++count;
  }
  end_row_scan(scan);
  return count;
}

// A claim begins here, and ends there unless it must walk over other rows than its own.
struct Plan {
  std::int64_t from;
  std::int64_t to;  // `from`: it is not known
};

// Claims would wait for each other's locks on the same pages if all began at the watermark.  To be made once
// the claim has its snapshot, so that what is inserted later is none of its rows.
Plan plan_claim(const Tenant &tenant, const WatermarksView &view, std::int32_t lane, int most) {
  for (int tries = 0; tries < 3; ++tries) {
    const std::int64_t from = beginning_of(view, lane);
    if (from == watermark_unknown || view.own <= from) break;
    std::int64_t to;
    if (!find_due(tenant, lane, from, most, &to)) return {from, from};
    if (move_beginning(view, lane, from, to)) return {from, to};
  }
  return {view.at(lane), view.at(lane)};
}

int claim_lane(const Tenant &tenant, const Rows &rows, const RowClaim &claim, const WatermarksView &view,
               std::int32_t lane, Claimed *claimed, int most) {
  const std::int64_t watermark = view.at(lane);
  const Plan plan = plan_claim(tenant, view, lane, most);
  const int first = claim_stretch(tenant, rows, claim, lane, plan.from, watermark_end, claimed, most);
  if (first == most) {
    announce_searched(view, lane, plan.from, std::max(passed_by(claimed, first, plan.from), plan.to));
    return most;
  }
  int second = 0;
  if (plan.from > watermark)
    second = claim_stretch(tenant, rows, claim, lane, watermark, plan.from, claimed + first, most - first);
  const bool all = first + second < most;
  announce_searched(view, lane, watermark, all ? watermark_end : passed_by(claimed + first, second, watermark));
  // In the order of the queue.
  std::rotate(claimed, claimed + first, claimed + first + second);
  return first + second;
}

int claim_lanes(const Tenant &tenant, const ClaimRequest &request, const WatermarksView &view, Claimed *claimed) {
  const Rows rows = open_rows(tenant, CMD_UPDATE);
  const RowClaim claim = begin_claim(request);
  int count = 0;
  for (std::int32_t lane = lanes_free; count < request.max_tasks && next_lane(tenant, view, lane_later, &lane);) {
    if (view.at(lane) == watermark_end) continue;
    count += claim_lane(tenant, rows, claim, view, lane, claimed + count, request.max_tasks - count);
  }
  close_rows(rows);
  return count;
}

}  // namespace

Claimed *claim_rows(const Tenant &tenant, const ClaimRequest &request, int *count) {
  auto *claimed = palloc_array_of<Claimed>(static_cast<std::size_t>(request.max_tasks));
  const WatermarksView view = read_watermarks(tenant.number, request.keys, request.key_count);
  *count = claim_lanes(tenant, request, view, claimed);
  if (*count == 0 && may_recheck_watermarks(view, LaneKind::free))
    *count = claim_lanes(tenant, request, read_watermarks(tenant.number, request.keys, request.key_count), claimed);
  return claimed;
}

void put_back(const Tenant &tenant, Claimed *rows, int count) {
  static constexpr Statement put_back = {
      "put_back",
      R"(
        UPDATE {work} w
        SET state = {state.ready}, lane = {open_lane}, due = u.due, lease = NULL, deadline = NULL,
          attempt = w.attempt - 1,
          started_at = CASE WHEN w.attempt > 1 THEN w.started_at END,
          worker = CASE WHEN w.attempt > 1 THEN w.worker END
        FROM unnest($1, $2) u(id, due)
        WHERE w.id = ANY (ARRAY[u.id]))",
      {INT8ARRAYOID, INT8ARRAYOID},
  };
  std::sort(rows, rows + count, [](const Claimed &a, const Claimed &b) { return a.id < b.id; });
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  auto *dues = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    ids[i] = rows[i].id;
    dues[i] = rows[i].due;
    announce_claimable(tenant.number, rows[i].due);
    if (rows[i].limited) note_permits_used(tenant.number, Limited::workflows, rows[i].limit, -1);
  }
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int64_array(dues, count));
  (void)run(tenant, put_back, arguments);
}

TimestampTz oldest_ready(const Tenant &tenant) {
  static constexpr Statement first_in_lane = {
      "first_in_lane",
      R"(
        SELECT due
        FROM {work}
        WHERE lane = $1 AND due >= $2
        ORDER BY due
        LIMIT 1)",
      {INT4OID, INT8OID},
  };
  const WatermarksView view = read_watermarks(tenant.number, nullptr, 0);
  TimestampTz oldest = DT_NOEND;
  for (std::int32_t lane = PG_INT32_MIN; find_lane(tenant, lane, PG_INT32_MAX, &lane);) {
    if (!is_queued(lane) || place_of(lane) != Place::ready) continue;
    const std::int64_t watermark = view.at(lane);
    if (watermark == watermark_end) continue;
    Arguments arguments;
    arguments.add(Int32GetDatum(lane)).add(Int64GetDatum(watermark));
    if (run(tenant, first_in_lane, arguments) > 0) oldest = std::min(oldest, get_int64(0, 1));
  }
  return oldest;
}

// Whether a key is among many is written so that they are hashed once, and not searched for each row.
#define HAS_KEY "key = ANY ($3)"
#define HAS_ONE_OF_MANY_KEYS "(key IN (SELECT unnest($3))) IS TRUE"
#define UNLOCKED "FOR NO KEY UPDATE SKIP LOCKED"

constexpr Statement probe_any = {
    "probe_any",
    "{probe} ORDER BY due LIMIT 1",
    {INT4OID, INT8OID},
};

constexpr Statement probe_any_unlocked = {
    "probe_any_unlocked",
    "{probe} ORDER BY due LIMIT 1 " UNLOCKED,
    {INT4OID, INT8OID},
};

constexpr Statement probe_keys = {
    "probe_keys",
    "{probe} AND " HAS_KEY " ORDER BY due LIMIT 1",
    {INT4OID, INT8OID, INT4ARRAYOID},
};

constexpr Statement probe_keys_unlocked = {
    "probe_keys_unlocked",
    "{probe} AND " HAS_KEY " ORDER BY due LIMIT 1 " UNLOCKED,
    {INT4OID, INT8OID, INT4ARRAYOID},
};

constexpr Statement probe_many_keys = {
    "probe_many_keys",
    "{probe} AND " HAS_ONE_OF_MANY_KEYS " ORDER BY due LIMIT 1",
    {INT4OID, INT8OID, INT4ARRAYOID},
};

constexpr Statement probe_many_keys_unlocked = {
    "probe_many_keys_unlocked",
    "{probe} AND " HAS_ONE_OF_MANY_KEYS " ORDER BY due LIMIT 1 " UNLOCKED,
    {INT4OID, INT8OID, INT4ARRAYOID},
};

static const Statement &probe_for(bool any_key, int key_count, bool unlocked) {
  if (any_key) return unlocked ? probe_any_unlocked : probe_any;
  if (key_count < many_keys) return unlocked ? probe_keys_unlocked : probe_keys;
  return unlocked ? probe_many_keys_unlocked : probe_many_keys;
}

static bool probe_lanes(const Tenant &tenant, const std::int32_t *keys, int key_count, const WatermarksView &view,
                        bool unlocked) {
  const Statement &statement = probe_for(keys == nullptr, key_count, unlocked);
  for (std::int32_t lane = lanes_free; next_lane(tenant, view, lane_later, &lane);) {
    const std::int64_t watermark = view.at(lane);
    if (watermark == watermark_end) continue;
    Arguments arguments;
    arguments.add(Int32GetDatum(lane)).add(Int64GetDatum(watermark));
    if (keys) arguments.add(int32_array(keys, key_count));
    const int before = begin_locking(tenant.number);
    const bool found = run(tenant, statement, arguments) > 0;
    if (found && unlocked) announce_held(tenant.number);
    end_locking(before);
    if (found) return true;
  }
  return false;
}

bool has_claimable(const Tenant &tenant, const std::int32_t *keys, int key_count, bool unlocked) {
  if (keys && key_count == 0) return false;
  const WatermarksView view = read_watermarks(tenant.number, keys, key_count);
  if (probe_lanes(tenant, keys, key_count, view, unlocked)) return true;
  return may_recheck_watermarks(view, LaneKind::free) &&
         probe_lanes(tenant, keys, key_count, read_watermarks(tenant.number, keys, key_count), unlocked);
}

}  // namespace insula
