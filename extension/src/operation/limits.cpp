// What a tenant's limits let it do.  Running tasks are counted where they stand, in the
// queue index, so that no count can be wrong; whoever claims for a tenant whose claims are
// bounded holds its permits until the claim commits, so that two claims never count the
// same permit.  Nobody waits for the permits: who finds them held comes back empty, and
// whoever lets go of them wakes the next.
#include <algorithm>
#include <cmath>

#include "errors.hpp"
#include "operation/operations.hpp"
#include "shared/shared.hpp"
#include "storage/record.hpp"
#include "tenant/lock.hpp"

namespace insula {

namespace {

// The rate limit is a bucket that holds one second's worth of starts, and at least one:
// `spent` is the moment up to which it has been emptied.
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

std::int64_t free_permits(const Tenant &tenant, std::int64_t wanted) {
  if (tenant.limits.max_running < 0) return wanted;
  const std::int64_t most = tenant.limits.max_running;
  return std::min(wanted, most - running_at_most(tenant, most));
}

std::int64_t free_starts(const Tenant &tenant, TimestampTz now, std::int64_t wanted) {
  if (tenant.limits.rate <= 0) return wanted;
  const Bucket bucket = bucket_of(tenant, now);
  const double starts = static_cast<double>(now - bucket.spent) / bucket.interval;
  return starts >= static_cast<double>(wanted) ? wanted : static_cast<std::int64_t>(starts);
}

}  // namespace

int take_permits(const Tenant &tenant, TimestampTz now, int wanted) {
  if (!tenant.limits.bound_claims()) return wanted;
  if (!try_lock_tenant(tenant.number, TenantLock::permits)) return 0;
  // An abort must wake somebody, and so must the commit, whatever comes of this claim.
  mark_claimed(tenant.number);
  mark_ready(tenant.number, 0);
  return static_cast<int>(free_starts(tenant, now, free_permits(tenant, wanted)));
}

void use_permits(const Tenant &tenant, TimestampTz now, int count) {
  if (tenant.limits.rate <= 0 || count == 0) return;
  spend_rate(tenant, bucket_of(tenant, now).at(count));
}

bool has_permit(const Tenant &tenant, TimestampTz now, TimestampTz *next) {
  if (!tenant.limits.bound_claims()) return true;
  if (is_tenant_locked(tenant.number, TenantLock::permits)) return false;
  if (free_permits(tenant, 1) < 1) return false;
  if (free_starts(tenant, now, 1) >= 1) return true;
  *next = std::min(*next, bucket_of(tenant, now).at(1));
  return false;
}

void mark_permit_freed(const Tenant &tenant, bool limited) {
  if (limited || tenant.limits.max_running >= 0) mark_ready(tenant.number, 0);
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
