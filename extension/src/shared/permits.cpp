// Permits in shared memory; see permits.hpp.  They are guarded by the lock of the counters.
#include "shared/permits.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/permit_table.hpp"
#include "shared/shared.hpp"

namespace insula {

Pending<Held> held_permits;
bool holds_unreserved = false;

namespace {

// ---- what the current transaction holds ----

bool forgets = false;  // its commit does

Held held_around(const HeldKey &key) {
  Held all = {};
  held_permits.for_each_of(key, [&](const Held &one) {
    all.reserved += one.reserved;
    all.used += one.used;
  });
  return all;
}

// A task that this transaction has ended uses no permit any more for the transaction itself, though the numbers still
// count it: if its end is rolled back, what was reserved since then is as well.
std::int64_t freed_here(const HeldKey &key) {
  const Held here = held_around(key);
  return here.reserved - here.used;
}

// ---- under the lock ----

// Numbers that are a lower bound can tell that no permit is free, never that one is.
std::int64_t free_of(const WorkEntry &all, const Numbers *numbers, std::int64_t most) {
  const std::int64_t free = most - (numbers ? numbers->used + numbers->reserved : 0);
  return free > 0 && all.is_lower_bound ? permits_unknown : std::max<std::int64_t>(free, 0);
}

// A permit has come back.  Returns whether a waiter is to be woken.
bool note_free(WorkEntry &all) {
  ++all.version;
  if (all.turned_away == 0) return false;
  --all.turned_away;
  return true;
}

// Drops the reservation and adds the used permits under one lock, so that no reader counts a permit twice.  Returns
// whether a waiter is to be woken.
bool publish_one(const Held &of, WorkEntry *all, std::uint64_t transaction) {
  const bool runs = of.key.what != Limited::queued;
  if (!all) return runs && of.used < 0 && is_full();  // the sessions that wait are not known
  const bool seen = !all->known || all->basis.shows(transaction);
  const bool seen_by_count = all->counter < 0 || count_bases[all->counter].shows(transaction);
  const bool counts = of.used != 0 && !(seen && seen_by_count);
  Numbers *numbers = counts ? make_numbers(*all, of.key.limit) : find_numbers(*all, of.key.limit);
  if (numbers) {
    numbers->reserved -= of.reserved;
    if (!seen) numbers->used += of.used;
    if (!seen_by_count) numbers->recounted += of.used;
    // A task can be cancelled before the claim's own callback has told of it, but mostly rows were written by hand:
    // to count again is right in both cases.
    if (numbers->used < 0)
      lose_count(*all);
    else
      remove_if_idle(*numbers);
  } else if (counts) {
    lose_count_for_room(*all);
  }
  // A claim that counts in the queue sees started tasks whose reservation has not been dropped yet.
  const bool seen_twice = of.reserved > 0 && seen;
  return runs && (of.used < of.reserved || seen_twice) && note_free(*all);
}

// Entries that are published before other processes get the lock.
constexpr int published_at_once = 1000;

// Nothing here may fail.
void publish_from(int first, bool committed) {
  Held *const end = held_permits.end();
  Held *at = held_permits.begin() + first;
  held_permits.drop_from(first);
  // Where no limit has numbers nothing can be reserved, and a count begins with a snapshot that shows this commit.
  if (at == end || limited_works.count() == 0) return;
  const std::uint64_t transaction = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
  while (at != end) {
    Held *const begin = at;
    WorkEntry *all = nullptr;
    LWLockAcquire(counters_lock, LW_EXCLUSIVE);
    for (; at != end && at - begin < published_at_once; ++at) {
      const HeldKey &key = at->key;
      if (at == begin || key.tenant != at[-1].key.tenant || key.what != at[-1].key.what)
        all = find_work(key.tenant, key.what);
      if (!committed) at->used = 0;
      at->wakes = (at->used != 0 || at->reserved != 0) && publish_one(*at, all, transaction);
    }
    LWLockRelease(counters_lock);
    for (const Held *one = begin; one != at; ++one)
      if (one->wakes) wake_for_permit(one->key.tenant);
  }
}

void forget_now() {
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  limited_works.for_each_in(MyDatabaseId, [](WorkEntry &all) { lose_count(all); });
  LWLockRelease(counters_lock);
}

void end_transaction(bool committed) {
  abandon_count();
  publish_from(0, committed);
  held_permits.forget();
  if (forgets && committed) forget_now();
  forgets = holds_unreserved = false;
}

void subtransaction_committed(SubTransactionId) {
  held_permits.hand_over([](Held &to, const Held &from) {
    to.reserved += from.reserved;
    to.used += from.used;
  });
}

void subtransaction_aborted() {
  abandon_count();
  publish_from(held_permits.first_here(), false);
}

HeldKey held_key(const LimitedWork &of, std::int64_t limit) { return {of.tenant, of.what, limit}; }

void drop_if_nothing(const Held &mine) {
  if (mine.reserved == 0 && mine.used == 0) held_permits.drop_if_last(mine);
}

// What is queued for what has left the queue in the same transaction needs no more room.
std::int64_t reserved_for(Limited what, std::int64_t permits, std::int64_t freed) {
  return what == Limited::queued ? std::max<std::int64_t>(permits - freed, 0) : permits;
}

}  // namespace

const TransactionStep permits_step = {.committed = [] { end_transaction(true); },
                                      .aborted = [] { end_transaction(false); },
                                      .subtransaction_committed = subtransaction_committed,
                                      .subtransaction_aborted = subtransaction_aborted};

bool permits_are_known(const LimitedWork &of) {
  if (!limited_works) return false;
  return read_counters([&of] { return is_known(find_work(of.tenant, of.what), of); });
}

std::int64_t free_permits(const LimitedWork &of, std::int64_t limit, std::int64_t most) {
  if (!limited_works) return permits_unknown;
  most += freed_here(held_key(of, limit));
  LWLockAcquire(counters_lock, LW_SHARED);
  WorkEntry *all = find_work(of.tenant, of.what);
  const std::int64_t free = is_known(all, of) ? free_of(*all, find_numbers(*all, limit), most) : permits_unknown;
  const bool tell = free == 0 && !all->refused;
  LWLockRelease(counters_lock);
  if (!tell) return free;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if ((all = find_work(of.tenant, of.what))) all->refused = true;
  LWLockRelease(counters_lock);
  return free;
}

// A tenant that is held back is looked at again within this time.
constexpr std::int64_t longest_between_refusals = 90 * USECS_PER_SEC;

static void count_holding(WorkEntry &all, std::int64_t now) {
  if (all.refused_at != 0) all.held_back += std::min(now - all.refused_at, longest_between_refusals);
}

static void begin_holding(WorkEntry &all, std::int64_t limit) {
  const std::int64_t now = passing_time();
  if (all.refused_at == 0) all.refused_limit = limit;
  count_holding(all, now);
  all.refused_at = now;
}

// Another limit may still hold tasks back.
static void end_holding(WorkEntry &all, std::int64_t limit) {
  if (all.refused_at == 0 || (all.refused_limit != limit && all.refused_limit != limit_of_tenant)) return;
  count_holding(all, passing_time());
  all.refused_at = 0;
}

void note_held_back(const LimitedWork &of) {
  if (!limited_works) return;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if (WorkEntry *all = make_work(of)) begin_holding(*all, limit_of_tenant);
  LWLockRelease(counters_lock);
}

void note_let_through(const LimitedWork &of) {
  if (!limited_works) return;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if (WorkEntry *all = find_work(of.tenant, of.what)) end_holding(*all, limit_of_tenant);
  LWLockRelease(counters_lock);
}

std::int64_t held_back_time(const LimitedWork &of) {
  if (!limited_works) return 0;
  LWLockAcquire(counters_lock, LW_SHARED);
  WorkEntry held = {};
  if (const WorkEntry *all = find_work(of.tenant, of.what)) {
    held.held_back = all->held_back;
    held.refused_at = all->refused_at;
  }
  LWLockRelease(counters_lock);
  count_holding(held, passing_time());
  return held.held_back;
}

Reserved reserve_permits(const LimitedWork &of, std::int64_t limit, std::int64_t most, std::int64_t least,
                         std::int64_t wanted) {
  Reserved reserved;
  if (!limited_works) return reserved;
  Held &mine = held_permits.here(held_key(of, limit));
  const std::int64_t freed = freed_here(mine.key);
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  WorkEntry *all = find_work(of.tenant, of.what);
  Numbers *numbers = is_known(all, of) ? make_numbers(*all, limit) : nullptr;
  if (numbers) {
    const std::int64_t free = free_of(*all, numbers, most + freed);
    reserved = {free >= least ? std::min(wanted, free) : 0, all->turned_away_ever, free != permits_unknown};
    all->refused = all->refused || reserved.count == 0;
    if (reserved.count == 0)
      begin_holding(*all, limit);
    else
      end_holding(*all, limit);
    const std::int64_t more = reserved.count > 0 ? reserved_for(of.what, reserved.count, freed) : 0;
    numbers->reserved += more;
    mine.reserved += more;
    remove_if_idle(*numbers);
  } else if (is_known(all, of)) {
    lose_count_for_room(*all);
  }
  if (all && !reserved.known && all->is_lower_bound) lose_count(*all);
  LWLockRelease(counters_lock);
  drop_if_nothing(mine);
  return reserved;
}

void return_permits(const LimitedWork &of, std::int64_t limit, const Reserved &reserved) {
  if (!limited_works || reserved.count == 0) return;
  Held &mine = held_permits.here(held_key(of, limit));
  bool wake = false;
  // Else there was no room to reserve.
  if (mine.reserved >= reserved.count) {
    mine.reserved -= reserved.count;
    LWLockAcquire(counters_lock, LW_EXCLUSIVE);
    if (WorkEntry *all = find_work(of.tenant, of.what)) {
      if (Numbers *numbers = find_numbers(*all, limit)) {
        numbers->reserved -= reserved.count;
        remove_if_idle(*numbers);
      }
      // A permit that came back before any session asked was not missed.
      if (all->turned_away_ever == reserved.turned_away)
        ++all->version;
      else
        wake = note_free(*all) && of.what != Limited::queued;
    }
    LWLockRelease(counters_lock);
  }
  drop_if_nothing(mine);
  if (wake) wake_for_permit(of.tenant);
}

void note_permits_used(std::int32_t tenant, Limited what, std::int64_t limit, std::int64_t tasks) {
  if (limited_works) held_permits.here({tenant, what, limit}).used += tasks;
}

std::uint64_t permits_version(const LimitedWork &of) {
  if (!limited_works) return 0;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  const WorkEntry *all = make_work(of);
  const std::uint64_t version = all ? all->version : 0;
  LWLockRelease(counters_lock);
  return version;
}

bool await_permit(const LimitedWork &of, std::uint64_t version) {
  if (!limited_works) return true;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  WorkEntry *all = make_work(of);
  const bool same = !all || all->version == version;
  if (all) {
    all->turned_away = std::min<std::int64_t>(all->turned_away + 1, MaxBackends);
    ++all->turned_away_ever;
    if (of.what != Limited::queued) begin_holding(*all, limit_of_tenant);
  }
  LWLockRelease(counters_lock);
  return same;
}

Ahead reserve_permits_ahead(const LimitedWork &of, std::int64_t limit, std::int64_t wanted) {
  if (!limited_works) return {};
  Held &mine = held_permits.here(held_key(of, limit));
  const Held here = held_around(mine.key);
  Ahead ahead = {};
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  WorkEntry *all = make_work(of);
  Numbers *numbers = all ? make_numbers(*all, limit) : nullptr;
  if (numbers) {
    ahead.others = numbers->reserved - here.reserved;
    ahead.own.count = reserved_for(of.what, wanted, here.reserved - here.used);
    numbers->reserved += ahead.own.count;
    mine.reserved += ahead.own.count;
    remove_if_idle(*numbers);
  }
  LWLockRelease(counters_lock);
  holds_unreserved = holds_unreserved || !numbers;
  drop_if_nothing(mine);
  return ahead;
}

std::int64_t permits_reserved_by_others(const LimitedWork &of, std::int64_t limit) {
  if (!limited_works) return 0;
  const std::int64_t reserved = read_counters([&] {
    WorkEntry *all = find_work(of.tenant, of.what);
    const Numbers *numbers = all ? find_numbers(*all, limit) : nullptr;
    return numbers ? numbers->reserved : 0;
  });
  return reserved ? reserved - held_around(held_key(of, limit)).reserved : 0;
}

bool read_reserved(const LimitedWork &of, LimitCount **counts, int *count) {
  *counts = nullptr;
  *count = 0;
  if (!limited_works) return true;
  *counts = palloc_for_all<LimitCount>(shared_room.counted_limits);
  LWLockAcquire(counters_lock, LW_SHARED);
  WorkEntry *all = find_work(of.tenant, of.what);
  const bool known = is_known(all, of);
  if (all)
    all->limits.for_each([&](const LimitEntry *entry) {
      if (entry->numbers.reserved > 0) (*counts)[(*count)++] = {entry->key.limit, entry->numbers.reserved};
    });
  LWLockRelease(counters_lock);
  for (int i = 0; i < *count; ++i) (*counts)[i].used -= held_around(held_key(of, (*counts)[i].limit)).reserved;
  std::sort(*counts, *counts + *count, [](const LimitCount &a, const LimitCount &b) { return a.limit < b.limit; });
  return !known;
}

void forget_permits() {
  if (!limited_works) return;
  forget_now();
  // Others see what this transaction has written itself only then.
  forgets = true;
}

}  // namespace insula
