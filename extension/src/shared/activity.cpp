// Counters in shared memory; see activity.hpp.  They have a lock of their own, under which
// nothing is done but to add.  It may be held while a snapshot is taken, and is taken by
// commit callbacks, which hold no other.
#include "shared/activity.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/limit_permits.hpp"
#include "shared/permits.hpp"
#include "shared/state.hpp"

extern "C" {
#include "access/transam.h"
#include "utils/snapmgr.h"
}

namespace insula {

HTAB *shared_activity = nullptr;
HTAB *shared_tallies = nullptr;
LWLock *activity_lock = nullptr;

namespace {

// ---- what the current transaction changes ----

struct Pending {
  Activity change;
  int level;     // of the subtransaction
  bool dropped;  // the tenant is
};

Pending *pending = nullptr;  // in TopTransactionContext
int pending_count = 0;
int pending_room = 0;

Pending &pending_of(const Counted &what) {
  const int level = GetCurrentTransactionNestLevel();
  for (int i = pending_count - 1; i >= 0; --i) {
    Pending &known = pending[i];
    if (known.level != level) break;
    if (known.change.what.tenant == what.tenant && known.change.what.definition == what.definition) return known;
  }
  if (pending_count == pending_room) {
    const int room = pending_room ? 2 * pending_room : 8;
    const Size size = sizeof(Pending) * static_cast<Size>(room);
    pending = static_cast<Pending *>(pending ? repalloc_huge(pending, size)
                                             : MemoryContextAlloc(TopTransactionContext, size));
    pending_room = room;
  }
  pending[pending_count] = {{what, {}, {}, {}, 0}, level, false};
  return pending[pending_count++];
}

Activity &change_of(const Counted &what) { return pending_of(what).change; }

void forget_pending() {
  pending = nullptr;
  pending_count = pending_room = 0;
}

// ---- what is known ----

// So many versions of one tenant's workflows leave room for others.
constexpr int most_versions = 128;

TallyEntry *find_tally(std::int32_t tenant, HASHACTION action) {
  DueKey key = {MyDatabaseId, tenant};
  bool found;
  auto *tally = static_cast<TallyEntry *>(hash_search(shared_tallies, &key, action, &found));
  if (tally && !found) {
    tally->state = TallyState::unknown;
    tally->versions = 0;
    tally->ticket = 0;
  }
  return tally;
}

ActivityEntry *make_activity(TallyEntry &tally, const Counted &what) {
  ActivityKey key = {MyDatabaseId, what.tenant, what.definition};
  auto *entry = static_cast<ActivityEntry *>(hash_search(shared_activity, &key, HASH_FIND, nullptr));
  if (entry) return entry;
  if (tally.versions >= most_versions && what.definition != 0) return make_activity(tally, {what.tenant, 0});
  entry = static_cast<ActivityEntry *>(hash_search(shared_activity, &key, HASH_ENTER_NULL, nullptr));
  if (!entry) return nullptr;
  ++tally.versions;
  entry->counts = {{what.tenant, what.definition}, {}, {}, {}, GetCurrentTimestamp()};
  return entry;
}

std::uint64_t full_xmax(const SnapshotData &snapshot) {
  const std::uint64_t next = U64FromFullTransactionId(ReadNextFullTransactionId());
  return next - (static_cast<std::uint32_t>(next) - snapshot.xmax);
}

template <int N>
void add(std::int64_t (&to)[N], const std::int64_t (&from)[N]) {
  for (int i = 0; i < N; ++i) to[i] += from[i];
}

void publish_change(const Activity &change, std::uint64_t transaction) {
  TallyEntry *tally = find_tally(change.what.tenant, HASH_ENTER_NULL);
  ActivityEntry *entry = tally ? make_activity(*tally, change.what) : nullptr;
  if (!entry) {
    if (tally) tally->state = TallyState::unknown;
    return;
  }
  add(entry->counts.happened, change.happened);
  add(entry->counts.waits, change.waits);
  if (tally->state != TallyState::unknown && !tally->basis.shows(transaction)) add(entry->counts.tasks, change.tasks);
}

template <typename Doomed>
void remove_all(Doomed doomed);

void publish() {
  if (pending_count == 0 || !shared_activity) return;
  const std::uint64_t transaction = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
  bool any_dropped = false;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  for (int i = 0; i < pending_count; ++i) {
    any_dropped = any_dropped || pending[i].dropped;
    publish_change(pending[i].change, transaction);
  }
  LWLockRelease(activity_lock);
  if (!any_dropped) return;
  const Pending *end = pending + pending_count;
  remove_all([end](Oid database, std::int32_t tenant) {
    return database == MyDatabaseId &&
           std::any_of(static_cast<const Pending *>(pending), end,
                       [tenant](const Pending &p) { return p.dropped && p.change.what.tenant == tenant; });
  });
}

// A prepared transaction would commit in another backend, where nobody knows what it counts.
void refuse_prepare() {
  if (pending_count == 0) return;
  ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                  errmsg("cannot PREPARE a transaction that has submitted, claimed or completed work")));
}

