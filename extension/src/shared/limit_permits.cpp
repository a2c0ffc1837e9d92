// Permits of limits in shared memory; see limit_permits.hpp.  They are guarded by the lock of the
// counters, whose callbacks settle them.
#include "shared/limit_permits.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/shared.hpp"
#include "shared/state.hpp"

extern "C" {
#include "access/xact.h"
}

namespace insula {

HTAB *shared_limited = nullptr;
HTAB *shared_limits = nullptr;

namespace {

// ---- what the current transaction holds ----

struct Held {
  std::int64_t limit;
  std::int32_t tenant;
  int level;  // of the subtransaction
  int reserved;
  int started;  // tasks, less those that run no more
  bool wakes;   // its end is to wake somebody
};

Held *held = nullptr;  // in TopTransactionContext, in the order in which it came
int held_count = 0;
int held_room = 0;
bool forgets = false;     // its commit does
bool ends_some = false;   // tasks under limits
bool unreserved = false;  // it has taken a permit for which there was no room

// What follows on the same belongs to the same.
Held &held_of(std::int32_t tenant, std::int64_t limit) {
  const int level = GetCurrentTransactionNestLevel();
  if (held_count > 0) {
    Held &last = held[held_count - 1];
    if (last.tenant == tenant && last.limit == limit && last.level == level) return last;
  }
  if (held_count == held_room) {
    const int room = held_room ? 2 * held_room : 128;
    const Size size = sizeof(Held) * static_cast<Size>(room);
    held = static_cast<Held *>(held ? repalloc_huge(held, size) : MemoryContextAlloc(TopTransactionContext, size));
    held_room = room;
  }
  held[held_count] = {limit, tenant, level, 0, 0, false};
  return held[held_count++];
}

std::int64_t sum_here(std::int32_t tenant, std::int64_t limit, int Held::*number) {
  std::int64_t sum = 0;
  for (int i = 0; i < held_count; ++i)
    if (held[i].tenant == tenant && held[i].limit == limit) sum += held[i].*number;
  return sum;
}

// What this transaction has ended runs no more for its own claims, though it did before, or its
// permit is reserved still: if that is rolled back, what it has claimed since is as well.
std::int64_t freed_here(std::int32_t tenant, std::int64_t limit) {
  if (!ends_some) return 0;
  return sum_here(tenant, limit, &Held::reserved) - sum_here(tenant, limit, &Held::started);
}

// ---- under the lock ----

LimitedEntry *find_limited(std::int32_t tenant) {
  DueKey key = {MyDatabaseId, tenant};
  return static_cast<LimitedEntry *>(hash_search(shared_limited, &key, HASH_FIND, nullptr));
}

LimitedEntry *make_limited(std::int32_t tenant) {
  DueKey key = {MyDatabaseId, tenant};
  bool found;
  auto *entry = static_cast<LimitedEntry *>(hash_search(shared_limited, &key, HASH_ENTER_NULL, &found));
  if (!entry || found) return entry;
  entry->state = TallyState::unknown;
  entry->work = InvalidOid;
  entry->count_from = 0;
  entry->refused = false;
  entry->version = 0;
  // Who was turned away before was not counted.
  entry->turned_away = waiting_sessions();
  return entry;
}

LimitEntry *find_limit(std::int32_t tenant, std::int64_t limit) {
  LimitKey key = {MyDatabaseId, tenant, limit};
  return static_cast<LimitEntry *>(hash_search(shared_limits, &key, HASH_FIND, nullptr));
}

// nullptr: there is no room.
LimitEntry *make_limit(std::int32_t tenant, std::int64_t limit) {
  LimitKey key = {MyDatabaseId, tenant, limit};
  bool found;
  auto *entry = static_cast<LimitEntry *>(hash_search(shared_limits, &key, HASH_ENTER_NULL, &found));
  if (entry && !found) entry->running = entry->reserved = 0;
  return entry;
}

void remove_if_idle(LimitEntry *entry) {
  if (entry->running == 0 && entry->reserved == 0) hash_search(shared_limits, &entry->key, HASH_REMOVE, nullptr);
}

template <typename Visit>
void for_each_limit_of(std::int32_t tenant, Visit visit) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_limits);
  while (auto *entry = static_cast<LimitEntry *>(hash_seq_search(&scan)))
    if (entry->key.database == MyDatabaseId && entry->key.tenant == tenant) visit(entry);
}

void forget_running_under(std::int32_t tenant) {
  for_each_limit_of(tenant, [](LimitEntry *entry) {
    entry->running = 0;
    remove_if_idle(entry);
  });
}

// Where permits are refused it may be because rows were written by hand: so often it is counted
// again, and no more than that share of the time goes into it.
constexpr std::int64_t between_counts = 60 * USECS_PER_SEC;
constexpr std::int64_t counts_share = 100;

// Nobody knows what runs, until somebody counts.
void lose_count(LimitedEntry &all) {
  if (all.state == TallyState::unknown) return;
  all.state = TallyState::unknown;
  forget_running_under(all.key.tenant);
}

