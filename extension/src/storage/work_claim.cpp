// Claims, and whether one would find something.  A search goes lane by lane, each from the
// place below which nothing is claimable (shared/watermarks.hpp), so that it costs what it finds
// and not what has been finished.
#include <algorithm>

#include "shared/clock.hpp"
#include "spi/budget.hpp"
#include "storage/random.hpp"
#include "storage/row_claim.hpp"
#include "storage/tell.hpp"

extern "C" {
#include "access/detoast.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
}

namespace insula {

// From this number of keys on, hashing them costs less than comparing each row's key with them.
constexpr int many_keys = 32;

RowClaim begin_claim(const ClaimRequest &request) {
  if (!request.worker) return {request, 0, 0, Datum{0}};
  return {request, random_lease(), clock_now(), CStringGetTextDatum(request.worker)};
}

namespace {

std::int64_t raw_size(Datum value) { return value ? static_cast<std::int64_t>(toast_raw_datum_size(value)) : 0; }

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

void Portion::take(const Claimed &row) {
  // Elements of one group share their context.
  if (row.head && (row.element < 0 || row.head != head || row.task != task)) --merges;
  head = row.head;
  task = row.task;
  bytes -= raw_size(row.input) + raw_size(row.output) + raw_size(row.event);
}

bool claim_found(const Rows &rows, const RowClaim &claim, Claimed *claimed) {
  const Hold hold = hold_found(rows);
  if (hold == Hold::none) return false;
  read_row(rows, found_tuple(rows));
  *claimed = write_claim(rows.row, claim);
  return write_held(rows, hold);
}

// Up to a lane that is known there is mostly none, and to see that costs less than to read
// what lies in the next.
static bool next_lane_of(const Tenant &tenant, const WatermarksView &view, std::int32_t end, std::int32_t *lane) {
  const std::int32_t known = view.lane_after(*lane, end);
  if (find_lane(tenant, *lane, known, lane)) return true;
  *lane = known;
  return known < end;
}

bool next_open_lane(const Tenant &tenant, const WatermarksView &view, LaneKind kind, std::int32_t *lane) {
  const std::int32_t end = kind == LaneKind::limited ? lanes_free : lane_later;
  while (next_lane_of(tenant, view, end, lane))
    if (view.at(*lane) != watermark_end) return true;
  return false;
}

// Claims would wait for each other's locks on the same pages if all began at the watermark.  To be made once
// the claim has its snapshot, so that what is inserted later is none of its rows.
LaneWalk::Plan LaneWalk::plan(std::int32_t lane, int most) const {
  for (int tries = 0; tries < 3; ++tries) {
    const std::int64_t from = beginning_of(view, lane);
    if (from == watermark_unknown || view.own <= from) break;
    std::int64_t to;
    if (!find_due(tenant, lane, from, most, &to)) return {from, from};
    if (move_beginning(view, lane, from, to)) return {from, to};
  }
  return {view.at(lane), view.at(lane)};
}

// The rows that it leaves lie before the place that it has planned to end at.
void LaneWalk::end_early(std::int32_t lane, const Plan &planned, std::int64_t passed) const {
  const std::int64_t from = beginning_of(view, lane);
  const bool moves = from != watermark_unknown && from == planned.to;
  if (!moves || !move_beginning(view, lane, from, passed)) forget_beginning(view, lane);
}

IndexScanDesc LaneWalk::begin(std::int32_t lane, std::int64_t from, std::int64_t to) const {
  ScanKeyData keys[5];
  int count = 0;
  const auto add = [&](StrategyNumber strategy, RegProcedure compare, Datum value) {
    ScanKeyInit(&keys[count], static_cast<AttrNumber>(count + 1), strategy, compare, value);
    ++count;
  };
  if (place) add(BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(place->key));
  if (place) add(BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(place->limit));
  add(BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(lane));
  add(BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
  keys[count] = keys[count - 1];
  keys[count].sk_strategy = BTLessStrategyNumber;
  fmgr_info(F_INT8LT, &keys[count].sk_func);
  keys[count++].sk_argument = Int64GetDatum(to);
  IndexScanDesc scan = begin_row_scan(rows, place ? tenant.work_limits : tenant.work_queue, count);
  index_rescan(scan, keys, count, nullptr, 0);
  return scan;
}

// Shared memory has room for few limits' own watermarks; one behind this number of rows is worth it.
constexpr int long_walk = 100;

void LaneWalk::tell(std::int32_t lane, std::int64_t from, std::int64_t to) const {
  if (!place)
    announce_searched(view, lane, from, std::min(to, first_refused));
  else if (walked() > long_walk)
    announce_searched_of_place(view, lane, from, std::min(to, first_refused));
}

static int claim_lanes(const Tenant &tenant, const ClaimRequest &request, const WatermarksView &view,
                       Claimed *claimed) {
  std::int32_t lane;
  if (!first_open_lane(tenant, view, LaneKind::free, &lane)) return 0;
  const Rows rows = open_rows(tenant, CMD_UPDATE);
  const RowClaim claim = begin_claim(request);
  LaneWalk walk = {.tenant = tenant, .view = view, .rows = rows, .portion = request.portion, .plans = true};
  const int count = walk.walk(LaneKind::free, lane, claimed, request.max_tasks, [&](Claimed *next) {
    if (!wants(request, found_int32(rows, Column::key)) || !claim_found(rows, claim, next)) return Tried::taken;
    tell(tenant, start_of_run(request, *next));
    return Tried::claimed;
  });
  close_rows(rows);
  return count;
}

Claimed *claim_rows(const Tenant &tenant, const ClaimRequest &request, int *count) {
  auto *claimed = palloc_array_of<Claimed>(static_cast<std::size_t>(request.max_tasks));
  const WatermarksView view = read_watermarks(tenant.number, request.keys, request.key_count);
  *count = claim_lanes(tenant, request, view, claimed);
  if (*count == 0 && may_recheck_watermarks(view, LaneKind::free))
    *count = claim_lanes(tenant, request, read_watermarks(tenant.number, request.keys, request.key_count), claimed);
  return claimed;
}

// As if the row had not been claimed, but the transaction holds it until it ends.
static void tell_put_back(const Tenant &tenant, const ClaimRequest &request, const Claimed &row) {
  RowChange change = start_of_run(request, row);
  change.rows = -1;
  tell(tenant, change);
  tell(tenant, {row.definition, ready_lane, ready_lane, row.due});
}

void put_back(const Tenant &tenant, const ClaimRequest &request, Claimed *rows, int count) {
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
    tell_put_back(tenant, request, rows[i]);
  }
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int64_array(dues, count));
  (void)run(tenant, put_back, arguments);
}

// A tenant may use thousands of priorities: these many of the highest are looked at and of the lowest, whose tasks wait
// longest, each time of those under a limit and of the others.  Lanes that hold dead rows alone count for a quarter.
constexpr int lanes_of_an_end = 32;

struct Oldest {
  TimestampTz since;
  std::int64_t execution;
};

static bool look_in_lane(const Tenant &tenant, std::int32_t lane, std::int64_t watermark, Oldest *oldest) {
  static constexpr Statement first_in_lane = {
      "first_in_lane",
      R"(
        SELECT due, coalesce(head, id)
        FROM {work}
        WHERE lane = $1 AND due >= $2
        ORDER BY due
        LIMIT 1)",
      {INT4OID, INT8OID},
  };
  if (watermark == watermark_end) return false;
  Arguments arguments;
  arguments.add(Int32GetDatum(lane)).add(Int64GetDatum(watermark));
  if (run(tenant, first_in_lane, arguments) == 0) return false;
  if (get_int64(0, 1) < oldest->since) *oldest = {get_int64(0, 1), get_int64(0, 2)};
  return true;
}