void transaction_ends(XactEvent event, void *) {
  if (event == XACT_EVENT_PRE_PREPARE) refuse_prepare();
  if (event == XACT_EVENT_COMMIT) publish();
  if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT) forget_pending();
  if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE) return;
  settle_permits(event == XACT_EVENT_COMMIT);
  settle_limits(event == XACT_EVENT_COMMIT);
}

// What a subtransaction has counted is its parent's now, together with what that has counted.
void hand_over(int first, int level) {
  int last = first;
  for (int i = first; i < pending_count; ++i) {
    Pending *known = std::find_if(pending, pending + last, [&](const Pending &other) {
      return other.level == level && other.change.what.tenant == pending[i].change.what.tenant &&
             other.change.what.definition == pending[i].change.what.definition;
    });
    if (known == pending + last) {
      pending[last] = pending[i];
      pending[last++].level = level;
      continue;
    }
    add(known->change.tasks, pending[i].change.tasks);
    add(known->change.happened, pending[i].change.happened);
    add(known->change.waits, pending[i].change.waits);
    known->dropped = known->dropped || pending[i].dropped;
  }
  pending_count = last;
}

void subtransaction_ends(SubXactEvent event, SubTransactionId, SubTransactionId, void *) {
  const int level = GetCurrentTransactionNestLevel();
  int first = pending_count;
  while (first > 0 && pending[first - 1].level >= level) --first;
  if (event == SUBXACT_EVENT_ABORT_SUB) {
    pending_count = first;
    return_permits_of_subtransaction();
    return_limits_of_subtransaction();
  }
  if (event == SUBXACT_EVENT_COMMIT_SUB) {
    if (first < pending_count) hand_over(first, level - 1);
    hand_permits_over();
    hand_limits_over();
  }
}

template <typename Entry, typename Doomed>
void remove_entries(HTAB *table, Doomed doomed) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, table);
  while (auto *entry = static_cast<Entry *>(hash_seq_search(&scan)))
    if (doomed(entry->key.database, entry->key.tenant)) hash_search(table, &entry->key, HASH_REMOVE, nullptr);
}

template <typename Doomed>
void remove_counters(Doomed doomed) {
  remove_entries<ActivityEntry>(shared_activity, doomed);
  remove_entries<TallyEntry>(shared_tallies, doomed);
}

// Of tenants that are gone, for whom nobody claims.
template <typename Doomed>
void remove_all(Doomed doomed) {
  if (!shared_activity) return;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  remove_counters(doomed);
  remove_entries<PermitEntry>(shared_permits, doomed);
  remove_entries<LimitedEntry>(shared_limited, doomed);
  remove_entries<LimitEntry>(shared_limits, doomed);
  LWLockRelease(activity_lock);
}

}  // namespace

bool CountBasis::take(const SnapshotData &snapshot) {
  if (snapshot.xcnt >= lengthof(running)) return false;
  xmax = full_xmax(snapshot);
  running_count = static_cast<int>(snapshot.xcnt);
  std::copy(snapshot.xip, snapshot.xip + snapshot.xcnt, running);
  // A snapshot does not name the transaction that takes it, which has not committed either.
  const TransactionId own = GetTopTransactionIdIfAny();
  if (TransactionIdIsValid(own)) running[running_count++] = own;
  return true;
}

bool CountBasis::shows(std::uint64_t transaction) const {
  const TransactionId *end = running + running_count;
  return transaction < xmax && std::find(running, end, static_cast<TransactionId>(transaction)) == end;
}

void initialize_activity() {
  RegisterXactCallback(transaction_ends, nullptr);
  RegisterSubXactCallback(subtransaction_ends, nullptr);
}

void count_no_more(std::int32_t tenant) {
  if (shared_activity) pending_of({tenant, 0}).dropped = true;
}

void count_arrived(const Counted &what, Place place, std::int64_t tasks) {
  if (!shared_activity || !tasks) return;
  change_of(what).tasks[static_cast<int>(place)] += tasks;
  if (place == Place::running) note_started(what.tenant, tasks);
}

