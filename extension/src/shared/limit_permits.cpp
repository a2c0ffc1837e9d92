// Permits of limits in shared memory; see limit_permits.hpp.  They are guarded by the lock of the
// counters.
#include "shared/limit_permits.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/count_basis.hpp"
#include "shared/drop_counters.hpp"
#include "shared/list.hpp"
#include "shared/pending.hpp"

namespace insula {

namespace {

struct LimitEntry;

// All limits of a tenant.
struct LimitedEntry {
  TenantKey key;
  TallyState state;
  Oid work;  // the table that was counted
  CountBasis basis;
  std::int64_t count_from;  // in passing time: not before
  bool refused;             // a claim was, since the last count
  std::uint64_t version;    // counts permits that have come back
  std::int64_t turned_away;
  std::uint64_t turned_away_ever;
  List<LimitEntry> limits;
  int limit_count;
};

struct LimitKey {
  Oid database;
  std::int32_t tenant;
  std::int64_t limit;
};

struct LimitEntry {
  LimitKey key;
  LimitedEntry *all;
  Link<LimitEntry> of_tenant;
  std::int64_t running;
  std::int64_t reserved;
};

HTAB *shared_limited = nullptr;
HTAB *shared_limits = nullptr;

// ---- what the current transaction holds ----

struct Held {
  std::int64_t limit;
  std::int32_t tenant;
  int level;
  int reserved;
  int started;  // tasks, less those that run no more
  bool wakes;   // its end is to wake a waiter
};

Pending<Held> held;
bool forgets = false;     // its commit does
bool ends_some = false;   // tasks under limits
bool unreserved = false;  // it has taken a permit for which there was no room

// Consecutive calls for one limit share an entry.
Held &held_of(std::int32_t tenant, std::int64_t limit) {
  Held *last = held.last_here();
  return last && last->tenant == tenant && last->limit == limit ? *last : held.add({limit, tenant, 0, 0, 0, false});
}

void drop_if_nothing(const Held &last) {
  if (last.reserved == 0 && last.started == 0) held.drop_last();
}

// Under each limit what is reserved, less what is started: made where it is asked for.
struct OfLimit {
  std::int32_t tenant;
  std::int32_t unused;
  std::int64_t limit;
};
struct Sums {
  OfLimit of;
  std::int64_t reserved;
  std::int64_t started;
};
HTAB *sums = nullptr;  // in TopTransactionContext

void add_to_sums(std::int32_t tenant, std::int64_t limit, int reserved, int started) {
  const OfLimit of = {tenant, 0, limit};
  bool found;
  auto *sum = static_cast<Sums *>(hash_search(sums, &of, HASH_ENTER, &found));
  if (!found) sum->reserved = sum->started = 0;
  sum->reserved += reserved;
  sum->started += started;
}

void make_sums() {
  if (sums) return;
  HASHCTL control = {};
  control.keysize = sizeof(OfLimit);
  control.entrysize = sizeof(Sums);
  control.hcxt = TopTransactionContext;
  sums = hash_create("insula limits of a transaction", 128, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  for (const Held &one : held) add_to_sums(one.tenant, one.limit, one.reserved, one.started);
}

Sums sums_of(std::int32_t tenant, std::int64_t limit) {
  make_sums();
  const OfLimit of = {tenant, 0, limit};
  const auto *sum = static_cast<Sums *>(hash_search(sums, &of, HASH_FIND, nullptr));
  return sum ? *sum : Sums{of, 0, 0};
}

// Changes the transaction's newest entry.
void change_held(Held &last, int reserved, int started) {
  last.reserved += reserved;
  last.started += started;
  if (sums) add_to_sums(last.tenant, last.limit, reserved, started);
}

// A task that this transaction has ended does not run any more for its own claims, though the numbers
// still count it: if its end is rolled back, the claims since then are as well.
std::int64_t freed_here(std::int32_t tenant, std::int64_t limit) {
  if (!ends_some) return 0;
  const Sums sum = sums_of(tenant, limit);
  return sum.reserved - sum.started;
}

// ---- under the lock ----

LimitedEntry *find_limited(std::int32_t tenant) {
  TenantKey key = {MyDatabaseId, tenant};
  return static_cast<LimitedEntry *>(hash_search(shared_limited, &key, HASH_FIND, nullptr));
}

LimitedEntry *make_limited(std::int32_t tenant) {
  TenantKey key = {MyDatabaseId, tenant};
  bool found;
  auto *entry = static_cast<LimitedEntry *>(hash_search(shared_limited, &key, HASH_ENTER_NULL, &found));
  if (!entry || found) return entry;
  entry->state = TallyState::unknown;
  entry->work = InvalidOid;
  entry->count_from = 0;
  entry->refused = false;
  entry->version = entry->turned_away_ever = 0;
  // Sessions that were turned away before were not counted.
  entry->turned_away = waiting_sessions();
  entry->limits.clear();
  entry->limit_count = 0;
  return entry;
}

LimitEntry *find_limit(std::int32_t tenant, std::int64_t limit) {
  LimitKey key = {MyDatabaseId, tenant, limit};
  return static_cast<LimitEntry *>(hash_search(shared_limits, &key, HASH_FIND, nullptr));
}

// One tenant may have four fifths of the room: one call claims up to ten thousand tasks.
constexpr int times_the_free = 4;

// nullptr: there is no room, or the tenant has its share.
LimitEntry *make_limit(LimitedEntry *all, std::int64_t limit) {
  if (LimitEntry *known = find_limit(all->key.tenant, limit)) return known;
  const long free = shared_room.counted_limits - hash_get_num_entries(shared_limits);
  if (!has_share(all->limit_count / times_the_free, free)) return nullptr;
  LimitKey key = {MyDatabaseId, all->key.tenant, limit};
  auto *entry = static_cast<LimitEntry *>(hash_search(shared_limits, &key, HASH_ENTER_NULL, nullptr));
  if (!entry) return nullptr;
  entry->running = entry->reserved = 0;
  entry->all = all;
  all->limits.append(entry, &entry->of_tenant);
  ++all->limit_count;
  return entry;
}

void remove_if_idle(LimitEntry *entry) {
  if (entry->running != 0 || entry->reserved != 0) return;
  entry->of_tenant.remove();
  --entry->all->limit_count;
  hash_search(shared_limits, &entry->key, HASH_REMOVE, nullptr);
}

void forget_running_under(LimitedEntry &all) {
  all.limits.for_each([](LimitEntry *entry) {
    entry->running = 0;
    remove_if_idle(entry);
  });
}

// Where permits are refused it may be because rows were written by hand: so often it is counted
// again, and no more than that share of the time goes into it.
constexpr std::int64_t between_counts = 60 * USECS_PER_SEC;
constexpr std::int64_t counts_share = 100;

// The numbers are unknown until a claim counts.
void lose_count(LimitedEntry &all) {
  all.count_from = 0;
  ++all.version;  // a session that has just looked shall look again
  if (all.state == TallyState::unknown) return;
  all.state = TallyState::unknown;
  forget_running_under(all);
}

// To count again at once would end the same way.
void put_count_off(LimitedEntry &all) { all.count_from = passing_time() + USECS_PER_SEC; }

void lose_count_for_room(LimitedEntry &all) {
  lose_count(all);
  put_count_off(all);
}

bool is_known(const LimitedEntry *all, const LimitedWork &of) {
  return all && all->state == TallyState::known && all->work == of.work;
}

// The numbers must be known.
std::int64_t free_of(const LimitEntry *entry, std::int64_t most) {
  return std::max<std::int64_t>(most - (entry ? entry->running + entry->reserved : 0), 0);
}

bool wants_count(const LimitedEntry *all, const LimitedWork &of) {
  if (!all) return hash_get_num_entries(shared_limited) < shared_room.due_tenants;
  return (!is_known(all, of) || all->refused) && passing_time() >= all->count_from;
}

// A permit has come back.  Returns whether a waiter is to be woken.
bool note_free(LimitedEntry *all) {
  if (!all) return true;  // the sessions that wait are not known
  ++all->version;
  if (all->turned_away == 0) return false;
  --all->turned_away;
  return true;
}

// Drops the reservation and adds the started tasks under one lock, so that no reader counts a permit
// twice.  Returns whether a waiter is to be woken.
bool settle(const Held &of, LimitedEntry *all, std::uint64_t transaction) {
  const bool seen = all && (all->state == TallyState::unknown || all->basis.shows(transaction));
  const bool counts = all && !seen && of.started != 0;
  LimitEntry *entry = counts ? make_limit(all, of.limit) : find_limit(of.tenant, of.limit);
  if (entry) {
    entry->reserved -= of.reserved;
    if (counts) entry->running += of.started;
    // As for permits of tenants: mostly rows were written by hand.
    if (all && all->state == TallyState::known && entry->running < 0)
      lose_count(*all);
    else
      remove_if_idle(entry);
  } else if (counts) {
    lose_count_for_room(*all);
  }
  // A claim that counts in the queue sees started tasks whose reservation has not been dropped yet.
  const bool seen_twice = of.reserved > 0 && all && (seen || all->state != TallyState::known);
  return (of.started < of.reserved || seen_twice) && note_free(all);
}

// Entries that are settled before other processes get the lock.
constexpr int settled_at_once = 1000;

// Nothing here may fail.
void settle_from(int first, bool committed) {
  Held *const end = held.end();
  Held *at = held.begin() + first;
  held.drop_from(first);
  if (at == end) return;
  const std::uint64_t transaction = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
  while (at != end) {
    Held *const begin = at;
    LimitedEntry *all = nullptr;
    LWLockAcquire(counters_lock, LW_EXCLUSIVE);
    for (; at != end && at - begin < settled_at_once; ++at) {
      if (at == begin || at->tenant != at[-1].tenant) all = find_limited(at->tenant);
      if (!committed) at->started = 0;
      at->wakes = (at->started != 0 || at->reserved != 0) && settle(*at, all, transaction);
    }
    LWLockRelease(counters_lock);
    for (const Held *one = begin; one != at; ++one)
      if (one->wakes) wake_for_permit(one->tenant);
  }
}

void forget_now() {
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_limited);
  while (auto *all = static_cast<LimitedEntry *>(hash_seq_search(&scan))) {
    if (all->key.database != MyDatabaseId) continue;
    all->state = TallyState::unknown;
    all->count_from = 0;
    ++all->version;
    forget_running_under(*all);
  }
  LWLockRelease(counters_lock);
}

void end_transaction(bool committed) {
  settle_from(0, committed);
  held.forget();
  sums = nullptr;
  ends_some = unreserved = false;
  if (forgets && committed) forget_now();
  forgets = false;
}

void subtransaction_aborted() {
  settle_from(held.first_here(), false);
  if (sums) hash_destroy(sums);
  sums = nullptr;  // to be made anew
}

}  // namespace

const SharedPart limit_permits_part = {
    [] {
      return add_size(hash_estimate_size(shared_room.due_tenants, sizeof(LimitedEntry)),
                      hash_estimate_size(shared_room.counted_limits, sizeof(LimitEntry)));
    },
    [](bool) {
      shared_limited =
          make_shared_table("insula limited tenants", shared_room.due_tenants, sizeof(TenantKey), sizeof(LimitedEntry));
      shared_limits =
          make_shared_table("insula limits", shared_room.counted_limits, sizeof(LimitKey), sizeof(LimitEntry));
    }};

void drop_limit_permits_of(Oid database, std::int32_t tenant) {
  drop_entries_of<LimitedEntry>(shared_limited, database, tenant);
  drop_entries_of<LimitEntry>(shared_limits, database, tenant);
}

const TransactionStep limit_permits_step = {.committed = [] { end_transaction(true); },
                                            .aborted = [] { end_transaction(false); },
                                            .subtransaction_committed = [](SubTransactionId) { held.hand_over(); },
                                            .subtransaction_aborted = subtransaction_aborted};

bool limits_are_known(const LimitedWork &of) {
  if (!shared_limits) return false;
  LWLockAcquire(counters_lock, LW_SHARED);
  const bool known = is_known(find_limited(of.tenant), of);
  LWLockRelease(counters_lock);
  return known;
}

bool limits_want_count(const LimitedWork &of) {
  if (!shared_limits) return false;
  LWLockAcquire(counters_lock, LW_SHARED);
  const bool wanted = wants_count(find_limited(of.tenant), of);
  LWLockRelease(counters_lock);
  return wanted;
}

Reserved reserve_limit(const LimitedWork &of, std::int64_t limit, std::int64_t most, int wanted) {
  if (!shared_limits) return {};
  most += freed_here(of.tenant, limit);
  Held &mine = held_of(of.tenant, limit);
  int reserved = 0;
  std::uint64_t turned_away = 0;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  LimitedEntry *all = find_limited(of.tenant);
  if (is_known(all, of)) {
    LimitEntry *entry = make_limit(all, limit);
    if (!entry) lose_count_for_room(*all);
    if (entry) {
      reserved = static_cast<int>(std::min<std::int64_t>(wanted, free_of(entry, most)));
      entry->reserved += reserved;
      mine.reserved += reserved;
      all->refused = all->refused || reserved == 0;
      turned_away = all->turned_away_ever;
      remove_if_idle(entry);
    }
  }
  LWLockRelease(counters_lock);
  if (sums) add_to_sums(of.tenant, limit, reserved, 0);
  drop_if_nothing(mine);
  return {reserved, turned_away};
}

bool is_limit_free(const LimitedWork &of, std::int64_t limit, std::int64_t most) {
  if (!shared_limits) return false;
  most += freed_here(of.tenant, limit);
  LWLockAcquire(counters_lock, LW_SHARED);
  LimitedEntry *all = find_limited(of.tenant);
  const bool known = is_known(all, of);
  const bool free = known && free_of(find_limit(of.tenant, limit), most) > 0;
  const bool tell = known && !free && !all->refused;
  LWLockRelease(counters_lock);
  if (!tell) return free;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if ((all = find_limited(of.tenant))) all->refused = true;
  LWLockRelease(counters_lock);
  return false;
}

void return_limit(std::int32_t tenant, std::int64_t limit, const Reserved &reserved) {
  const int count = reserved.count;
  if (!shared_limits || count == 0) return;
  Held &mine = held_of(tenant, limit);
  // Else there was no room to reserve.
  if (mine.reserved >= count) {
    change_held(mine, -count, 0);
    LWLockAcquire(counters_lock, LW_EXCLUSIVE);
    if (LimitEntry *entry = find_limit(tenant, limit)) {
      entry->reserved -= count;
      remove_if_idle(entry);
    }
    LimitedEntry *all = find_limited(tenant);
    // A permit that came back before any session asked was not missed.
    const bool missed = !all || all->turned_away_ever != reserved.turned_away;
    if (!missed) ++all->version;
    const bool wake = missed && note_free(all);
    LWLockRelease(counters_lock);
    if (wake) wake_for_permit(tenant);
  }
  drop_if_nothing(mine);
}

std::uint64_t limits_version(const LimitedWork &of) {
  if (!shared_limits) return 0;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  const LimitedEntry *all = make_limited(of.tenant);
  const std::uint64_t version = all ? all->version : 0;
  LWLockRelease(counters_lock);
  return version;
}

bool await_limit(const LimitedWork &of, std::uint64_t version) {
  if (!shared_limits) return true;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  LimitedEntry *all = find_limited(of.tenant);
  const bool same = !all || all->version == version;
  if (all) {
    all->turned_away = std::min<std::int64_t>(all->turned_away + 1, MaxBackends);
    ++all->turned_away_ever;
  }
  LWLockRelease(counters_lock);
  return same;
}

bool read_reserved(const LimitedWork &of, LimitCount **counts, int *count) {
  *counts = nullptr;
  *count = 0;
  if (!shared_limits) return true;
  make_sums();
  const auto room = static_cast<Size>(most_entries(shared_room.counted_limits));
  *counts = static_cast<LimitCount *>(MemoryContextAllocHuge(CurrentMemoryContext, sizeof(LimitCount) * room));
  LWLockAcquire(counters_lock, LW_SHARED);
  LimitedEntry *all = find_limited(of.tenant);
  const bool unknown = !is_known(all, of);
  if (all)
    all->limits.for_each([&](const LimitEntry *entry) {
      if (entry->reserved > 0) (*counts)[(*count)++] = {entry->key.limit, entry->reserved};
    });
  LWLockRelease(counters_lock);
  for (int i = 0; i < *count; ++i) (*counts)[i].running -= sums_of(of.tenant, (*counts)[i].limit).reserved;
  std::sort(*counts, *counts + *count, [](const LimitCount &a, const LimitCount &b) { return a.limit < b.limit; });
  return unknown;
}

void reserve_limit_ahead(const LimitedWork &of, std::int64_t limit) {
  if (!shared_limits) return;
  Held &mine = held_of(of.tenant, limit);
  bool reserved = false;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  LimitedEntry *all = make_limited(of.tenant);
  if (LimitEntry *entry = all ? make_limit(all, limit) : nullptr) {
    ++entry->reserved;
    ++mine.reserved;
    reserved = true;
  }
  LWLockRelease(counters_lock);
  if (reserved && sums) add_to_sums(of.tenant, limit, 1, 0);
  unreserved = unreserved || !reserved;
  drop_if_nothing(mine);
}

Snapshot begin_counting_limits(const LimitedWork &of) {
  // Others see what it has taken only when it commits.
  if (!shared_limits || unreserved) return nullptr;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  LimitedEntry *all = make_limited(of.tenant);
  Snapshot snapshot = nullptr;
  // A transaction that has published had committed before, so that this snapshot shows it.
  if (all && wants_count(all, of)) snapshot = GetLatestSnapshot();
  if (snapshot && all->basis.take(*snapshot)) {
    lose_count(*all);
    all->state = TallyState::counting;
    all->work = of.work;
    all->count_from = passing_time();
  } else if (snapshot) {
    put_count_off(*all);
    snapshot = nullptr;
  }
  LWLockRelease(counters_lock);
  return snapshot;
}

void end_counting_limits(const LimitedWork &of, const LimitCount *counts, int count) {
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  LimitedEntry *all = find_limited(of.tenant);
  if (all && all->state == TallyState::counting) {
    bool fits = true;
    const auto add = [&](std::int64_t limit, std::int64_t running) {
      LimitEntry *entry = fits && running != 0 ? make_limit(all, limit) : nullptr;
      if (entry) entry->running += running;
      fits = fits && (entry || running == 0);
    };
    for (int i = 0; i < count; ++i) add(counts[i].limit, counts[i].running);
    // The snapshot shows them, and they are added when they are committed.
    for (const Held &one : held)
      if (one.tenant == of.tenant) add(one.limit, -one.started);
    if (fits) {
      all->state = TallyState::known;
      all->refused = false;
      const std::int64_t now = passing_time();
      all->count_from = now + std::max(between_counts, counts_share * (now - all->count_from));
      all->limits.for_each(remove_if_idle);
    } else {
      lose_count_for_room(*all);
    }
  }
  LWLockRelease(counters_lock);
}

void note_under_limit(std::int32_t tenant, std::int64_t limit, int tasks) {
  if (!shared_limits) return;
  change_held(held_of(tenant, limit), 0, tasks);
  ends_some = ends_some || tasks < 0;
}

void forget_limits() {
  if (!shared_limits) return;
  forget_now();
  // Others see what this transaction has written itself only then.
  forgets = true;
}

}  // namespace insula
