// Permits in shared memory; see permits.hpp.  They are guarded by the lock of the counters.
#include "shared/permits.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/count_basis.hpp"
#include "shared/drop_counters.hpp"
#include "shared/pending.hpp"

namespace insula {

namespace {

struct PermitEntry {
  TenantKey key;
  TallyState state;
  Oid work;  // the table that was counted
  CountBasis basis;
  std::int64_t doubt_at;  // in passing time: used-up permits are counted anew; while counting, its beginning
  std::int64_t asked_at;  // by a session that was to count
  std::int64_t running;   // as far as transactions have ended
  std::int64_t reserved;  // by claims under way
  std::int64_t turned_away;
};

HTAB *shared_permits = nullptr;

constexpr std::int64_t shortest_trust = USECS_PER_SEC;
constexpr std::int64_t trust_a_count = 100;  // times as long as it took

// ---- what the current transaction holds ----

struct Held {
  std::int32_t tenant;
  int level;
  std::int64_t reserved;
  std::int64_t started;  // tasks, less those that run no more
  bool wakes;            // its end is to wake a waiter
};

Pending<Held> held;
bool forgets = false;  // its commit does

Held &held_of(std::int32_t tenant) {
  Held *known = held.find_here([tenant](const Held &other) { return other.tenant == tenant; });
  return known ? *known : held.add({tenant, 0, 0, 0, false});
}

// In all its subtransactions.
Held held_here(std::int32_t tenant) {
  Held all = {tenant, 0, 0, 0, false};
  for (const Held &one : held) {
    if (one.tenant != tenant) continue;
    all.reserved += one.reserved;
    all.started += one.started;
  }
  return all;
}

// ---- under the lock ----

PermitEntry *find_permits(std::int32_t tenant) {
  TenantKey key = {MyDatabaseId, tenant};
  return static_cast<PermitEntry *>(hash_search(shared_permits, &key, HASH_FIND, nullptr));
}

PermitEntry *make_permits(std::int32_t tenant) {
  TenantKey key = {MyDatabaseId, tenant};
  bool found;
  auto *entry = static_cast<PermitEntry *>(hash_search(shared_permits, &key, HASH_ENTER_NULL, &found));
  if (!entry || found) return entry;
  entry->state = TallyState::unknown;
  entry->work = InvalidOid;
  entry->running = entry->reserved = 0;
  entry->asked_at = entry->doubt_at = 0;
  // Sessions that were turned away before were not counted.
  entry->turned_away = waiting_sessions();
  return entry;
}

bool is_known(const PermitEntry &entry, const Permits &of) {
  return entry.state == TallyState::known && entry.work == of.work;
}

bool is_old(std::int64_t time) { return passing_time() - time >= USECS_PER_SEC; }

std::int64_t free_by(const PermitEntry *entry, const Permits &of) {
  if (!entry || !is_known(*entry, of)) return permits_unknown;
  const std::int64_t free = of.most - entry->running - entry->reserved;
  if (free > 0) return free;
  return passing_time() >= entry->doubt_at ? permits_unknown : 0;
}

bool owes_wake_up(PermitEntry &entry) {
  if (entry.turned_away == 0) return false;
  --entry.turned_away;
  return true;
}

// The transaction has committed.
void add_started(PermitEntry &entry, std::int64_t started, std::uint64_t transaction) {
  if (entry.state == TallyState::unknown || entry.basis.shows(transaction)) return;
  entry.running += started;
  // A task can be cancelled before the claim's own callback has told of it, but mostly rows were written
  // by hand: to count again is right in both cases.
  if (entry.state == TallyState::known && entry.running < 0) entry.state = TallyState::unknown;
}

// Drops the reservation and adds the started tasks under one lock, so that no reader counts a permit
// twice.  Returns whether a waiter is to be woken.
bool settle(const Held &of, std::uint64_t transaction) {
  PermitEntry *entry = find_permits(of.tenant);
  if (!entry)
    return of.started < 0 &&
           hash_get_num_entries(shared_permits) >= shared_room.due_tenants;  // the sessions that wait are not known
  entry->reserved -= of.reserved;
  if (of.started != 0) add_started(*entry, of.started, transaction);
  // A claim that counts in the queue sees started tasks whose reservation has not been dropped yet.
  const bool seen_twice = of.reserved > 0 && (entry->state != TallyState::known || entry->basis.shows(transaction));
  return (of.started < of.reserved || seen_twice) && owes_wake_up(*entry);
}

// Nothing here may fail.
void settle_from(int first, bool committed) {
  bool any = false;
  Held *const begin = held.begin() + first;
  Held *const end = held.end();
  for (Held *one = begin; one != end; ++one) {
    if (!committed) one->started = 0;
    any = any || one->started != 0 || one->reserved != 0;
  }
  held.drop_from(first);
  if (!any) return;
  const std::uint64_t transaction = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  for (Held *one = begin; one != end; ++one) one->wakes = settle(*one, transaction);
  LWLockRelease(counters_lock);
  for (const Held *one = begin; one != end; ++one)
    if (one->wakes) wake_for_permit(one->tenant);
}

void forget_now() {
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_permits);
  while (auto *entry = static_cast<PermitEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == MyDatabaseId) entry->state = TallyState::unknown;
  LWLockRelease(counters_lock);
}

void committed() {
  settle_from(0, true);
  held.forget();
  if (forgets) forget_now();
  forgets = false;
}

void aborted() {
  settle_from(0, false);
  held.forget();
  forgets = false;
}

void subtransaction_committed(SubTransactionId) {
  held.hand_over([](const Held &a, const Held &b) { return a.tenant == b.tenant; },
                 [](Held &to, const Held &from) {
                   to.reserved += from.reserved;
                   to.started += from.started;
                 });
}

void subtransaction_aborted() { settle_from(held.first_here(), false); }

}  // namespace