void count_left(const Counted &what, Place place, std::int64_t tasks) { count_arrived(what, place, -tasks); }

void count_moved(const Counted &what, Place from, Place to, std::int64_t tasks) {
  count_left(what, from, tasks);
  count_arrived(what, to, tasks);
}

void count_happened(const Counted &what, Happened what_happened, std::int64_t times) {
  if (shared_activity && times) change_of(what).happened[static_cast<int>(what_happened)] += times;
}

void count_wait(const Counted &what, std::int64_t microseconds) {
  if (!shared_activity) return;
  int place = 0;
  for (std::int64_t limit = 1000; place < wait_classes - 1 && microseconds >= limit; limit *= 2) ++place;
  ++change_of(what).waits[place];
}

bool ActivityReport::knows(std::int32_t tenant) const { return std::binary_search(known, known + known_count, tenant); }

ActivityReport read_activity() {
  if (!shared_activity) return {};
  // Room is made without the lock; the tables have room for no more.
  const auto most = static_cast<Size>(max_counted());
  auto *items = static_cast<Activity *>(MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Activity) * most));
  auto *known = static_cast<std::int32_t *>(MemoryContextAllocHuge(CurrentMemoryContext, sizeof(std::int32_t) * most));
  ActivityReport report = {items, 0, known, 0};
  LWLockAcquire(activity_lock, LW_SHARED);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_activity);
  while (const auto *entry = static_cast<ActivityEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == MyDatabaseId) items[report.count++] = entry->counts;
  hash_seq_init(&scan, shared_tallies);
  while (const auto *tally = static_cast<TallyEntry *>(hash_seq_search(&scan)))
    if (tally->key.database == MyDatabaseId && tally->state == TallyState::known)
      known[report.known_count++] = tally->key.tenant;
  LWLockRelease(activity_lock);
  std::sort(items, items + report.count, [](const Activity &a, const Activity &b) {
    return a.what.tenant < b.what.tenant || (a.what.tenant == b.what.tenant && a.what.definition < b.what.definition);
  });
  std::sort(known, known + report.known_count);
  return report;
}

Snapshot begin_counting(std::int32_t tenant, std::uint64_t *ticket) {
  // What a transaction has written itself its snapshot shows, what it will write not.
  if (!shared_activity || RecoveryInProgress() || TransactionIdIsValid(GetTopTransactionIdIfAny())) return nullptr;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  // Who has published before had committed before, so that this snapshot shows it.
  const Snapshot snapshot = GetLatestSnapshot();
  TallyEntry *tally = find_tally(tenant, HASH_ENTER_NULL);
  const bool fits = tally && tally->basis.take(*snapshot);
  if (fits) {
    tally->state = TallyState::counting;
    *ticket = tally->ticket = static_cast<std::uint64_t>(passing_time());  // no two counts begin at once
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, shared_activity);
    while (auto *entry = static_cast<ActivityEntry *>(hash_seq_search(&scan)))
      if (entry->key.database == MyDatabaseId && entry->key.tenant == tenant)
        std::fill(entry->counts.tasks, entry->counts.tasks + places, 0);
  }
  LWLockRelease(activity_lock);
  return fits ? snapshot : nullptr;
}

void end_counting(std::int32_t tenant, std::uint64_t ticket, const Activity *found, int count) {
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  TallyEntry *tally = find_tally(tenant, HASH_FIND);
  bool mine = tally && tally->state == TallyState::counting && tally->ticket == ticket;
  for (int i = 0; i < count && mine; ++i) {
    ActivityEntry *entry = make_activity(*tally, found[i].what);
    if (entry)
      add(entry->counts.tasks, found[i].tasks);
    else
      mine = false;
  }
  if (tally && tally->ticket == ticket) tally->state = mine ? TallyState::known : TallyState::unknown;
  LWLockRelease(activity_lock);
}

void forget_activity() {
  forget_running();
  forget_limits();
  if (!shared_activity) return;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  remove_counters([](Oid database, std::int32_t) { return database == MyDatabaseId; });
  LWLockRelease(activity_lock);
}

void drop_activity_of_tenant(std::int32_t dropped) {
  remove_all([dropped](Oid database, std::int32_t tenant) { return database == MyDatabaseId && tenant == dropped; });
}

void drop_activity_of(Oid dropped) {
  remove_all([dropped](Oid database, std::int32_t) { return database == dropped; });
}

}  // namespace insula
