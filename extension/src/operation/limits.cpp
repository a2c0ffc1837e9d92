// The limits of a tenant: max_running, rate and max_queued.  Shared memory knows how many more
// tasks may run (shared/permits.hpp).  If it does not, a claim counts the running tasks in the
// queue index, so that the count cannot be wrong.  A claim that counts, or that is under a rate,
// holds the tenant's permits lock until it commits, so that no two claims count the same permit.
// No claim waits for the lock: one that finds it held returns nothing, and the lock's release wakes
// the next.
#include <algorithm>
#include <cmath>

#include "errors.hpp"
#include "operation/operations.hpp"
#include "shared/permits.hpp"
#include "shared/shared.hpp"
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

LimitedWork limited_work_of(const Tenant &tenant) { return {tenant.number, tenant.work}; }

std::int64_t reserved_by_others(const Tenant &tenant) {
  LimitCount *reserved;
  int count;
  (void)read_reserved(limited_work_of(tenant), &reserved, &count);
  const LimitCount *own =
      std::find_if(reserved, reserved + count, [](const LimitCount &item) { return item.limit == limit_of_tenant; });
  return own == reserved + count ? 0 : own->running;
}

// Called under the permits lock if the numbers are unknown.  Reads the reservations first: when one is
// dropped, the count already shows the task that it became.
int count_permits(const Tenant &tenant, int wanted) {
  const LimitedWork work = limited_work_of(tenant);
  reserve_permits_ahead(work, limit_of_tenant, wanted);
  const std::int64_t most = tenant.limits.max_running - reserved_by_others(tenant);
  const std::int64_t left = most > 0 ? most - running_at_most(tenant, most) : 0;
  const auto free = static_cast<int>(std::clamp<std::int64_t>(left, 0, wanted));
  return_permits(tenant.number, limit_of_tenant, {wanted - free, 0});
  return free;
}

bool is_tenants_permit_free(const Tenant &tenant) {
  const LimitedWork work = limited_work_of(tenant);
  if (permits_are_known(work)) return is_permit_free(work, limit_of_tenant, tenant.limits.max_running);
  if (is_tenant_locked(tenant.number, TenantLock::permits)) return false;
  const std::int64_t left = tenant.limits.max_running - reserved_by_others(tenant);
  return left > 0 && running_at_most(tenant, left) < left;
}

// A session that finds none is woken when one comes back.
bool find_or_await_permit(const Tenant &tenant) {
  count_permits_if_wanted(tenant);
  const std::uint64_t version = permits_version(limited_work_of(tenant), limit_of_tenant);
  if (is_tenants_permit_free(tenant)) return true;
  return !await_permit(limited_work_of(tenant), limit_of_tenant, version) && is_tenants_permit_free(tenant);
}

std::int64_t free_starts(const Tenant &tenant, TimestampTz now, std::int64_t wanted) {
  if (tenant.limits.rate <= 0) return wanted;
  const Bucket bucket = bucket_of(tenant, now);
  const double starts = static_cast<double>(now - bucket.spent) / bucket.interval;
  return static_cast<std::int64_t>(std::clamp(starts, 0.0, static_cast<double>(wanted)));
}

}  // namespace

void count_permits_if_wanted(const Tenant &tenant) {
  const LimitedWork work = limited_work_of(tenant);
  if (!permits_want_count(work) || !try_lock_tenant(tenant.number, TenantLock::permits)) return;
  announce_permits_lock(tenant.number);
  // nullptr also where another session has counted since.
  if (const Snapshot snapshot = begin_counting_permits(work)) {
    int count;
    const LimitCount *counts = running_by_limit(tenant, snapshot, &count);
    end_counting_permits(work, counts, count);
  }
  unlock_tenant(tenant.number, TenantLock::permits);
  wake_for_permit(tenant.number);
}

int take_permits(const Tenant &tenant, TimestampTz now, int wanted) {
  if (!tenant.limits.bound_claims()) return wanted;
  const LimitedWork work = limited_work_of(tenant);
  const bool limited = tenant.limits.max_running >= 0;
  if (limited) count_permits_if_wanted(tenant);
  const bool known = limited && permits_are_known(work);
  if (known && tenant.limits.rate <= 0)
    return reserve_permits(work, limit_of_tenant, tenant.limits.max_running, wanted).count;
  if (!try_lock_tenant(tenant.number, TenantLock::permits)) return 0;
  announce_permits_lock(tenant.number);
  wanted = static_cast<int>(free_starts(tenant, now, wanted));
  if (!limited) return wanted;
  return known ? reserve_permits(work, limit_of_tenant, tenant.limits.max_running, wanted).count
               : count_permits(tenant, wanted);
}

void use_permits(const Tenant &tenant, TimestampTz now, const UsedPermits &used) {
  if (tenant.limits.max_running >= 0) {
    const LimitedWork work = limited_work_of(tenant);
    return_permits(tenant.number, limit_of_tenant, {used.given - used.used, 0});
    // It leaves work: permits that come back shall wake a session.
    if (used.used == used.given && used.given < used.wanted) {
      (void)await_permit(work, limit_of_tenant, 0);
      if (is_permit_free(work, limit_of_tenant, tenant.limits.max_running)) wake_for_permit(tenant.number);
    }
  }
  if (tenant.limits.rate > 0 && used.used > 0) spend_rate(tenant, bucket_of(tenant, now).at(used.used));
}

bool has_permit_at_hand(const Tenant &tenant) {
  if (!tenant.limits.bound_claims()) return true;
  return tenant.limits.rate <= 0 && is_permit_free(limited_work_of(tenant), limit_of_tenant, tenant.limits.max_running);
}

bool has_permit(const Tenant &tenant, TimestampTz now, TimestampTz *next) {
  if (!tenant.limits.bound_claims()) return true;
  if (tenant.limits.max_running >= 0 && !find_or_await_permit(tenant)) return false;
  if (tenant.limits.rate <= 0) return true;
  if (is_tenant_locked(tenant.number, TenantLock::permits)) return false;
  if (free_starts(tenant, now, 1) >= 1) return true;
  *next = std::min(*next, bucket_of(tenant, now).at(1));
  return false;
}

void check_queue_room(const Tenant &tenant, std::int64_t added) {
  const std::int64_t most = tenant.limits.max_queued;
  if (most < 0) return;
  const std::int64_t queued = queued_at_most(tenant, most);
  if (queued + added <= most) return;
  ereport(ERROR,
          (errcode(INSULA_QUEUE_FULL), errmsg("the queue of tenant \"%s\" is full", tenant.name),
           errdetail("At most %lld tasks may wait or run; %lld do, and %lld were to be added.",
                     static_cast<long long>(most), static_cast<long long>(queued), static_cast<long long>(added)),
           errhint("Submit again when some have ended, or raise max_queued with insula.set_tenant_limits().")));
}

}  // namespace insula
