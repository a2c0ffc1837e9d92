// Counters in shared memory; see counters.hpp.  They have a lock of their own, under which
// nothing is done but to add.  It may be held while a snapshot is taken, and is taken by
// commit callbacks, which hold no other.
#include "shared/counters.hpp"

#include <algorithm>

#include "core/list.hpp"
#include "shared/clock.hpp"
#include "shared/count_basis.hpp"
#include "shared/drop_counters.hpp"
#include "shared/memory.hpp"
#include "shared/pending.hpp"
#include "shared/permits.hpp"
#include "shared/ready_tenants.hpp"
#include "shared/transaction_end.hpp"

extern "C" {
#include "access/transam.h"
#include "utils/snapmgr.h"
}

namespace insula {

namespace {

struct ActivityKey {
  Oid database;
  std::int32_t tenant;
  std::int32_t definition;
};

struct ActivityEntry {
  ActivityKey key;
  Activity counts;
  core::Link<ActivityEntry> of_tenant;
};

// The waits of one stretch of time.
struct Stretch {
  std::int64_t number;
  std::int64_t waits[wait_classes];
};
constexpr std::int64_t stretch_length = 300 * USECS_PER_SEC;

// A tenant's count of its queue, from which its numbers of tasks start.
struct TallyEntry {
  TenantKey key;
  Stretch stretches[2];  // the present one, and the one before
  TallyState state;
  int versions;          // that have counters of their own
  std::uint64_t ticket;  // of the last count
  CountBasis basis;
  core::List<ActivityEntry> counters;  // which are dropped with it
};

SharedTable<ActivityEntry> shared_activity;
SharedTable<TallyEntry> shared_tallies;

// ---- what the current transaction changes ----

struct PendingCount {
  Counted key;
  int level;
  int outer;
  bool dropped;  // the tenant is
  Activity change;
};

Pending<PendingCount> pending;

Activity &change_of(const Counted &what) {
  Activity &change = pending.here(what).change;
  change.what = what;
  return change;
}

// ---- what is known ----

// Leaves room for the versions of other tenants' workflows.
constexpr int most_versions = 128;

TallyEntry *find_tally(std::int32_t tenant) { return shared_tallies.find({MyDatabaseId, tenant}); }

// nullptr: there is no room.
TallyEntry *make_tally(std::int32_t tenant) {
  static_assert(TallyState{} == TallyState::unknown);
  return shared_tallies.find_or_make({MyDatabaseId, tenant}, [](TallyEntry &made) { made.counters.clear(); });
}

ActivityEntry *make_activity(TallyEntry &tally, const Counted &what) {
  const ActivityKey key = {MyDatabaseId, what.tenant, what.definition};
  if (ActivityEntry *entry = shared_activity.find(key)) return entry;
  if (tally.versions >= most_versions && what.definition != 0) return make_activity(tally, {what.tenant, 0});
  return shared_activity.find_or_make(key, [&](ActivityEntry &made) {
    ++tally.versions;
    made.counts.what = what;
    made.counts.since = GetCurrentTimestamp();
    tally.counters.append(&made, &made.of_tenant);
  });
}

template <int N>
void add(std::int64_t (&to)[N], const std::int64_t (&from)[N]) {
  for (int i = 0; i < N; ++i) to[i] += from[i];
}

std::int64_t present_stretch() { return passing_time() / stretch_length; }

void add_recent(TallyEntry &tally, const std::int64_t (&waits)[wait_classes]) {
  const std::int64_t now = present_stretch();
  Stretch &stretch = tally.stretches[now % 2];
  if (stretch.number != now) stretch = {now, {}};
  add(stretch.waits, waits);
}

void publish_change(const Activity &change, std::uint64_t transaction) {
  TallyEntry *tally = make_tally(change.what.tenant);
  ActivityEntry *entry = tally ? make_activity(*tally, change.what) : nullptr;
  if (tally) add_recent(*tally, change.waits);
  if (!entry) {
    if (tally) tally->state = TallyState::unknown;
    return;
  }
  add(entry->counts.happened, change.happened);
  add(entry->counts.waits, change.waits);
  entry->counts.runs += change.runs;
  entry->counts.run_time += change.run_time;
  if (tally->state != TallyState::unknown && !tally->basis.shows(transaction)) add(entry->counts.tasks, change.tasks);
}

void publish() {
  if (pending.empty() || !shared_activity) return;
  const std::uint64_t transaction = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  for (const PendingCount &count : pending) publish_change(count.change, transaction);
  LWLockRelease(counters_lock);
  for (const PendingCount &count : pending)
    if (count.dropped) drop_counters_of(MyDatabaseId, count.key.tenant);
  if (pricing() == core::Pricing::by_time)
    for (const PendingCount &count : pending)
      if (count.change.runs > 0) charge_ready_tenant(count.key.tenant, count.change.runs, count.change.run_time);
}

void committed() {
  publish();
  pending.forget();
}

void aborted() { pending.forget(); }

void subtransaction_committed(SubTransactionId) {
  pending.hand_over([](PendingCount &to, const PendingCount &from) {
    add(to.change.tasks, from.change.tasks);
    add(to.change.happened, from.change.happened);
    add(to.change.waits, from.change.waits);
    to.change.runs += from.change.runs;
    to.change.run_time += from.change.run_time;
    to.dropped = to.dropped || from.dropped;
  });
}

void subtransaction_aborted() { pending.drop_from(pending.first_here()); }

const char *pending_work() { return pending.empty() ? nullptr : "has submitted, claimed or completed work"; }

}  // namespace

const SharedPart counters_part = {[] {
                                    return add_size(shared_activity.size(shared_room.counted_workflows),
                                                    shared_tallies.size(shared_room.counted_workflows));
                                  },
                                  [](bool) {
                                    shared_activity.attach("insula activity", shared_room.counted_workflows);
                                    shared_tallies.attach("insula tallies", shared_room.counted_workflows);
                                  }};

const TransactionStep counters_step = {.pending = pending_work,
                                       .committed = committed,
                                       .aborted = aborted,
                                       .subtransaction_committed = subtransaction_committed,
                                       .subtransaction_aborted = subtransaction_aborted};

void count_no_more(std::int32_t tenant) {
  if (!shared_activity) return;
  (void)change_of({tenant, 0});
  pending.here({tenant, 0}).dropped = true;
}

static void count_at(const Counted &what, Place place, std::int64_t tasks) {
  if (!shared_activity || !tasks) return;
  change_of(what).tasks[static_cast<int>(place)] += tasks;
  if (place == Place::running) note_permits_used(what.tenant, Limited::running, limit_of_tenant, tasks);
}

void count_arrived(const Counted &what, Place place, std::int64_t tasks) {
  count_at(what, place, tasks);
  if (tasks) note_permits_used(what.tenant, Limited::queued, limit_of_tenant, tasks);
}

void count_left(const Counted &what, Place place, std::int64_t tasks) { count_arrived(what, place, -tasks); }

void count_moved(const Counted &what, Place from, Place to, std::int64_t tasks) {
  count_at(what, from, -tasks);
  count_at(what, to, tasks);
}

void count_happened(const Counted &what, Happened what_happened, std::int64_t times) {
  if (shared_activity && times) change_of(what).happened[static_cast<int>(what_happened)] += times;
}

void count_run(const Counted &what, std::int64_t microseconds) {
  if (!shared_activity) return;
  Activity &change = change_of(what);
  ++change.runs;
  change.run_time += std::max<std::int64_t>(microseconds, 0);
}

void count_wait(const Counted &what, std::int64_t microseconds, std::int64_t times) {
  if (!shared_activity) return;
  int place = 0;
  for (std::int64_t limit = 1000; place < wait_classes - 1 && microseconds >= limit; limit *= 2) ++place;
  change_of(what).waits[place] += times;
}

bool is_counted(std::int32_t tenant) { return find_tally(tenant) != nullptr; }

bool ActivityReport::knows(std::int32_t tenant) const { return std::binary_search(known, known + known_count, tenant); }

TenantCounters ActivityReport::of(std::int32_t tenant) const {
  const auto before = [](const Activity &activity, std::int32_t number) { return activity.what.tenant < number; };
  const Activity *end = items + count;
  const Activity *first = std::lower_bound(items, end, tenant, before);
  const Activity *last = std::lower_bound(first, end, tenant + 1, before);
  return {first, static_cast<int>(last - first)};
}

ActivityReport read_activity() {
  if (!shared_activity) return {};
  auto *items = palloc_for_all<Activity>(shared_room.counted_workflows);
  auto *known = palloc_for_all<std::int32_t>(shared_room.counted_workflows);
  ActivityReport report = {items, 0, known, 0};
  LWLockAcquire(counters_lock, LW_SHARED);
  shared_activity.for_each_in(MyDatabaseId, [&](const ActivityEntry &entry) { items[report.count++] = entry.counts; });
  shared_tallies.for_each_in(MyDatabaseId, [&](const TallyEntry &tally) {
    if (tally.state == TallyState::known) known[report.known_count++] = tally.key.tenant;
  });
  LWLockRelease(counters_lock);
  std::sort(items, items + report.count, [](const Activity &a, const Activity &b) {
    return a.what.tenant < b.what.tenant || (a.what.tenant == b.what.tenant && a.what.definition < b.what.definition);
  });
  std::sort(known, known + report.known_count);
  return report;
}

TenantCounters read_activity_of(std::int32_t tenant) {
  if (!shared_activity) return {};
  auto *items = palloc_array_of<Activity>(most_versions + 1);  // and one for all others
  int count = 0;
  LWLockAcquire(counters_lock, LW_SHARED);
  if (TallyEntry *tally = find_tally(tenant))
    tally->counters.for_each([&](const ActivityEntry *entry) { items[count++] = entry->counts; });
  LWLockRelease(counters_lock);
  return {items, count};
}

std::int64_t RecentClaims::count() const {
  std::int64_t all = 0;
  for (std::int64_t number : waits) all += number;
  return all;
}

static RecentClaims claims_of(const TallyEntry &tally, std::int64_t now) {
  RecentClaims claims = {tally.key.tenant, {}};
  for (const Stretch &stretch : tally.stretches)
    if (stretch.number >= now - 1) add(claims.waits, stretch.waits);
  return claims;
}

RecentClaims recent_claims_of(std::int32_t tenant) {
  RecentClaims claims = {tenant, {}};
  if (!shared_activity) return claims;
  LWLockAcquire(counters_lock, LW_SHARED);
  if (const TallyEntry *tally = find_tally(tenant)) claims = claims_of(*tally, present_stretch());
  LWLockRelease(counters_lock);
  return claims;
}

RecentClaims *recent_claims(int *count) {
  *count = 0;
  if (!shared_activity) return nullptr;
  auto *claims = palloc_for_all<RecentClaims>(shared_room.counted_workflows);
  LWLockAcquire(counters_lock, LW_SHARED);
  const std::int64_t now = present_stretch();
  shared_tallies.for_each_in(MyDatabaseId, [&](const TallyEntry &tally) {
    claims[*count] = claims_of(tally, now);
    if (claims[*count].count() > 0) ++*count;
  });
  LWLockRelease(counters_lock);
  return claims;
}

std::int64_t wait_bound(const std::int64_t (&waits)[wait_classes], double part) {
  std::int64_t all = 0;
  for (std::int64_t number : waits) all += number;
  if (all == 0) return -1;
  std::int64_t below = 0;
  int place = 0;
  while (place < wait_classes - 1 && static_cast<double>(below += waits[place]) < part * static_cast<double>(all))
    ++place;
  return std::int64_t{1000} << place;
}

Snapshot begin_counting(std::int32_t tenant, std::uint64_t *ticket) {
  // The snapshot of a transaction that writes shows what it has written, and not what it will write.
  if (!shared_activity || RecoveryInProgress() || TransactionIdIsValid(GetTopTransactionIdIfAny())) return nullptr;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  // A transaction that has published had committed before, so that this snapshot shows it.
  const Snapshot snapshot = GetLatestSnapshot();
  TallyEntry *tally = make_tally(tenant);
  const bool fits = tally && tally->basis.take(*snapshot);
  if (fits) {
    tally->state = TallyState::counting;
    *ticket = tally->ticket = static_cast<std::uint64_t>(passing_time());  // no two counts begin at once
    tally->counters.for_each(
        [](ActivityEntry *entry) { std::fill(entry->counts.tasks, entry->counts.tasks + places, 0); });
  }
  LWLockRelease(counters_lock);
  return fits ? snapshot : nullptr;
}

void end_counting(std::int32_t tenant, std::uint64_t ticket, const Activity *found, int count) {
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  TallyEntry *tally = find_tally(tenant);
  bool mine = tally && tally->state == TallyState::counting && tally->ticket == ticket;
  for (int i = 0; i < count && mine; ++i) {
    ActivityEntry *entry = make_activity(*tally, found[i].what);
    if (entry)
      add(entry->counts.tasks, found[i].tasks);
    else
      mine = false;
  }
  if (tally && tally->ticket == ticket) tally->state = mine ? TallyState::known : TallyState::unknown;
  LWLockRelease(counters_lock);
}

void forget_activity() {
  forget_permits();
  announce_unknown();
  if (!shared_activity) return;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  shared_activity.remove_of(MyDatabaseId);
  shared_tallies.remove_of(MyDatabaseId);
  drop_overhead_of(MyDatabaseId, 0);
  LWLockRelease(counters_lock);
}

long counted_workflows() { return shared_activity.count(); }

int touched_tenants(std::int32_t *tenants, int room) {
  int count = 0;
  for (const PendingCount &moved : pending) {
    const std::int32_t tenant = moved.key.tenant;
    if (std::find(tenants, tenants + std::min(count, room), tenant) != tenants + std::min(count, room)) continue;
    if (count < room) tenants[count] = tenant;
    ++count;
  }
  return count;
}

void drop_counters_of(Oid database, std::int32_t tenant) {
  if (!shared_activity) return;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  shared_activity.remove_of(database, tenant);
  shared_tallies.remove_of(database, tenant);
  drop_overhead_of(database, tenant);
  drop_permits_of(database, tenant);
  LWLockRelease(counters_lock);
}

}  // namespace insula
