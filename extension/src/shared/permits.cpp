// Permits in shared memory; see permits.hpp.  They are guarded by the lock of the counters,
// whose commit callback tells them what runs.
#include "shared/permits.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "shared/state.hpp"

namespace insula {

HTAB *shared_permits = nullptr;

namespace {

// ---- what the current transaction holds ----

struct Held {
  std::int32_t tenant;
  int level;  // of the subtransaction
  std::int64_t reserved;
  bool wakes;  // its commit frees some
};

Held *held = nullptr;  // in TopTransactionContext
int held_count = 0;
int held_room = 0;

Held &held_of(std::int32_t tenant) {
  const int level = GetCurrentTransactionNestLevel();
  for (int i = held_count - 1; i >= 0 && held[i].level == level; --i)
    if (held[i].tenant == tenant) return held[i];
  if (held_count == held_room) {
    const int room = held_room ? 2 * held_room : 8;
    const Size size = sizeof(Held) * static_cast<Size>(room);
    held = static_cast<Held *>(held ? repalloc_huge(held, size) : MemoryContextAlloc(TopTransactionContext, size));
    held_room = room;
  }
  held[held_count] = {tenant, level, 0, false};
  return held[held_count++];
}

std::int64_t reserved_here(std::int32_t tenant) {
  std::int64_t reserved = 0;
  for (int i = 0; i < held_count; ++i)
    if (held[i].tenant == tenant) reserved += held[i].reserved;
  return reserved;
}

// ---- under the lock ----

PermitEntry *find_permits(std::int32_t tenant) {
  DueKey key = {MyDatabaseId, tenant};
  return static_cast<PermitEntry *>(hash_search(shared_permits, &key, HASH_FIND, nullptr));
}

PermitEntry *make_permits(std::int32_t tenant) {
  DueKey key = {MyDatabaseId, tenant};
  bool found;
  auto *entry = static_cast<PermitEntry *>(hash_search(shared_permits, &key, HASH_ENTER_NULL, &found));
  if (!entry || found) return entry;
  entry->state = TallyState::unknown;
  entry->work = InvalidOid;
  entry->running = entry->reserved = 0;
  // Who was turned away before was not counted.
  entry->turned_away = waiting_sessions();
  return entry;
}

bool is_known(const PermitEntry &entry, const Permits &of) {
  return entry.state == TallyState::known && entry.work == of.work;
}

bool is_old(const PermitEntry &entry) { return passing_time() - entry.counted_at >= USECS_PER_SEC; }

std::int64_t free_by(const PermitEntry *entry, const Permits &of) {
  if (!entry || !is_known(*entry, of)) return permits_unknown;
  const std::int64_t free = of.most - entry->running - entry->reserved;
  if (free > 0) return free;
  return is_old(*entry) ? permits_unknown : 0;
}

bool owes_wake_up(PermitEntry &entry) {
  if (entry.turned_away == 0) return false;
  --entry.turned_away;
  return true;
}

// Returns whether somebody is to be woken.
bool settle(const Held &of, bool committed) {
  PermitEntry *entry = find_permits(of.tenant);
  if (!entry) return committed && of.wakes;  // nobody knows who waits
  entry->reserved -= of.reserved;
  bool freed = committed ? of.wakes : of.reserved > 0;
  // Who counts in the queue may have counted what was reserved twice.
  freed = freed || (of.reserved > 0 && entry->state != TallyState::known);
  return freed && owes_wake_up(*entry);
}

// Nothing here may fail.
void settle_from(int first, bool committed) {
  if (first == held_count) return;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  for (int i = first; i < held_count; ++i) held[i].wakes = settle(held[i], committed);
  LWLockRelease(activity_lock);
  for (int i = first; i < held_count; ++i)
    if (held[i].wakes) wake_another(held[i].tenant);
  held_count = first;
}

int first_of_level() {
  const int level = GetCurrentTransactionNestLevel();
  int first = held_count;
  while (first > 0 && held[first - 1].level >= level) --first;
  return first;
}

}  // namespace

void settle_permits(bool committed) {
  settle_from(0, committed);
  held = nullptr;
  held_room = 0;
}

void return_permits_of_subtransaction() { settle_from(first_of_level(), false); }

void hand_permits_over() {
  int last = first_of_level();
  for (int i = last; i < held_count; ++i) {
    Held handed = held[i];
    --handed.level;
    Held *before = last > 0 ? &held[last - 1] : nullptr;
    if (!before || before->level != handed.level || before->tenant != handed.tenant) {
      held[last++] = handed;
      continue;
    }
    before->reserved += handed.reserved;
    before->wakes = before->wakes || handed.wakes;
  }
  held_count = last;
}

void publish_running(std::int32_t tenant, std::int64_t change, std::uint64_t transaction) {
  PermitEntry *entry = change ? find_permits(tenant) : nullptr;
  if (!entry || entry->state == TallyState::unknown || entry->basis.shows(transaction)) return;
  entry->running += change;
  // A task can be cancelled before the claim's own callback has told of it, but mostly somebody
  // has written to the queue by hand: to count again is right in both.
  if (entry->state == TallyState::known && entry->running < 0) entry->state = TallyState::unknown;
}

std::int64_t free_permits(const Permits &of) {
  if (!shared_permits) return permits_unknown;
  LWLockAcquire(activity_lock, LW_SHARED);
  const std::int64_t free = free_by(find_permits(of.tenant), of);
  LWLockRelease(activity_lock);
  return free;
}

std::int64_t await_permit(const Permits &of) {
  if (!shared_permits) return permits_unknown;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  PermitEntry *entry = find_permits(of.tenant);
  const std::int64_t free = free_by(entry, of);
  if (entry && free <= 0) entry->turned_away = std::min<std::int64_t>(entry->turned_away + 1, shared->slots);
  LWLockRelease(activity_lock);
  return free;
}

std::int64_t reserve_permits(const Permits &of, int wanted) {
  if (!shared_permits) return permits_unknown;
  Held &mine = held_of(of.tenant);
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  PermitEntry *entry = find_permits(of.tenant);
  const std::int64_t reserved = std::min<std::int64_t>(wanted, free_by(entry, of));
  if (reserved > 0) {
    entry->reserved += reserved;
    mine.reserved += reserved;
  }
  LWLockRelease(activity_lock);
  return reserved;
}

std::int64_t reserve_permits_ahead(const Permits &of, int wanted) {
  if (!shared_permits) return 0;
  Held &mine = held_of(of.tenant);
  const std::int64_t here = reserved_here(of.tenant);
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  PermitEntry *entry = make_permits(of.tenant);
  const std::int64_t others = entry ? entry->reserved - here : 0;
  if (entry) {
    entry->reserved += wanted;
    mine.reserved += wanted;
  }
  LWLockRelease(activity_lock);
  return others;
}

std::int64_t permits_reserved_by_others(std::int32_t tenant) {
  if (!shared_permits) return 0;
  LWLockAcquire(activity_lock, LW_SHARED);
  const PermitEntry *entry = find_permits(tenant);
  const std::int64_t reserved = entry ? entry->reserved : 0;
  LWLockRelease(activity_lock);
  return reserved ? reserved - reserved_here(tenant) : 0;
}

Snapshot begin_counting_running(const Permits &of) {
  // What a transaction has written itself its snapshot shows.
  if (!shared_permits || TransactionIdIsValid(GetTopTransactionIdIfAny())) return nullptr;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  PermitEntry *entry = find_permits(of.tenant);
  Snapshot snapshot = nullptr;
  // Who has published before had committed before, so that this snapshot shows it.
  if (entry && (!is_known(*entry, of) || is_old(*entry))) snapshot = GetLatestSnapshot();
  if (snapshot && entry->basis.take(*snapshot)) {
    entry->state = TallyState::counting;
    entry->work = of.work;
    entry->running = 0;
  } else {
    snapshot = nullptr;
  }
  LWLockRelease(activity_lock);
  return snapshot;
}

void end_counting_running(const Permits &of, std::int64_t running) {
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  PermitEntry *entry = find_permits(of.tenant);
  if (entry && entry->state == TallyState::counting) {
    entry->running += running;
    entry->state = TallyState::known;
    entry->counted_at = passing_time();
  }
  LWLockRelease(activity_lock);
}

void return_permits(std::int32_t tenant, int count) {
  if (!shared_permits || count == 0) return;
  Held &mine = held_of(tenant);
  if (mine.reserved < count) return;  // there is no entry
  mine.reserved -= count;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  PermitEntry *entry = find_permits(tenant);
  if (entry) entry->reserved -= count;
  const bool wake = entry && owes_wake_up(*entry);
  LWLockRelease(activity_lock);
  if (wake) wake_another(tenant);
}

void leave_work_for_permits(const Permits &of) {
  // Some may have come back meanwhile.
  if (await_permit(of) > 0) wake_another(of.tenant);
}

void mark_permit(std::int32_t tenant) {
  if (shared_permits) held_of(tenant).wakes = true;
}

void forget_running() {
  if (!shared_permits) return;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_permits);
  while (auto *entry = static_cast<PermitEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == MyDatabaseId) entry->state = TallyState::unknown;
  LWLockRelease(activity_lock);
}

}  // namespace insula
