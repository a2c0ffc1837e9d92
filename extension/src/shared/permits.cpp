// Permits in shared memory; see permits.hpp.  They are guarded by the lock of the counters.
#include "shared/permits.hpp"

#include <algorithm>

#include "core/list.hpp"
#include "shared/clock.hpp"
#include "shared/count_basis.hpp"
#include "shared/drop_counters.hpp"
#include "shared/pending.hpp"

namespace insula {

using core::Link;
using core::List;

namespace {

struct Numbers {
  std::int64_t used;       // as far as transactions have ended
  std::int64_t recounted;  // the same as of the count under way, without the rows that it will find
  std::int64_t reserved;   // by transactions under way

  bool idle() const { return used == 0 && recounted == 0 && reserved == 0; }
};

struct WorkKey {
  Oid database;
  std::int32_t tenant;
  Limited what;
};

struct LimitEntry;

struct WorkEntry {
  WorkKey key;
  bool known;
  Oid work;                 // the table that was counted
  CountBasis basis;         // of `used`
  int counter;              // the backend that counts, -1: none; its basis is that of `recounted`
  std::int64_t began_at;    // the last count, in passing time
  std::int64_t count_from;  // no count before that
  bool refused;             // permits were, since the last count
  bool is_at_least;         // more may be used than was counted
  std::uint64_t version;    // counts permits that have come back
  std::int64_t turned_away;
  std::uint64_t turned_away_ever;
  std::int64_t refused_at;     // in passing time: a permit was last; 0: one has been given since
  std::int64_t refused_limit;  // under this limit
  std::int64_t held_back;      // microseconds
  Numbers own;                 // under limit_of_tenant
  List<LimitEntry> limits;
  int limit_count;
};

struct LimitKey {
  Oid database;
  std::int32_t tenant;
  std::int64_t limit;
};

// A limit of a workflow or of a key.
struct LimitEntry {
  LimitKey key;
  WorkEntry *all;
  Link<LimitEntry> of_work;
  Numbers numbers;
};

HTAB *works = nullptr;
HTAB *limits = nullptr;
CountBasis *bases = nullptr;  // of counts under way, by backend

Size bases_size() { return mul_size(sizeof(CountBasis), static_cast<Size>(MaxBackends)); }

int room_for_works() { return 4 * shared_room.due_tenants; }

// ---- what the current transaction holds ----

struct HeldKey {
  std::int32_t tenant;
  Limited what;
  std::int64_t limit;
};

// A reservation and the tasks that it becomes are one entry, and so settled under one lock.
struct Held {
  HeldKey key;
  int level;
  int outer;
  std::int64_t reserved;
  std::int64_t used;  // more tasks, or fewer
  bool wakes;         // its end is to wake a waiter
};

Pending<Held> held;
bool forgets = false;     // its commit does
bool unreserved = false;  // it uses permits for which there was no room

// The count that this session has begun and not ended.
struct Counting {
  WorkKey key;
  std::int64_t began_at;  // 0: none
};
Counting counting = {};

Held held_around(const HeldKey &key) {
  Held all = {};
  held.for_each_of(key, [&](const Held &one) {
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

WorkEntry *find_work(std::int32_t tenant, Limited what) {
  WorkKey key = {MyDatabaseId, tenant, what};
  return static_cast<WorkEntry *>(hash_search(works, &key, HASH_FIND, nullptr));
}

bool is_full() { return hash_get_num_entries(works) >= room_for_works(); }

// nullptr: there is no room.
WorkEntry *make_work(const LimitedWork &of) {
  WorkKey key = {MyDatabaseId, of.tenant, of.what};
  bool found;
  auto *all = static_cast<WorkEntry *>(hash_search(works, &key, HASH_ENTER_NULL, &found));
  if (!all || found) return all;
  all->known = false;
  all->work = InvalidOid;
  all->counter = -1;
  all->began_at = all->count_from = 0;
  all->refused = all->is_at_least = false;
  all->refused_at = all->refused_limit = all->held_back = 0;
  all->version = 0;
  // Sessions that were turned away before were not counted.
  all->turned_away = waiting_sessions();
  all->turned_away_ever = 1;
  all->own = {0, 0, 0};
  all->limits.clear();
  all->limit_count = 0;
  return all;
}

LimitEntry *find_limit(std::int32_t tenant, std::int64_t limit) {
  LimitKey key = {MyDatabaseId, tenant, limit};
  return static_cast<LimitEntry *>(hash_search(limits, &key, HASH_FIND, nullptr));
}

// One tenant may have four fifths of the room: one call claims up to ten thousand tasks.
constexpr int times_the_free = 4;

// nullptr: there is no room, or the tenant has its share.
LimitEntry *make_limit(WorkEntry &all, std::int64_t limit) {
  if (LimitEntry *known = find_limit(all.key.tenant, limit)) return known;
  const long free = shared_room.counted_limits - hash_get_num_entries(limits);
  if (!has_share(all.limit_count / times_the_free, free)) return nullptr;
  LimitKey key = {MyDatabaseId, all.key.tenant, limit};
  auto *entry = static_cast<LimitEntry *>(hash_search(limits, &key, HASH_ENTER_NULL, nullptr));
  if (!entry) return nullptr;
  entry->numbers = {0, 0, 0};
  entry->all = &all;
  all.limits.append(entry, &entry->of_work);
  ++all.limit_count;
  return entry;
}

void remove_if_idle(LimitEntry *entry) {
  if (!entry->numbers.idle()) return;
  entry->of_work.remove();
  --entry->all->limit_count;
  hash_search(limits, &entry->key, HASH_REMOVE, nullptr);
}

Numbers *find_numbers(WorkEntry &all, std::int64_t limit) {
  if (all.key.what != Limited::workflows) return &all.own;
  LimitEntry *entry = find_limit(all.key.tenant, limit);
  return entry ? &entry->numbers : nullptr;
}

Numbers *make_numbers(WorkEntry &all, std::int64_t limit) {
  if (all.key.what != Limited::workflows) return &all.own;
  LimitEntry *entry = make_limit(all, limit);
  return entry ? &entry->numbers : nullptr;
}

void remove_numbers_if_idle(const WorkEntry &all, std::int64_t limit, const Numbers &numbers) {
  if (all.key.what == Limited::workflows && numbers.idle()) remove_if_idle(find_limit(all.key.tenant, limit));
}

// Where permits are refused it may be because rows were written by hand: so often it is counted again, and no more
// than that share of the time goes into it.
constexpr std::int64_t counts_share = 100;
std::int64_t between_counts(Limited what) { return (what == Limited::workflows ? 60 : 1) * USECS_PER_SEC; }

template <typename Change>
void for_all_numbers(WorkEntry &all, Change change) {
  change(all.own);
  all.limits.for_each([&](LimitEntry *entry) {
    change(entry->numbers);
    remove_if_idle(entry);
  });
}

// A count under way comes to nothing.
void stop_count(WorkEntry &all) {
  all.counter = -1;
  for_all_numbers(all, [](Numbers &numbers) { numbers.recounted = 0; });
}

// The numbers are unknown until they are counted.
void lose_count(WorkEntry &all) {
  all.count_from = 0;
  ++all.version;  // a session that has just looked shall look again
  all.known = all.is_at_least = false;
  all.counter = -1;
  for_all_numbers(all, [](Numbers &numbers) { numbers.used = numbers.recounted = 0; });
}

// To count again at once would end the same way.
void put_count_off(WorkEntry &all) { all.count_from = passing_time() + USECS_PER_SEC; }

void lose_count_for_room(WorkEntry &all) {
  lose_count(all);
  put_count_off(all);
}

bool is_known(const WorkEntry *all, const LimitedWork &of) { return all && all->known && all->work == of.work; }

bool wants_count(const WorkEntry *all, const LimitedWork &of) {
  if (!all) return !is_full();
  // What runs is counted under the permits lock, so that there a count under way was given up.
  if (of.what == Limited::queued && all->counter >= 0) return false;
  return (!is_known(all, of) || all->refused) && passing_time() >= all->count_from;
}

// Where more may be used than was counted, that tells only that there is none.
std::int64_t free_of(const WorkEntry &all, const Numbers *numbers, std::int64_t most) {
  const std::int64_t free = most - (numbers ? numbers->used + numbers->reserved : 0);
  return free > 0 && all.is_at_least ? permits_unknown : std::max<std::int64_t>(free, 0);
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
bool settle(const Held &of, WorkEntry *all, std::uint64_t transaction) {
  const bool runs = of.key.what != Limited::queued;
  if (!all) return runs && of.used < 0 && is_full();  // the sessions that wait are not known
  const bool seen = !all->known || all->basis.shows(transaction);
  const bool seen_by_count = all->counter < 0 || bases[all->counter].shows(transaction);
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
      remove_numbers_if_idle(*all, of.key.limit, *numbers);
  } else if (counts) {
    lose_count_for_room(*all);
  }
  // A claim that counts in the queue sees started tasks whose reservation has not been dropped yet.
  const bool seen_twice = of.reserved > 0 && seen;
  return runs && (of.used < of.reserved || seen_twice) && note_free(*all);
}

// Entries that are settled before other processes get the lock.
constexpr int settled_at_once = 1000;

// Nothing here may fail.
void settle_from(int first, bool committed) {
  Held *const end = held.end();
  Held *at = held.begin() + first;
  held.drop_from(first);
  // Where no limit has numbers nothing can be reserved, and a count begins with a snapshot that shows this commit.
  if (at == end || hash_get_num_entries(works) == 0) return;
  const std::uint64_t transaction = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
  while (at != end) {
    Held *const begin = at;
    WorkEntry *all = nullptr;
    LWLockAcquire(counters_lock, LW_EXCLUSIVE);
    for (; at != end && at - begin < settled_at_once; ++at) {
      const HeldKey &key = at->key;
      if (at == begin || key.tenant != at[-1].key.tenant || key.what != at[-1].key.what)
        all = find_work(key.tenant, key.what);
      if (!committed) at->used = 0;
      at->wakes = (at->used != 0 || at->reserved != 0) && settle(*at, all, transaction);
    }
    LWLockRelease(counters_lock);
    for (const Held *one = begin; one != at; ++one)
      if (one->wakes) wake_for_permit(one->key.tenant);
  }
}

// The entry that this session counts for, nullptr: none, or others have written rows since it began.
WorkEntry *find_counted(const WorkKey &key) {
  WorkEntry *all = find_work(key.tenant, key.what);
  return all && all->counter == backend_slot() && all->began_at == counting.began_at ? all : nullptr;
}

// Counts that are cancelled again and again take no more time than others.
std::int64_t next_count(const WorkEntry &all, std::int64_t now) {
  return now + std::max(between_counts(all.key.what), counts_share * (now - all.began_at));
}

void abandon_count() {
  if (counting.began_at == 0) return;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if (WorkEntry *all = find_counted(counting.key)) {
    stop_count(*all);
    if (all->known) all->count_from = next_count(*all, passing_time());
  }
  LWLockRelease(counters_lock);
  counting.began_at = 0;
}

// What was counted takes the place of what was known.  Returns whether permits may have come back by that.
bool publish_count(WorkEntry &all) {
  bool came_back = !all.known;
  for_all_numbers(all, [&](Numbers &numbers) {
    came_back = came_back || numbers.recounted < numbers.used;
    numbers.used = numbers.recounted;
    numbers.recounted = 0;
  });
  all.basis = bases[all.counter];
  all.counter = -1;
  all.known = true;
  all.refused = false;
  all.count_from = next_count(all, passing_time());
  if (came_back) ++all.version;
  return came_back;
}

void forget_now() {
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, works);
  while (auto *all = static_cast<WorkEntry *>(hash_seq_search(&scan)))
    if (all->key.database == MyDatabaseId) lose_count(*all);
  LWLockRelease(counters_lock);
}

void end_transaction(bool committed) {
  abandon_count();
  settle_from(0, committed);
  held.forget();
  if (forgets && committed) forget_now();
  forgets = unreserved = false;
}

void subtransaction_committed(SubTransactionId) {
  held.hand_over([](Held &to, const Held &from) {
    to.reserved += from.reserved;
    to.used += from.used;
  });
}

void subtransaction_aborted() {
  abandon_count();
  settle_from(held.first_here(), false);
}

HeldKey held_key(const LimitedWork &of, std::int64_t limit) { return {of.tenant, of.what, limit}; }

// What is queued for what has left the queue in the same transaction needs no more room.
std::int64_t reserved_for(Limited what, std::int64_t permits, std::int64_t freed) {
  return what == Limited::queued ? std::max<std::int64_t>(permits - freed, 0) : permits;
}

}  // namespace

const SharedPart permits_part = {
    [] {
      const Size size = add_size(hash_estimate_size(room_for_works(), sizeof(WorkEntry)),
                                 hash_estimate_size(shared_room.counted_limits, sizeof(LimitEntry)));
      return add_size(size, MAXALIGN(bases_size()));
    },
    [](bool) {
      works = make_shared_table("insula permits", room_for_works(), sizeof(WorkKey), sizeof(WorkEntry));
      limits = make_shared_table("insula limits", shared_room.counted_limits, sizeof(LimitKey), sizeof(LimitEntry));
      bool found;
      bases = static_cast<CountBasis *>(ShmemInitStruct("insula counts under way", bases_size(), &found));
    }};

void drop_permits_of(Oid database, std::int32_t tenant) {
  drop_entries_of<WorkEntry>(works, database, tenant);
  drop_entries_of<LimitEntry>(limits, database, tenant);
}

const TransactionStep permits_step = {.committed = [] { end_transaction(true); },
                                      .aborted = [] { end_transaction(false); },
                                      .subtransaction_committed = subtransaction_committed,
                                      .subtransaction_aborted = subtransaction_aborted};

bool permits_are_known(const LimitedWork &of) {
  if (!works) return false;
  LWLockAcquire(counters_lock, LW_SHARED);
  const bool known = is_known(find_work(of.tenant, of.what), of);
  LWLockRelease(counters_lock);
  return known;
}

std::int64_t free_permits(const LimitedWork &of, std::int64_t limit, std::int64_t most) {
  if (!works) return permits_unknown;
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
  if (!works) return;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if (WorkEntry *all = make_work(of)) begin_holding(*all, limit_of_tenant);
  LWLockRelease(counters_lock);
}

void note_let_through(const LimitedWork &of) {
  if (!works) return;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if (WorkEntry *all = find_work(of.tenant, of.what)) end_holding(*all, limit_of_tenant);
  LWLockRelease(counters_lock);
}

std::int64_t held_back_time(const LimitedWork &of) {
  if (!works) return 0;
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
  if (!works) return reserved;
  Held &mine = held.here(held_key(of, limit));
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
    remove_numbers_if_idle(*all, limit, *numbers);
  } else if (is_known(all, of)) {
    lose_count_for_room(*all);
  }
  if (all && !reserved.known && all->is_at_least) lose_count(*all);
  LWLockRelease(counters_lock);
  if (mine.reserved == 0 && mine.used == 0) held.drop_if_last(mine);
  return reserved;
}

void return_permits(const LimitedWork &of, std::int64_t limit, const Reserved &reserved) {
  if (!works || reserved.count == 0) return;
  Held &mine = held.here(held_key(of, limit));
  bool wake = false;
  // Else there was no room to reserve.
  if (mine.reserved >= reserved.count) {
    mine.reserved -= reserved.count;
    LWLockAcquire(counters_lock, LW_EXCLUSIVE);
    if (WorkEntry *all = find_work(of.tenant, of.what)) {
      if (Numbers *numbers = find_numbers(*all, limit)) {
        numbers->reserved -= reserved.count;
        remove_numbers_if_idle(*all, limit, *numbers);
      }
      // A permit that came back before any session asked was not missed.
      if (all->turned_away_ever == reserved.turned_away)
        ++all->version;
      else
        wake = note_free(*all) && of.what != Limited::queued;
    }
    LWLockRelease(counters_lock);
  }
  if (mine.reserved == 0 && mine.used == 0) held.drop_if_last(mine);
  if (wake) wake_for_permit(of.tenant);
}

void note_permits_used(std::int32_t tenant, Limited what, std::int64_t limit, std::int64_t tasks) {
  if (works) held.here({tenant, what, limit}).used += tasks;
}

std::uint64_t permits_version(const LimitedWork &of) {
  if (!works) return 0;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  const WorkEntry *all = make_work(of);
  const std::uint64_t version = all ? all->version : 0;
  LWLockRelease(counters_lock);
  return version;
}

bool await_permit(const LimitedWork &of, std::uint64_t version) {
  if (!works) return true;
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

bool permits_want_count(const LimitedWork &of) {
  if (!works) return false;
  LWLockAcquire(counters_lock, LW_SHARED);
  const bool wanted = wants_count(find_work(of.tenant, of.what), of);
  LWLockRelease(counters_lock);
  return wanted;
}

Snapshot begin_counting_permits(const LimitedWork &of) {
  // Others see what it uses without a reservation only when it commits.
  if (!works || unreserved) return nullptr;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  WorkEntry *all = make_work(of);
  Snapshot snapshot = nullptr;
  // A transaction that has published had committed before, so that this snapshot shows it.
  if (all && wants_count(all, of)) snapshot = GetLatestSnapshot();
  if (snapshot && bases[backend_slot()].take(*snapshot)) {
    if (all->work != of.work) lose_count(*all);
    stop_count(*all);
    all->work = of.work;
    all->counter = backend_slot();
    all->began_at = passing_time();
    counting = {all->key, all->began_at};
  } else if (snapshot) {
    put_count_off(*all);
    snapshot = nullptr;
  }
  LWLockRelease(counters_lock);
  return snapshot;
}

bool end_counting_permits(const LimitedWork &of, const LimitCount *counts, int count, bool is_all) {
  bool came_back = false;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if (WorkEntry *all = find_counted({MyDatabaseId, of.tenant, of.what})) {
    bool fits = true;
    const auto add = [&](std::int64_t limit, std::int64_t used) {
      Numbers *numbers = fits && used != 0 ? make_numbers(*all, limit) : nullptr;
      if (numbers) numbers->recounted += used;
      fits = fits && (numbers || used == 0);
    };
    for (int i = 0; i < count; ++i) add(counts[i].limit, counts[i].used);
    // The snapshot shows what this transaction has done, which is added when it is committed.
    for (const Held &one : held)
      if (one.key.tenant == of.tenant && one.key.what == of.what) add(one.key.limit, -one.used);
    if (fits) {
      came_back = publish_count(*all);
      all->is_at_least = !is_all;
    } else {
      lose_count_for_room(*all);
    }
  }
  LWLockRelease(counters_lock);
  counting.began_at = 0;
  return came_back;
}

Ahead reserve_permits_ahead(const LimitedWork &of, std::int64_t limit, std::int64_t wanted) {
  if (!works) return {};
  Held &mine = held.here(held_key(of, limit));
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
    remove_numbers_if_idle(*all, limit, *numbers);
  }
  LWLockRelease(counters_lock);
  unreserved = unreserved || !numbers;
  if (mine.reserved == 0 && mine.used == 0) held.drop_if_last(mine);
  return ahead;
}

std::int64_t permits_reserved_by_others(const LimitedWork &of, std::int64_t limit) {
  if (!works) return 0;
  LWLockAcquire(counters_lock, LW_SHARED);
  WorkEntry *all = find_work(of.tenant, of.what);
  const Numbers *numbers = all ? find_numbers(*all, limit) : nullptr;
  const std::int64_t reserved = numbers ? numbers->reserved : 0;
  LWLockRelease(counters_lock);
  return reserved ? reserved - held_around(held_key(of, limit)).reserved : 0;
}

bool read_reserved(const LimitedWork &of, LimitCount **counts, int *count) {
  *counts = nullptr;
  *count = 0;
  if (!works) return true;
  const auto room = static_cast<Size>(most_entries(shared_room.counted_limits));
  *counts = static_cast<LimitCount *>(MemoryContextAllocHuge(CurrentMemoryContext, sizeof(LimitCount) * room));
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
  if (!works) return;
  forget_now();
  // Others see what this transaction has written itself only then.
  forgets = true;
}

long limits_of_tenants() { return works ? hash_get_num_entries(works) : 0; }

long counted_limits() { return limits ? hash_get_num_entries(limits) : 0; }

}  // namespace insula