static void look_in_lanes(const Tenant &tenant, const WatermarksView &view, std::int32_t above, std::int32_t below,
                          Oldest *oldest) {
  for (const bool lowest : {false, true}) {
    int found = 0;
    for (int looks = 0; looks < 4 * lanes_of_an_end && found < lanes_of_an_end; ++looks) {
      if (looks > 0 && budget_is_spent()) break;
      std::int32_t lane;
      if (!(lowest ? find_last_lane : find_lane)(tenant, above, below, &lane)) return;
      (lowest ? below : above) = lane;
      if (look_in_lane(tenant, lane, view.at(lane), oldest)) ++found;
    }
  }
}

TimestampTz oldest_ready(const Tenant &tenant, std::int64_t *execution) {
  const WatermarksView view = read_watermarks(tenant.number, nullptr, 0);
  Oldest oldest = {DT_NOEND, 0};
  look_in_lanes(tenant, view, PG_INT32_MIN, lanes_free, &oldest);
  look_in_lanes(tenant, view, lanes_free, lane_later, &oldest);
  if (execution) *execution = oldest.execution;
  return oldest.since;
}

constexpr Word probe_words[] = {
    // Finds one row of a lane, from a place on.
    {"probe", "SELECT 1 FROM {work} WHERE lane = $1 AND due >= $2"},
    {"first", "ORDER BY due LIMIT 1"},
    {"first_unlocked", "{first} FOR NO KEY UPDATE SKIP LOCKED"},
    {"has_key", "key = ANY ($3)"},
    // Written so that many keys are hashed once, and not searched for each row.
    {"has_one_of_many_keys", "(key IN (SELECT unnest($3))) IS TRUE"},
};
constexpr Words probe_phrases = {probe_words, lengthof(probe_words)};

// For any key, some keys and many keys; each also for rows that no transaction holds.
constexpr Statement probes[][2] = {
    {{"probe_any", "{probe} {first}", {INT4OID, INT8OID}, probe_phrases},
     {"probe_any_unlocked", "{probe} {first_unlocked}", {INT4OID, INT8OID}, probe_phrases}},
    {{"probe_keys", "{probe} AND {has_key} {first}", {INT4OID, INT8OID, INT4ARRAYOID}, probe_phrases},
     {"probe_keys_unlocked",
      "{probe} AND {has_key} {first_unlocked}",
      {INT4OID, INT8OID, INT4ARRAYOID},
      probe_phrases}},
    {{"probe_many_keys", "{probe} AND {has_one_of_many_keys} {first}", {INT4OID, INT8OID, INT4ARRAYOID}, probe_phrases},
     {"probe_many_keys_unlocked",
      "{probe} AND {has_one_of_many_keys} {first_unlocked}",
      {INT4OID, INT8OID, INT4ARRAYOID},
      probe_phrases}},
};

static bool probe_lanes(const Tenant &tenant, const std::int32_t *keys, int key_count, const WatermarksView &view,
                        bool unlocked) {
  const Statement &statement = probes[!keys ? 0 : key_count < many_keys ? 1 : 2][unlocked];
  for (std::int32_t lane = lanes_free; next_lane_of(tenant, view, lane_later, &lane);) {
    const std::int64_t watermark = view.at(lane);
    if (watermark == watermark_end) continue;
    Arguments arguments;
    arguments.add(Int32GetDatum(lane)).add(Int64GetDatum(watermark));
    if (keys) arguments.add(int32_array(keys, key_count));
    const int before = begin_locking(tenant.number);
    const bool found = run(tenant, statement, arguments) > 0;
    if (found && unlocked) announce_locked(tenant.number);
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
