// The limits of a tenant: max_running, rate and max_queued.  Shared memory knows how many more
// tasks may run (shared/permits.hpp).  If it does not, a claim counts the running tasks in the
// queue index, so that the count cannot be wrong.  A claim that counts, or that is under a rate,
// holds the tenant's permits lock until it commits, so that no two claims count the same permit.
// No claim waits for the lock: one that finds it held returns nothing, and the lock's release wakes
// the next.  It knows as well how many more tasks may be queued (shared/queue_room.hpp).
#include <algorithm>
#include <cmath>

#include "errors.hpp"
#include "operation/operations.hpp"
#include "shared/permits.hpp"
#include "shared/queue_room.hpp"
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

Permits permits_of(const Tenant &tenant) { return {tenant.number, tenant.work, tenant.limits.max_running}; }

std::int64_t count_running(const Tenant &tenant, const Permits &permits) {
  const Snapshot snapshot = begin_counting_running(permits);
  if (!snapshot) return running_at_most(tenant, permits.most);
  const std::int64_t running = running_tasks(tenant, snapshot);
  end_counting_running(permits, running);
  return running;
}

// Whether the numbers leave no permit.  They still count tasks that this transaction has ended, so
// then only a count can tell.
bool is_none(const Tenant &tenant, std::int64_t free) { return free == 0 && !ends_tasks_here(tenant.number); }

// The caller holds the permits lock.  Under a rate the numbers may be known.
int count_permits(const Tenant &tenant, int wanted) {
  if (tenant.limits.max_running < 0) return wanted;
  const Permits permits = permits_of(tenant);
  const std::int64_t reserved = reserve_permits(permits, wanted);
  if (reserved > 0 || is_none(tenant, reserved)) return static_cast<int>(reserved);
  const std::int64_t others = reserve_permits_ahead(permits, wanted);
  const std::int64_t left = permits.most - others - count_running(tenant, permits);
  const auto free = static_cast<int>(std::clamp<std::int64_t>(left, 0, wanted));
  return_permits(tenant.number, wanted - free);
  return free;
}

// Reads the reservations first: when one is dropped, the count already shows the task that it
// became.
bool counts_a_permit(const Tenant &tenant) {
  if (tenant.limits.max_running < 0) return true;
  const std::int64_t left = tenant.limits.max_running - permits_reserved_by_others(tenant.number);
  return left > 0 && running_at_most(tenant, left) < left;
}

std::int64_t free_starts(const Tenant &tenant, TimestampTz now, std::int64_t wanted) {
  if (tenant.limits.rate <= 0) return wanted;
  const Bucket bucket = bucket_of(tenant, now);
  const double starts = static_cast<double>(now - bucket.spent) / bucket.interval;
  return static_cast<std::int64_t>(std::clamp(starts, 0.0, static_cast<double>(wanted)));
}

// Makes the numbers known, unless others are about to.
void count_queue_anew(const Tenant &tenant, const QueueLimit &limit) {
  std::int64_t most;
  const Snapshot snapshot = begin_counting_queued(limit, &most);
  if (!snapshot) return;
  const std::int64_t queued = queued_at_most(tenant, most, snapshot);
  end_counting_queued(limit, queued, queued < most);
}

bool take_room(const Tenant &tenant, std::int64_t added, std::int64_t *queued) {
  const QueueLimit limit = {tenant.number, tenant.work, tenant.limits.max_queued};
  if (limit.most < 0 || added == 0) return true;
  QueueRoom room = take_queue_room(limit, added, queued);
  if (room == QueueRoom::unknown) {
    count_queue_anew(tenant, limit);
    room = take_queue_room(limit, added, queued);
  }
  if (room != QueueRoom::unknown) return room == QueueRoom::taken;
  // Of two at once the later sees the other's reservation.
  const AheadOfCount ahead = take_queue_room_ahead(limit, added);
  *queued = queued_at_most(tenant, limit.most) + ahead.others;
  if (*queued + added <= limit.most) return true;
  return_queue_room(tenant.number, ahead.taken);
  return false;
}

}  // namespace

int take_permits(const Tenant &tenant, TimestampTz now, int wanted) {
  if (!tenant.limits.bound_claims()) return wanted;
  if (tenant.limits.rate <= 0) {
    const std::int64_t reserved = reserve_permits(permits_of(tenant), wanted);
    if (reserved > 0 || is_none(tenant, reserved)) return static_cast<int>(reserved);
  }
  if (!try_lock_tenant(tenant.number, TenantLock::permits)) return 0;
  announce_permits_lock(tenant.number);
  return count_permits(tenant, static_cast<int>(free_starts(tenant, now, wanted)));
}

void use_permits(const Tenant &tenant, TimestampTz now, const UsedPermits &used) {
  if (tenant.limits.max_running >= 0) {
    return_permits(tenant.number, used.given - used.used);
    if (used.used == used.given && used.given < used.wanted) leave_work_for_permits(permits_of(tenant));
  }
  if (tenant.limits.rate > 0 && used.used > 0) spend_rate(tenant, bucket_of(tenant, now).at(used.used));
}

bool has_permit_at_hand(const Tenant &tenant) {
  if (!tenant.limits.bound_claims()) return true;
  return tenant.limits.rate <= 0 && free_permits(permits_of(tenant)) > 0;
}

bool has_permit(const Tenant &tenant, TimestampTz now, Prospect *prospect) {
  if (!tenant.limits.bound_claims()) return true;
  const std::int64_t free = tenant.limits.max_running < 0 ? permits_unknown : await_permit(permits_of(tenant));
  if (is_none(tenant, free)) {
    prospect->refused = true;
    return false;
  }
  if (free > 0 && tenant.limits.rate <= 0) return true;
  if (is_tenant_locked(tenant.number, TenantLock::permits)) {
    prospect->unsure = true;
    return false;
  }
  if (free <= 0 && !counts_a_permit(tenant)) {
    prospect->refused = true;
    return false;
  }
  if (free_starts(tenant, now, 1) >= 1) return true;
  prospect->next = std::min(prospect->next, bucket_of(tenant, now).at(1));
  return false;
}

bool find_queue_room(const Tenant &tenant, std::int64_t added) {
  std::int64_t queued;
  return take_room(tenant, added, &queued);
}

void check_queue_room(const Tenant &tenant, std::int64_t added) {
  const std::int64_t most = tenant.limits.max_queued;
  std::int64_t queued;
  if (take_room(tenant, added, &queued)) return;
  queued = std::min(queued, most);
  ereport(ERROR,
          (errcode(INSULA_QUEUE_FULL), errmsg("the queue of tenant \"%s\" is full", tenant.name),
           errdetail("At most %lld tasks may wait or run; %lld do, and %lld were to be added.",
                     static_cast<long long>(most), static_cast<long long>(queued), static_cast<long long>(added)),
           errhint("Submit again when some have ended, or raise max_queued with insula.set_tenant_limits().")));
}

}  // namespace insula