const SharedPart permits_part = {[] { return hash_estimate_size(shared_room.due_tenants, sizeof(PermitEntry)); },
                                 [](bool) {
                                   shared_permits = make_shared_table("insula permits", shared_room.due_tenants,
                                                                      sizeof(TenantKey), sizeof(PermitEntry));
                                 }};

void drop_permits_of(Oid database, std::int32_t tenant) {
  drop_entries_of<PermitEntry>(shared_permits, database, tenant);
}

const TransactionStep permits_step = {.committed = committed,
                                      .aborted = aborted,
                                      .subtransaction_committed = subtransaction_committed,
                                      .subtransaction_aborted = subtransaction_aborted};

void note_started(std::int32_t tenant, std::int64_t tasks) { held_of(tenant).started += tasks; }

bool ends_tasks_here(std::int32_t tenant) {
  const Held here = held_here(tenant);
  return here.started < here.reserved;
}

std::int64_t free_permits(const Permits &of) {
  if (!shared_permits) return permits_unknown;
  LWLockAcquire(counters_lock, LW_SHARED);
  const std::int64_t free = free_by(find_permits(of.tenant), of);
  LWLockRelease(counters_lock);
  return free;
}

std::int64_t await_permit(const Permits &of) {
  if (!shared_permits) return permits_unknown;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  PermitEntry *entry = make_permits(of.tenant);
  std::int64_t free = free_by(entry, of);
  // To find what was written by hand it is enough that one counts.
  if (free == permits_unknown && entry && is_known(*entry, of)) {
    if (is_old(entry->asked_at))
      entry->asked_at = passing_time();
    else
      free = 0;
  }
  if (entry && free <= 0) entry->turned_away = std::min<std::int64_t>(entry->turned_away + 1, MaxBackends);
  LWLockRelease(counters_lock);
  return free;
}

std::int64_t reserve_permits(const Permits &of, int wanted) {
  if (!shared_permits) return permits_unknown;
  // The numbers do not have the tasks yet that it started while there was no limit.
  const Held here = held_here(of.tenant);
  if (here.started > here.reserved) return permits_unknown;
  Held &mine = held_of(of.tenant);
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  PermitEntry *entry = find_permits(of.tenant);
  const std::int64_t reserved = std::min<std::int64_t>(wanted, free_by(entry, of));
  if (reserved > 0) {
    entry->reserved += reserved;
    mine.reserved += reserved;
  }
  LWLockRelease(counters_lock);
  return reserved;
}

std::int64_t reserve_permits_ahead(const Permits &of, int wanted) {
  if (!shared_permits) return 0;
  Held &mine = held_of(of.tenant);
  const std::int64_t here = held_here(of.tenant).reserved;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  PermitEntry *entry = make_permits(of.tenant);
  const std::int64_t others = entry ? entry->reserved - here : 0;
  if (entry) {
    entry->reserved += wanted;
    mine.reserved += wanted;
  }
  LWLockRelease(counters_lock);
  return others;
}

std::int64_t permits_reserved_by_others(std::int32_t tenant) {
  if (!shared_permits) return 0;
  LWLockAcquire(counters_lock, LW_SHARED);
  const PermitEntry *entry = find_permits(tenant);
  const std::int64_t reserved = entry ? entry->reserved : 0;
  LWLockRelease(counters_lock);
  return reserved ? reserved - held_here(tenant).reserved : 0;
}

Snapshot begin_counting_running(const Permits &of) {
  if (!shared_permits) return nullptr;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  PermitEntry *entry = find_permits(of.tenant);
  Snapshot snapshot = nullptr;
  // A transaction that has published had committed before, so that this snapshot shows it.
  if (entry && (!is_known(*entry, of) || passing_time() >= entry->doubt_at)) snapshot = GetLatestSnapshot();
  if (snapshot && entry->basis.take(*snapshot)) {
    entry->state = TallyState::counting;
    entry->work = of.work;
    entry->running = 0;
    entry->doubt_at = passing_time();
  } else {
    snapshot = nullptr;
  }
  LWLockRelease(counters_lock);
  return snapshot;
}

void end_counting_running(const Permits &of, std::int64_t running) {
  // The snapshot shows them, and they are added when they are committed.
  running -= held_here(of.tenant).started;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  PermitEntry *entry = find_permits(of.tenant);
  if (entry && entry->state == TallyState::counting) {
    entry->running += running;
    entry->state = TallyState::known;
    const std::int64_t now = passing_time();
    entry->doubt_at = now + std::max(shortest_trust, trust_a_count * (now - entry->doubt_at));
  }
  LWLockRelease(counters_lock);
}

void return_permits(std::int32_t tenant, int count) {
  if (!shared_permits || count == 0) return;
  Held &mine = held_of(tenant);
  if (mine.reserved < count) return;  // there is no entry
  mine.reserved -= count;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  PermitEntry *entry = find_permits(tenant);
  if (entry) entry->reserved -= count;
  const bool wake = entry && owes_wake_up(*entry);
  LWLockRelease(counters_lock);
  if (wake) wake_for_permit(tenant);
}

void leave_work_for_permits(const Permits &of) {
  // Some may have come back since.
  if (await_permit(of) > 0) wake_for_permit(of.tenant);
}

void forget_running() {
  if (!shared_permits) return;
  forget_now();
  // Others see what this transaction has written itself only then.
  forgets = true;
}

}  // namespace insula
