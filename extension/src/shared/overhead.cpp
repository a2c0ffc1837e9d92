// Overhead of tenants; see overhead.hpp.  Under the lock of the counters.
#include "shared/overhead.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/drop_counters.hpp"
#include "shared/due_queue.hpp"
#include "shared/memory.hpp"
#include "shared/ready_tenants.hpp"

extern "C" {
#include "utils/guc.h"
}

namespace insula {

namespace {

// A call's share that takes no longer than this, and this for each task, is what any tenant's takes: a busy tenant is
// not put off for what it has done, but for what its tasks make that cost.
constexpr std::int64_t cost_of_share = 5000;
constexpr std::int64_t cost_of_task = 1000;

constexpr std::int64_t told_for = 300 * USECS_PER_SEC;

double share_of_core = 0.5;

struct OverheadEntry {
  TenantKey key;
  pg_atomic_uint64 time;
  core::LeakyBucket buckets[spenders];
  TimestampTz put_off_until[spenders];
  std::int64_t logged_at[log_subjects];  // in passing time
};

SharedTable<OverheadEntry> shared_overhead;

OverheadEntry *find_overhead(std::int32_t tenant) { return shared_overhead.find({MyDatabaseId, tenant}); }

// nullptr: there is no room, or the tenant may have been dropped and no later drop would remove the entry.
OverheadEntry *make_overhead(std::int32_t tenant) {
  if (!is_counted(tenant)) return nullptr;
  return shared_overhead.find_or_make({MyDatabaseId, tenant}, [](OverheadEntry &made) {
    pg_atomic_init_u64(&made.time, 0);
    std::fill(made.put_off_until, made.put_off_until + spenders, DT_NOBEGIN);
    std::fill(made.logged_at, made.logged_at + log_subjects, PG_INT64_MIN / 2);
  });
}

enum class Added { yes, not_yet, never };

// Not yet: there is no entry; never: nor may there be one.
Added add_time(std::int32_t tenant, std::int64_t microseconds) {
  LWLockAcquire(counters_lock, LW_SHARED);
  OverheadEntry *entry = find_overhead(tenant);
  if (entry) pg_atomic_fetch_add_u64(&entry->time, microseconds);
  const Added added = entry ? Added::yes : is_counted(tenant) ? Added::not_yet : Added::never;
  LWLockRelease(counters_lock);
  return added;
}

bool is_to_log(OverheadEntry *entry, LogSubject subject) {
  std::int64_t *logged_at = &entry->logged_at[static_cast<int>(subject)];
  const std::int64_t now = passing_time();
  if (now - *logged_at < between_logs) return false;
  *logged_at = now;
  return true;
}

// True: the log is to tell.
bool put_off(OverheadEntry *entry, Spender spender, std::int64_t time) {
  const TimestampTz now = clock_now();
  const auto i = static_cast<int>(spender);
  const TimestampTz until = entry->buckets[i].pour(time, now, share_of_core);
  if (until == now) return false;
  entry->put_off_until[i] = until;
  return is_to_log(entry, LogSubject::put_off);
}

PutOff lately(const OverheadEntry &entry, TimestampTz now) {
  PutOff put_off = {entry.key.tenant, {DT_NOBEGIN, DT_NOBEGIN}};
  for (int i = 0; i < spenders; ++i)
    if (is_put_off(entry.put_off_until[i], now) ||
        (entry.put_off_until[i] <= now && entry.put_off_until[i] > now - told_for))
      put_off.until[i] = entry.put_off_until[i];
  return put_off;
}

}  // namespace

const SharedPart overhead_part = {
    [] { return shared_overhead.size(shared_room.counted_workflows); },
    [](bool) { shared_overhead.attach("insula overhead", shared_room.counted_workflows); }};

void define_overhead_settings() {
  DefineCustomRealVariable(
      "insula.max_overhead", "How much of one core schedulers, and calls for several tenants, may spend on one tenant.",
      "An average of each over ten seconds of processor time; above it they put the tenant's work off. 0: any.",
      &share_of_core, share_of_core, 0, 100, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
}

double max_overhead() { return share_of_core; }

TimestampTz count_overhead(std::int32_t tenant, Spender spender, const Spent &spent, std::int64_t tasks) {
  if (!shared_overhead) return DT_NOBEGIN;
  const std::int64_t usual = spender == Spender::call ? cost_of_share + tasks * cost_of_task : 0;
  const std::int64_t charged = share_of_core > 0 ? spent.processor - usual : 0;
  const Added added = add_time(tenant, spent.time);
  if (pricing() == core::Pricing::by_time) charge_ready_tenant(tenant, spent.time, added != Added::never);
  if (added == Added::never || (charged <= 0 && added == Added::yes)) return DT_NOBEGIN;
  TimestampTz told = DT_NOBEGIN;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  if (OverheadEntry *entry = make_overhead(tenant)) {
    if (added == Added::not_yet) pg_atomic_fetch_add_u64(&entry->time, spent.time);
    if (charged > 0 && put_off(entry, spender, charged)) told = entry->put_off_until[static_cast<int>(spender)];
  }
  LWLockRelease(counters_lock);
  return told;
}

bool may_log(std::int32_t tenant, LogSubject subject) {
  if (!shared_overhead) return true;
  LWLockAcquire(counters_lock, LW_EXCLUSIVE);
  OverheadEntry *entry = make_overhead(tenant);
  const bool may = !entry || is_to_log(entry, subject);
  LWLockRelease(counters_lock);
  return may;
}

std::int64_t overhead_of(std::int32_t tenant) {
  if (!shared_overhead) return 0;
  return read_counters([tenant] {
    OverheadEntry *entry = find_overhead(tenant);
    return entry ? static_cast<std::int64_t>(pg_atomic_read_u64(&entry->time)) : 0;
  });
}

// While a test moves the clock nothing is: it stops only once nothing is due.
TimestampTz put_off_until(std::int32_t tenant, Spender spender) {
  if (!shared_overhead || share_of_core == 0 || clock_target() != DT_NOBEGIN) return DT_NOBEGIN;
  const TimestampTz now = clock_now();
  const TimestampTz until = read_counters([&]() -> TimestampTz {
    const OverheadEntry *entry = find_overhead(tenant);
    return entry ? entry->put_off_until[static_cast<int>(spender)] : DT_NOBEGIN;
  });
  return is_put_off(until, now) ? until : DT_NOBEGIN;
}

PutOff put_off_lately(std::int32_t tenant) {
  const PutOff none = {tenant, {DT_NOBEGIN, DT_NOBEGIN}};
  if (!shared_overhead || share_of_core == 0) return none;
  const TimestampTz now = clock_now();
  return read_counters([&] {
    const OverheadEntry *entry = find_overhead(tenant);
    return entry ? lately(*entry, now) : none;
  });
}

PutOff *all_put_off_lately(int *count) {
  *count = 0;
  if (!shared_overhead || share_of_core == 0) return nullptr;
  auto *all = palloc_for_all<PutOff>(shared_room.counted_workflows);
  const TimestampTz now = clock_now();
  LWLockAcquire(counters_lock, LW_SHARED);
  shared_overhead.for_each_in(MyDatabaseId, [&](const OverheadEntry &entry) {
    const PutOff found = lately(entry, now);
    if (found.any()) all[(*count)++] = found;
  });
  LWLockRelease(counters_lock);
  std::sort(all, all + *count, [](const PutOff &a, const PutOff &b) { return a.tenant < b.tenant; });
  return all;
}

void drop_overhead_of(Oid database, std::int32_t tenant) { shared_overhead.remove_of(database, tenant); }

}  // namespace insula