// To count again soon would end the same way.
void lose_count_for_room(LimitedEntry &all) {
  lose_count(all);
  all.count_from = passing_time() + USECS_PER_SEC;
}

bool is_known(const LimitedEntry *all, const LimitedWork &of) {
  return all && all->state == TallyState::known && all->work == of.work;
}

Permit ask(std::int32_t tenant, std::int64_t limit, std::int64_t most, LimitedEntry &all) {
  const LimitEntry *entry = find_limit(tenant, limit);
  if (most > (entry ? entry->running + entry->reserved : 0)) return Permit::given;
  all.refused = true;
  return Permit::none;
}

bool wants_count(const LimitedEntry &all) {
  return (all.state != TallyState::known || all.refused) && passing_time() >= all.count_from;
}

// A permit has come back.  Returns whether somebody is to be woken.
bool note_free(LimitedEntry *all) {
  if (!all) return true;  // nobody knows who waits
  ++all->version;
  if (all->turned_away == 0) return false;
  --all->turned_away;
  return true;
}

// Of a transaction that has committed.
void add_started(LimitedEntry &all, const Held &of, std::uint64_t transaction) {
  if (all.state == TallyState::unknown || all.basis.shows(transaction)) return;
  LimitEntry *entry = make_limit(of.tenant, of.limit);
  if (!entry) return lose_count_for_room(all);
  entry->running += of.started;
  // As for permits of tenants: mostly somebody has written to the queue by hand.
  if (all.state == TallyState::known && entry->running < 0) lose_count(all);
}

// What was reserved goes as what has become of it comes.
bool settle(const Held &of, std::uint64_t transaction) {
  LimitedEntry *all = find_limited(of.tenant);
  if (LimitEntry *entry = find_limit(of.tenant, of.limit)) entry->reserved -= of.reserved;
  if (all && of.started != 0) add_started(*all, of, transaction);
  if (LimitEntry *entry = find_limit(of.tenant, of.limit)) remove_if_idle(entry);
  // Who counts in the queue sees what has not been settled yet.
  const bool seen_twice = of.reserved > 0 && all && (all->state != TallyState::known || all->basis.shows(transaction));
  return (of.started < of.reserved || seen_twice) && note_free(all);
}

// So many are settled before others get the lock.
constexpr int settled_at_once = 1000;

// Nothing here may fail.
void settle_from(int first, bool committed) {
  const int end = held_count;
  held_count = first;
  if (first == end) return;
  const std::uint64_t transaction = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
  for (int at = first; at < end; at += settled_at_once) {
    const int last = std::min(at + settled_at_once, end);
    LWLockAcquire(activity_lock, LW_EXCLUSIVE);
    for (int i = at; i < last; ++i) {
      if (!committed) held[i].started = 0;
      held[i].wakes = (held[i].started != 0 || held[i].reserved != 0) && settle(held[i], transaction);
    }
    LWLockRelease(activity_lock);
    for (int i = at; i < last; ++i)
      if (held[i].wakes) wake_for_permit(held[i].tenant);
  }
}

int first_of_level() {
  const int level = GetCurrentTransactionNestLevel();
  int first = held_count;
  while (first > 0 && held[first - 1].level >= level) --first;
  return first;
}

void forget_now() {
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, shared_limited);
  while (auto *all = static_cast<LimitedEntry *>(hash_seq_search(&scan)))
    if (all->key.database == MyDatabaseId) lose_count(*all);
  LWLockRelease(activity_lock);
}

}  // namespace

void settle_limits(bool committed) {
  settle_from(0, committed);
  held = nullptr;
  held_room = 0;
  ends_some = unreserved = false;
  if (forgets && committed) forget_now();
  forgets = false;
}

void return_limits_of_subtransaction() { settle_from(first_of_level(), false); }

void hand_limits_over() {
  const int level = GetCurrentTransactionNestLevel();
  for (int i = first_of_level(); i < held_count; ++i) held[i].level = level - 1;
}

bool limits_are_known(const LimitedWork &of) {
  if (!shared_limits) return false;
  LWLockAcquire(activity_lock, LW_SHARED);
  const bool known = is_known(find_limited(of.tenant), of);
  LWLockRelease(activity_lock);
  return known;
}

bool limits_want_count(const LimitedWork &of) {
  if (!shared_limits) return true;
  LWLockAcquire(activity_lock, LW_SHARED);
  const LimitedEntry *all = find_limited(of.tenant);
  const bool wanted = !is_known(all, of) || wants_count(*all);
  LWLockRelease(activity_lock);
  return wanted;
}

