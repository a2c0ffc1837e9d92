// The limits of a tenant: max_running, rate and max_queued.  Shared memory knows how many more
// tasks may run, and may be queued (shared/permits.hpp).  If it does not, rows are counted in the
// queue index, so that the count cannot be wrong.  A claim that counts for itself, or that is under a
// rate, holds the tenant's permits lock until it commits, so that no two claims count the same permit.
// No claim waits for the lock: one that finds it held returns nothing, and the lock's release wakes
// the next.
#include <algorithm>
#include <cmath>

#include "errors.hpp"
#include "operation/operations.hpp"
#include "shared/permits.hpp"
#include "shared/shared.hpp"
#include "storage/limited_rows.hpp"
#include "storage/record.hpp"
#include "tenant/lock.hpp"

namespace insula {

namespace {

// The rate limit is a bucket that holds the starts of one second, and at least one.  It has been
// emptied up to the moment `spent`.
struct Bucket {
  double interval;  // microseconds a start
  TimestampTz spent;

  TimestampTz at(std::int64_t starts) const {
    return spent + static_cast<std::int64_t>(std::ceil(static_cast<double>(starts) * interval));
  }
};

Bucket bucket_of(const Tenant &tenant, TimestampTz now) {
  const double interval = static_cast<double>(USECS_PER_SEC) / tenant.limits.rate;
  const auto depth = static_cast<std::int64_t>(std::max(interval, static_cast<double>(USECS_PER_SEC)));
  const TimestampTz spent = rate_spent(tenant);
  // A clock that was set back must not stop the tenant for longer than a bucket lasts.
  return {interval, spent > now + depth ? now : std::max(spent, now - depth)};
}

// The caller holds the permits lock; the numbers are not known.
int count_free_permits(const Tenant &tenant, int wanted) {
  const LimitedWork work = limited_work(tenant, Limited::running);
  const Ahead ahead = reserve_permits_ahead(work, limit_of_tenant, wanted);
  const std::int64_t most = tenant.limits.max_running - ahead.others;
  const std::int64_t left = most > 0 ? most - running_at_most(tenant, most) : 0;
  const auto free = static_cast<int>(std::clamp<std::int64_t>(left, 0, wanted));
  if (ahead.own.count > 0) return_permits(work, limit_of_tenant, {wanted - free});
  return free;
}

int reserve_running(const Tenant &tenant, int wanted) {
  return static_cast<int>(
      reserve_permits(limited_work(tenant, Limited::running), limit_of_tenant, tenant.limits.max_running, 1, wanted)
          .count);
}

bool is_permit_free(const Tenant &tenant, Prospect *prospect) {
  const LimitedWork work = limited_work(tenant, Limited::running);
  const std::int64_t free = free_permits(work, limit_of_tenant, tenant.limits.max_running);
  if (free != permits_unknown) return free > 0;
  if (is_tenant_locked(tenant.number, TenantLock::permits)) {
    prospect->unsure = true;
    return false;
  }
  // Reads the reservations first: when one is dropped, the count already shows the task that it became.
  const std::int64_t left = tenant.limits.max_running - permits_reserved_by_others(work, limit_of_tenant);
  return left > 0 && running_at_most(tenant, left) < left;
}

// A session that finds none is woken when one comes back.
bool find_or_await_permit(const Tenant &tenant, Prospect *prospect) {
  const LimitedWork work = limited_work(tenant, Limited::running);
  const std::uint64_t version = permits_version(work);
  if (is_permit_free(tenant, prospect)) return true;
  const bool counted = count_permits_if_wanted(tenant, Limited::running);
  const bool came_back = !await_permit(work, version);
  if ((counted || came_back) && is_permit_free(tenant, prospect)) return true;
  prospect->refused = prospect->refused || !prospect->unsure;
  return false;
}

std::int64_t free_starts(const Tenant &tenant, TimestampTz now, std::int64_t wanted) {
  if (tenant.limits.rate <= 0) return wanted;
  const Bucket bucket = bucket_of(tenant, now);
  const double starts = static_cast<double>(now - bucket.spent) / bucket.interval;
  return static_cast<std::int64_t>(std::clamp(starts, 0.0, static_cast<double>(wanted)));
}

// Beyond this number the queue is only known to be longer than its limit by far.
std::int64_t most_counted(std::int64_t max_queued) {
  return 2 * std::min<std::int64_t>(max_queued, PG_INT64_MAX / 4) + 1000;
}

struct CountResult {
  bool done = false;  // else others count the queue, or the numbers cannot be known
  bool came_back = false;
};

CountResult count_permits(const Tenant &tenant, Limited what) {
  const LimitedWork work = limited_work(tenant, what);
  const Snapshot snapshot = begin_counting_permits(work);
  if (!snapshot) return {};
  LimitCount own = {limit_of_tenant, 0};
  const LimitCount *counts = &own;
  int count = 1;
  bool is_all = true;
  if (what == Limited::running) {
    own.used = running_tasks(tenant, snapshot);
  } else if (what == Limited::queued) {
    const std::int64_t most = most_counted(tenant.limits.max_queued);
    own.used = queued_at_most(tenant, most, snapshot);
    is_all = own.used < most;
  } else {
    counts = running_by_limit(tenant, snapshot, &count);
  }
  return {true, end_counting_permits(work, counts, count, is_all)};
}

// `free`: how much room there is where it is not enough.
bool take_room(const Tenant &tenant, std::int64_t added, std::int64_t *free) {
  const std::int64_t most = tenant.limits.max_queued;
  if (most < 0 || added == 0) return true;
  const LimitedWork work = limited_work(tenant, Limited::queued);
  const auto reserve = [&] { return reserve_permits(work, limit_of_tenant, most, added, added); };
  Reserved taken = reserve();
  if (taken.count == 0 && count_permits_if_wanted(tenant, Limited::queued)) taken = reserve();
  if (taken.known) {
    *free = free_permits(work, limit_of_tenant, most);
    return taken.count > 0;
  }
  // Of two at once the later sees the other's reservation.
  const Ahead ahead = reserve_permits_ahead(work, limit_of_tenant, added);
  *free = most - ahead.others - queued_at_most(tenant, most);
  if (*free >= added) return true;
  return_permits(work, limit_of_tenant, ahead.own);
  return false;
}

}  // namespace

bool try_lock_permits(const Tenant &tenant) {
  const bool locked = try_lock_tenant(tenant.number, TenantLock::permits);
  if (locked) announce_permits_lock(tenant.number);
  return locked;
}

bool count_permits_if_wanted(const Tenant &tenant, Limited what) {
  if (!permits_want_count(limited_work(tenant, what))) return false;
  if (what == Limited::queued) return count_permits(tenant, what).done;
  if (!try_lock_permits(tenant)) return false;
  const CountResult counted = count_permits(tenant, what);
  unlock_tenant(tenant.number, TenantLock::permits);
  // Claims that found the lock held, or no permit, can go by the numbers now.
  if (counted.came_back) wake_for_permit(tenant.number);
  return counted.done;
}

int take_permits(const Tenant &tenant, TimestampTz now, int wanted) {
  const bool has_rate = tenant.limits.rate > 0;
  if (has_rate) {
    if (!try_lock_permits(tenant)) return 0;
    wanted = static_cast<int>(free_starts(tenant, now, wanted));
    (wanted == 0 ? note_held_back : note_let_through)(limited_work(tenant, Limited::starts));
  }
  if (tenant.limits.max_running < 0 || wanted == 0) return wanted;
  const int reserved = reserve_running(tenant, wanted);
  if (reserved > 0) return reserved;
  // This session counts, or another one may have by now.
  if (count_permits_if_wanted(tenant, Limited::running) || permits_are_known(limited_work(tenant, Limited::running)))
    return reserve_running(tenant, wanted);
  if (!has_rate && !try_lock_permits(tenant)) return 0;
  return count_free_permits(tenant, wanted);
}

void use_permits(const Tenant &tenant, TimestampTz now, const UsedPermits &used) {
  if (tenant.limits.max_running >= 0) {
    const LimitedWork work = limited_work(tenant, Limited::running);
    return_permits(work, limit_of_tenant, {used.given - used.used});
    // It may have left tasks: the next permit that comes back wakes a waiter, as do those that came back since.
    if (used.used == used.given && used.given < used.wanted) {
      (void)await_permit(work, 0);
      if (free_permits(work, limit_of_tenant, tenant.limits.max_running) > 0) wake_for_permit(tenant.number);
    }
  }
  if (tenant.limits.rate > 0 && used.used > 0) spend_rate(tenant, bucket_of(tenant, now).at(used.used));
}

bool has_permit_at_hand(const Tenant &tenant) {
  if (!tenant.limits.bound_claims()) return true;
  return tenant.limits.rate <= 0 &&
         free_permits(limited_work(tenant, Limited::running), limit_of_tenant, tenant.limits.max_running) > 0;
}

bool has_permit(const Tenant &tenant, TimestampTz now, Prospect *prospect) {
  if (tenant.limits.max_running >= 0 && !find_or_await_permit(tenant, prospect)) return false;
  if (tenant.limits.rate <= 0) return true;
  if (is_tenant_locked(tenant.number, TenantLock::permits)) {
    prospect->unsure = true;
    return false;
  }
  if (free_starts(tenant, now, 1) >= 1) return true;
  note_held_back(limited_work(tenant, Limited::starts));
  prospect->next = std::min(prospect->next, bucket_of(tenant, now).at(1));
  return false;
}

bool find_queue_room(const Tenant &tenant, std::int64_t added) {
  std::int64_t free;
  return take_room(tenant, added, &free);
}

void check_queue_room(const Tenant &tenant, std::int64_t added) {
  const std::int64_t most = tenant.limits.max_queued;
  std::int64_t free;
  if (take_room(tenant, added, &free)) return;
  const std::int64_t queued = most - std::max<std::int64_t>(free, 0);
  ereport(ERROR,
          (errcode(INSULA_QUEUE_FULL), errmsg("the queue of tenant \"%s\" is full", tenant.name),
           errdetail("At most %lld tasks may wait or run; %lld do, and %lld were to be added.",
                     static_cast<long long>(most), static_cast<long long>(queued), static_cast<long long>(added)),
           errhint("Submit again when some have ended, or raise max_queued with insula.set_tenant_limits().")));
}

}  // namespace insula
