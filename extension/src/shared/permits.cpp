// Permits in shared memory; see permits.hpp.  They are guarded by the lock of the counters.
#include "shared/permits.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/count_basis.hpp"
#include "shared/counters.hpp"
#include "shared/pending.hpp"

namespace insula {

namespace {

struct Numbers {
  std::int64_t running;
  std::int64_t reserved;
};

// Sessions that were refused a permit, of the tenant's own limit or of any other.
struct Refused {
  std::uint64_t version;     // counts permits that have come back
  std::int64_t turned_away;  // sessions that have not been woken since
  std::uint64_t turned_away_ever;
};

struct TenantPermits {
  TenantKey key;
  TallyState state;
  Oid work;  // the table that was counted
  CountBasis basis;
  std::int64_t count_from;  // in passing time: not before
  bool refused;             // a claim was, since the last count
  Numbers numbers;          // under limit_of_tenant
  Refused by_tenant;
  Refused by_others;

  Refused &refused_by(std::int64_t limit) { return limit == limit_of_tenant ? by_tenant : by_others; }
};

struct LimitKey {
  Oid database;
  std::int32_t tenant;
  std::int64_t limit;
};

// Any other limit under which a task runs or a permit is reserved.
struct LimitPermits {
  LimitKey key;
  Numbers numbers;
};

HTAB *tenants = nullptr;
HTAB *limits = nullptr;

// ---- what the current transaction holds ----

struct Held {
  std::int64_t limit;
  std::int32_t tenant;
  int level;
  std::int64_t reserved;
  std::int64_t started;  // tasks, less those that run no more
  bool wakes;            // its end is to wake a waiter
};

Pending<Held> held;
bool forgets = false;     // its commit does
bool ends_some = false;   // tasks that ran
bool unreserved = false;  // it has taken a permit for which there was no room

// Each task is told of for its tenant and for its limit: the last two entries are looked at.
Held &held_of(std::int32_t tenant, std::int64_t limit) {
  Held *known = held.find_here([&](const Held &one) { return one.tenant == tenant && one.limit == limit; }, 2);
  return known ? *known : held.add({limit, tenant, 0, 0, 0, false});
}

void drop_if_nothing(const Held &one) {
  if (one.reserved == 0 && one.started == 0 && &one == held.end() - 1) held.drop_last();
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

void add_to_sums(std::int32_t tenant, std::int64_t limit, std::int64_t reserved, std::int64_t started) {
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

void change_held(Held &one, std::int64_t reserved, std::int64_t started) {
  one.reserved += reserved;
  one.started += started;
  if (sums) add_to_sums(one.tenant, one.limit, reserved, started);
}

// A task that this transaction has ended does not run any more for its own claims, though the numbers
// still count it: if its end is rolled back, the claims since then are as well.  Tasks that it has started
// while the tenant had no limit the numbers do not have yet.
std::int64_t freed_here(std::int32_t tenant, std::int64_t limit) {
  std::int64_t freed = 0;
  if (limit == limit_of_tenant) {
    for (const Held &one : held)
      if (one.tenant == tenant && one.limit == limit) freed += one.reserved - one.started;
  } else if (ends_some) {
    const Sums sum = sums_of(tenant, limit);
    freed = sum.reserved - sum.started;
  }
  return freed;
}

// ---- under the lock ----

TenantPermits *find_permits_of(std::int32_t tenant) {
  TenantKey key = {MyDatabaseId, tenant};
  return static_cast<TenantPermits *>(hash_search(tenants, &key, HASH_FIND, nullptr));
}

bool no_room_for_tenants() { return hash_get_num_entries(tenants) >= shared_room.due_tenants; }

// nullptr: there is no room.
TenantPermits *make_permits_of(std::int32_t tenant) {
  TenantKey key = {MyDatabaseId, tenant};
  bool found;
  auto *entry = static_cast<TenantPermits *>(hash_search(tenants, &key, HASH_ENTER_NULL, &found));
  if (!entry || found) return entry;
  entry->state = TallyState::unknown;
  entry->work = InvalidOid;
  entry->count_from = 0;
  entry->refused = false;
  entry->numbers = {0, 0};
  // Sessions that were turned away before were not counted.
  entry->by_tenant = entry->by_others = {0, waiting_sessions(), 0};
  return entry;
}

Numbers *find_numbers(TenantPermits *all, std::int32_t tenant, std::int64_t limit) {
  if (limit == limit_of_tenant) return all ? &all->numbers : nullptr;
  LimitKey key = {MyDatabaseId, tenant, limit};
  auto *entry = static_cast<LimitPermits *>(hash_search(limits, &key, HASH_FIND, nullptr));
  return entry ? &entry->numbers : nullptr;
}

// nullptr: there is no room.
Numbers *make_numbers(TenantPermits *all, std::int32_t tenant, std::int64_t limit) {
  if (limit == limit_of_tenant) return all ? &all->numbers : nullptr;
  LimitKey key = {MyDatabaseId, tenant, limit};
  bool found;
  auto *entry = static_cast<LimitPermits *>(hash_search(limits, &key, HASH_ENTER_NULL, &found));
  if (entry && !found) entry->numbers = {0, 0};
  return entry ? &entry->numbers : nullptr;
}

void remove_if_idle(std::int32_t tenant, std::int64_t limit, const Numbers &numbers) {
  if (limit == limit_of_tenant || numbers.running != 0 || numbers.reserved != 0) return;
  LimitKey key = {MyDatabaseId, tenant, limit};
  hash_search(limits, &key, HASH_REMOVE, nullptr);
}

template <typename Visit>
void for_each_limit_of(std::int32_t tenant, Visit visit) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, limits);
  while (auto *entry = static_cast<LimitPermits *>(hash_seq_search(&scan)))
    if (entry->key.database == MyDatabaseId && entry->key.tenant == tenant) visit(*entry);
}

void remove_idle_limits(std::int32_t tenant) {
  for_each_limit_of(tenant, [&](const LimitPermits &entry) { remove_if_idle(tenant, entry.key.limit, entry.numbers); });
}

void forget_running(TenantPermits &all) {
  all.numbers.running = 0;
  for_each_limit_of(all.key.tenant, [](LimitPermits &entry) { entry.numbers.running = 0; });
  remove_idle_limits(all.key.tenant);
}

constexpr std::int64_t between_counts = USECS_PER_SEC;
constexpr std::int64_t counts_share = 100;

// The numbers are unknown until a claim counts.
void lose_count(TenantPermits &all) {
  all.count_from = 0;
  // A session that has just looked shall look again.
  ++all.by_tenant.version;
  ++all.by_others.version;
  if (all.state == TallyState::unknown) return;
  all.state = TallyState::unknown;
  forget_running(all);
}

// To count again at once would end the same way.
void put_count_off(TenantPermits &all) { all.count_from = passing_time() + USECS_PER_SEC; }

void lose_count_for_room(TenantPermits &all) {
  lose_count(all);
  put_count_off(all);
}

bool is_known(const TenantPermits *all, const LimitedWork &of) {
  return all && all->state == TallyState::known && all->work == of.work;
}

// The numbers must be known.
std::int64_t free_of(const Numbers *numbers, std::int64_t most) {
  return std::max<std::int64_t>(most - (numbers ? numbers->running + numbers->reserved : 0), 0);
}

bool wants_count(const TenantPermits *all, const LimitedWork &of) {
  if (!all) return !no_room_for_tenants();
  return (!is_known(all, of) || all->refused) && passing_time() >= all->count_from;
}

// A permit has come back.  Returns whether a waiter is to be woken.
bool note_free(TenantPermits *all, std::int64_t limit) {
  if (!all) return no_room_for_tenants();  // the sessions that wait are not known
  Refused &refused = all->refused_by(limit);
  ++refused.version;
  if (refused.turned_away == 0) return false;
  --refused.turned_away;
  return true;
}

// Drops the reservation and adds the started tasks under one lock, so that no reader counts a permit
// twice.  Returns whether a waiter is to be woken.
bool settle(const Held &of, TenantPermits *all, std::uint64_t transaction) {
  const bool seen = all && (all->state == TallyState::unknown || all->basis.shows(transaction));
  const bool counts = all && !seen && of.started != 0;
  Numbers *numbers = counts ? make_numbers(all, of.tenant, of.limit) : find_numbers(all, of.tenant, of.limit);
  if (numbers) {
    numbers->reserved -= of.reserved;
    if (counts) numbers->running += of.started;
    // A task can be cancelled before the claim's own step has told of it, but mostly rows were written by
    // hand: to count again is right in both cases.
    if (all && all->state == TallyState::known && numbers->running < 0)
      lose_count(*all);
    else
      remove_if_idle(of.tenant, of.limit, *numbers);
  } else if (counts) {
    lose_count_for_room(*all);
  }
  // A claim that counts in the queue sees started tasks whose reservation has not been dropped yet.
  const bool seen_twice = of.reserved > 0 && all && (seen || all->state != TallyState::known);
  return (of.started < of.reserved || seen_twice) && note_free(all, of.limit);
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
    TenantPermits *all = nullptr;
    LWLockAcquire(counters_lock, LW_EXCLUSIVE);
    for (; at != end && at - begin < settled_at_once; ++at) {
      if (at == begin || at->tenant != at[-1].tenant) all = find_permits_of(at->tenant);
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
  hash_seq_init(&scan, tenants);
  while (auto *all = static_cast<TenantPermits *>(hash_seq_search(&scan)))
    if (all->key.database == MyDatabaseId) lose_count(*all);
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

const SharedPart permits_part = {
    [] {
      return add_size(hash_estimate_size(shared_room.due_tenants, sizeof(TenantPermits)),
                      hash_estimate_size(shared_room.counted_limits, sizeof(LimitPermits)));
    },
    [](bool) {
      tenants = make_shared_table("insula permits", shared_room.due_tenants, sizeof(TenantKey), sizeof(TenantPermits));
      limits = make_shared_table("insula limits", shared_room.counted_limits, sizeof(LimitKey), sizeof(LimitPermits));
    }};

void drop_permits_of(Oid database, std::int32_t tenant) {
  drop_entries_of<TenantPermits>(tenants, database, tenant);
  drop_entries_of<LimitPermits>(limits, database, tenant);
}

const TransactionStep permits_step = {.committed = [] { end_transaction(true); },
                                      .aborted = [] { end_transaction(false); },
                                      .subtransaction_committed = [](SubTransactionId) { held.hand_over(); },
                                      .subtransaction_aborted = subtransaction_aborted};

bool permits_are_known(const LimitedWork &of) {
  if (!tenants) return false;
  LWLockAcquire(counters_lock, LW_SHARED);
  const bool known = is_known(find_permits_of(of.tenant), of);
  LWLockRelease(counters_lock);
  return known;
}

bool permits_want_count(const LimitedWork &of) {
  if (!tenants) return false;
  LWLockAcquire(counters_lock, LW_SHARED);
  const bool wanted = wants_count(find_permits_of(of.tenant), of);
  LWLockRelease(counters_lock);
  return wanted;
}

Reserved reserve_permits(const LimitedWork &of, std::int64_t limit, std::int64_t most, int wanted) {
  if (!tenants) return {};
  most += freed_here(of.tenant, limit);
  Held &mine = held_of(of.tenant, limit);
  Reserved reserved;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  TenantPermits *all = find_permits_of(of.tenant);
  if (is_known(all, of)) {
    Numbers *numbers = make_numbers(all, of.tenant, limit);
    if (!numbers) lose_count_for_room(*all);
    if (numbers) {
      reserved.count = static_cast<int>(std::min<std::int64_t>(wanted, free_of(numbers, most)));
      numbers->reserved += reserved.count;
      all->refused = all->refused || reserved.count == 0;
      reserved.turned_away = all->refused_by(limit).turned_away_ever;
      remove_if_idle(of.tenant, limit, *numbers);
    }
  }
  LWLockRelease(counters_lock);
  change_held(mine, reserved.count, 0);
  drop_if_nothing(mine);
  return reserved;
}

bool is_permit_free(const LimitedWork &of, std::int64_t limit, std::int64_t most) {
  if (!tenants) return false;
  most += freed_here(of.tenant, limit);
  LWLockAcquire(counters_lock, LW_SHARED);
  TenantPermits *all = find_permits_of(of.tenant);
  const bool known = is_known(all, of);
  const bool free = known && free_of(find_numbers(all, of.tenant, limit), most) > 0;
  const bool tell = known && !free && !all->refused;
  LWLockRelease(counters_lock);
  if (!tell) return free;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if ((all = find_permits_of(of.tenant))) all->refused = true;
  LWLockRelease(counters_lock);
  return false;
}

void return_permits(std::int32_t tenant, std::int64_t limit, const Reserved &reserved) {
  const int count = reserved.count;
  if (!tenants || count == 0) return;
  Held &mine = held_of(tenant, limit);
  // Else there was no room to reserve.
  if (mine.reserved >= count) {
    change_held(mine, -count, 0);
    LWLockAcquire(counters_lock, LW_EXCLUSIVE);
    TenantPermits *all = find_permits_of(tenant);
    if (Numbers *numbers = find_numbers(all, tenant, limit)) {
      numbers->reserved -= count;
      remove_if_idle(tenant, limit, *numbers);
    }
    // A permit that came back before any session asked was not missed.
    const bool missed = !all || all->refused_by(limit).turned_away_ever != reserved.turned_away;
    if (!missed) ++all->refused_by(limit).version;
    const bool wake = missed && note_free(all, limit);
    LWLockRelease(counters_lock);
    if (wake) wake_for_permit(tenant);
  }
  drop_if_nothing(mine);
}

std::uint64_t permits_version(const LimitedWork &of, std::int64_t limit) {
  if (!tenants) return 0;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  TenantPermits *all = make_permits_of(of.tenant);
  const std::uint64_t version = all ? all->refused_by(limit).version : 0;
  LWLockRelease(counters_lock);
  return version;
}

bool await_permit(const LimitedWork &of, std::int64_t limit, std::uint64_t version) {
  if (!tenants) return true;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  TenantPermits *all = find_permits_of(of.tenant);
  const bool same = !all || all->refused_by(limit).version == version;
  if (all) {
    Refused &refused = all->refused_by(limit);
    refused.turned_away = std::min<std::int64_t>(refused.turned_away + 1, MaxBackends);
    ++refused.turned_away_ever;
  }
  LWLockRelease(counters_lock);
  return same;
}

bool read_reserved(const LimitedWork &of, LimitCount **counts, int *count) {
  *counts = nullptr;
  *count = 0;
  if (!tenants) return true;
  make_sums();
  const auto room = static_cast<Size>(most_entries(shared_room.counted_limits)) + 1;
  *counts = static_cast<LimitCount *>(MemoryContextAllocHuge(CurrentMemoryContext, sizeof(LimitCount) * room));
  LWLockAcquire(counters_lock, LW_SHARED);
  const TenantPermits *all = find_permits_of(of.tenant);
  const bool unknown = !is_known(all, of);
  if (all && all->numbers.reserved > 0) (*counts)[(*count)++] = {limit_of_tenant, all->numbers.reserved};
  for_each_limit_of(of.tenant, [&](const LimitPermits &entry) {
    if (entry.numbers.reserved > 0) (*counts)[(*count)++] = {entry.key.limit, entry.numbers.reserved};
  });
  LWLockRelease(counters_lock);
  for (int i = 0; i < *count; ++i) (*counts)[i].running -= sums_of(of.tenant, (*counts)[i].limit).reserved;
  std::sort(*counts, *counts + *count, [](const LimitCount &a, const LimitCount &b) { return a.limit < b.limit; });
  return unknown;
}

void reserve_permits_ahead(const LimitedWork &of, std::int64_t limit, int count) {
  if (!tenants || count == 0) return;
  Held &mine = held_of(of.tenant, limit);
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  TenantPermits *all = limit == limit_of_tenant ? make_permits_of(of.tenant) : nullptr;
  Numbers *numbers = make_numbers(all, of.tenant, limit);
  const bool reserved = numbers != nullptr;
  if (reserved) numbers->reserved += count;
  LWLockRelease(counters_lock);
  if (reserved) change_held(mine, count, 0);
  unreserved = unreserved || !reserved;
  drop_if_nothing(mine);
}

Snapshot begin_counting_permits(const LimitedWork &of) {
  // Others see what it has taken only when it commits.
  if (!tenants || unreserved) return nullptr;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  TenantPermits *all = make_permits_of(of.tenant);
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

void end_counting_permits(const LimitedWork &of, const LimitCount *counts, int count) {
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  TenantPermits *all = find_permits_of(of.tenant);
  if (all && all->state == TallyState::counting) {
    bool fits = true;
    const auto add = [&](std::int64_t limit, std::int64_t running) {
      Numbers *numbers = fits && running != 0 ? make_numbers(all, of.tenant, limit) : nullptr;
      if (numbers) numbers->running += running;
      fits = fits && (numbers || running == 0);
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
      remove_idle_limits(of.tenant);
    } else {
      lose_count_for_room(*all);
    }
  }
  LWLockRelease(counters_lock);
}

void note_started(std::int32_t tenant, std::int64_t limit, std::int64_t tasks) {
  if (!tenants) return;
  Held &mine = held_of(tenant, limit);
  change_held(mine, 0, tasks);
  ends_some = ends_some || tasks < 0;
}

void forget_permits() {
  if (!tenants) return;
  forget_now();
  // Others see what this transaction has written itself only then.
  forgets = true;
}

}  // namespace insula