Permit reserve_limit(const LimitedWork &of, std::int64_t limit, std::int64_t most) {
  if (!shared_limits) return Permit::unknown;
  Held &mine = held_of(of.tenant, limit);
  most += freed_here(of.tenant, limit);
  Permit permit = Permit::unknown;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  LimitedEntry *all = find_limited(of.tenant);
  if (is_known(all, of)) {
    permit = ask(of.tenant, limit, most, *all);
    LimitEntry *entry = permit == Permit::given ? make_limit(of.tenant, limit) : nullptr;
    if (entry) {
      ++entry->reserved;
      ++mine.reserved;
    } else if (permit == Permit::given) {
      lose_count_for_room(*all);
      permit = Permit::unknown;
    }
  }
  LWLockRelease(activity_lock);
  return permit;
}

Permit free_limit(const LimitedWork &of, std::int64_t limit, std::int64_t most) {
  if (!shared_limits) return Permit::unknown;
  most += freed_here(of.tenant, limit);
  Permit permit = Permit::unknown;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  LimitedEntry *all = find_limited(of.tenant);
  if (is_known(all, of)) permit = ask(of.tenant, limit, most, *all);
  LWLockRelease(activity_lock);
  return permit;
}

void return_limit(std::int32_t tenant, std::int64_t limit) {
  if (!shared_limits) return;
  Held &mine = held_of(tenant, limit);
  if (mine.reserved == 0) return;  // there was no room to reserve
  --mine.reserved;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  if (LimitEntry *entry = find_limit(tenant, limit)) {
    --entry->reserved;
    remove_if_idle(entry);
  }
  const bool wake = note_free(find_limited(tenant));
  LWLockRelease(activity_lock);
  if (wake) wake_for_permit(tenant);
}

std::uint64_t limits_version(const LimitedWork &of) {
  if (!shared_limits) return 0;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  const LimitedEntry *all = make_limited(of.tenant);
  const std::uint64_t version = all ? all->version : 0;
  LWLockRelease(activity_lock);
  return version;
}

bool await_limit(const LimitedWork &of, std::uint64_t version) {
  if (!shared_limits) return true;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  LimitedEntry *all = find_limited(of.tenant);
  const bool same = !all || all->version == version;
  if (all) all->turned_away = std::min<std::int64_t>(all->turned_away + 1, shared->slots);
  LWLockRelease(activity_lock);
  return same;
}

std::int64_t reserve_limit_ahead(const LimitedWork &of, std::int64_t limit) {
  if (!shared_limits) return 0;
  Held &mine = held_of(of.tenant, limit);
  const std::int64_t here = sum_here(of.tenant, limit, &Held::reserved);
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  LimitEntry *entry = make_limit(of.tenant, limit);
  const std::int64_t others = entry ? entry->reserved - here : 0;
  if (entry) {
    ++entry->reserved;
    ++mine.reserved;
  }
  unreserved = unreserved || !entry;
  LWLockRelease(activity_lock);
  return others;
}

Snapshot begin_counting_limits(const LimitedWork &of) {
  // What it has taken others see only when it commits.
  if (!shared_limits || unreserved) return nullptr;
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  LimitedEntry *all = make_limited(of.tenant);
  Snapshot snapshot = nullptr;
  // Who has published before had committed before, so that this snapshot shows it.
  if (all && wants_count(*all)) snapshot = GetLatestSnapshot();
  if (snapshot && all->basis.take(*snapshot)) {
    lose_count(*all);
    all->state = TallyState::counting;
    all->work = of.work;
    all->count_from = passing_time();
  } else {
    snapshot = nullptr;
  }
  LWLockRelease(activity_lock);
  return snapshot;
}

void end_counting_limits(const LimitedWork &of, const LimitCount *counts, int count) {
  LWLockAcquire(activity_lock, LW_EXCLUSIVE);
  LimitedEntry *all = find_limited(of.tenant);
  if (all && all->state == TallyState::counting) {
    bool fits = true;
    const auto add = [&](std::int64_t limit, std::int64_t running) {
      LimitEntry *entry = fits && running != 0 ? make_limit(of.tenant, limit) : nullptr;
      if (entry) entry->running += running;
      fits = fits && (entry || running == 0);
    };
    for (int i = 0; i < count; ++i) add(counts[i].limit, counts[i].running);
    // The snapshot shows them, and they are added when they are committed.
    for (int i = 0; i < held_count; ++i)
      if (held[i].tenant == of.tenant) add(held[i].limit, -held[i].started);
    if (fits) {
      all->state = TallyState::known;
      all->refused = false;
      const std::int64_t now = passing_time();
      all->count_from = now + std::max(between_counts, counts_share * (now - all->count_from));
      for_each_limit_of(of.tenant, remove_if_idle);
    } else {
      lose_count_for_room(*all);
    }
  }
  LWLockRelease(activity_lock);
}

void note_under_limit(std::int32_t tenant, std::int64_t limit, int tasks) {
  if (!shared_limits) return;
  held_of(tenant, limit).started += tasks;
  ends_some = ends_some || tasks < 0;
}

void forget_limits() {
  if (!shared_limits) return;
  forget_now();
  // What this transaction has written itself others see then.
  forgets = true;
}

}  // namespace insula
