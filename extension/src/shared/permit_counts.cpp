// Counting the rows that use permits, first or again; see permits.hpp.
#include <algorithm>

#include "shared/clock.hpp"
#include "shared/permit_table.hpp"

namespace insula {

namespace {

// The count that this session has begun and not ended.
struct Counting {
  WorkKey key;
  std::int64_t began_at;  // 0: none
};
Counting counting = {};

// Where permits are refused it may be because rows were written by hand: so often it is counted again, and no more
// than that share of the time goes into it.
constexpr std::int64_t counts_share = 100;
std::int64_t between_counts(Limited what) { return (what == Limited::workflows ? 60 : 1) * USECS_PER_SEC; }

bool wants_count(const WorkEntry *all, const LimitedWork &of) {
  if (!all) return !is_full();
  // What runs is counted under the permits lock, so that there a count under way was given up.
  if (of.what == Limited::queued && all->counter >= 0) return false;
  return (!is_known(all, of) || all->refused) && passing_time() >= all->count_from;
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

// The numbers that were counted take the place of those that were known.  Returns whether permits may have come back by
// that.
bool publish_count(WorkEntry &all) {
  bool came_back = !all.known;
  for_all_numbers(all, [&](Numbers &numbers) {
    came_back = came_back || numbers.recounted < numbers.used;
    numbers.used = numbers.recounted;
    numbers.recounted = 0;
  });
  all.basis = count_bases[all.counter];
  all.counter = -1;
  all.known = true;
  all.refused = false;
  all.count_from = next_count(all, passing_time());
  if (came_back) ++all.version;
  return came_back;
}

}  // namespace

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

bool permits_want_count(const LimitedWork &of) {
  if (!limited_works) return false;
  return read_counters([&of] { return wants_count(find_work(of.tenant, of.what), of); });
}

Snapshot begin_counting_permits(const LimitedWork &of) {
  // Others see what it uses without a reservation only when it commits.
  if (!limited_works || holds_unreserved) return nullptr;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  WorkEntry *all = make_work(of);
  Snapshot snapshot = nullptr;
  // A transaction that has published had committed before, so that this snapshot shows it.
  if (all && wants_count(all, of)) snapshot = GetLatestSnapshot();
  if (snapshot && count_bases[backend_slot()].take(*snapshot)) {
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
    for (const Held &one : held_permits)
      if (one.key.tenant == of.tenant && one.key.what == of.what) add(one.key.limit, -one.used);
    if (fits) {
      came_back = publish_count(*all);
      all->is_lower_bound = !is_all;
    } else {
      lose_count_for_room(*all);
    }
  }
  LWLockRelease(counters_lock);
  counting.began_at = 0;
  return came_back;
}

}  // namespace insula
