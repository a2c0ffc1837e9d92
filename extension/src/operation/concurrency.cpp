// Concurrency limits of workflows, for the whole workflow or for each value of a key.  A claim
// takes rows in their order and asks for a permit for each (shared/limit_permits.hpp); where it
// meets many whose limits are used up it goes from limit to limit, by an index of the rows that
// wait.  It looks at so many that are used up and no more, and the session's next one goes on from
// there: a tenant with a hundred thousand of them holds up no other one's claims.  Only who is
// about to wait looks at all, and claims what he found.
//
// Where nobody knows what runs a claim counts it under the tenant's permits lock, and makes it
// known if it can; if not it holds the lock until it commits, so that no permit is counted twice.
// Who finds the lock held goes without, and is woken by whoever lets go of it.
#include <algorithm>

#include "operation/operations.hpp"
#include "shared/shared.hpp"
#include "storage/random.hpp"
#include "tenant/lock.hpp"

extern "C" {
#include "common/hashfn.h"
#include "utils/fmgrprotos.h"
}

namespace insula {

namespace {

LimitedWork limited_work_of(const Tenant &tenant) { return {tenant.number, tenant.work}; }

// What runs, as it was counted.
struct Counted {
  const LimitCount *counts = nullptr;
  int count = 0;

  std::int64_t of(std::int64_t limit) const {
    const LimitCount *at =
        std::lower_bound(counts, counts + count, limit,
                         [](const LimitCount &counted, std::int64_t wanted) { return counted.limit < wanted; });
    return at != counts + count && at->limit == limit ? at->running : 0;
  }
};

Counted count_running(const Tenant &tenant, Snapshot snapshot) {
  Counted counted;
  counted.counts = running_by_limit(tenant, snapshot, &counted.count);
  return counted;
}

// Where permits come from: the numbers, or what was counted.
struct Permits {
  const Tenant &tenant;
  bool known;
  Counted counted = {};
  // Since it was counted, by this claim.
  std::int64_t *taken = nullptr;
  int taken_count = 0;

  LimitedWork work() const { return limited_work_of(tenant); }
  std::int64_t most(std::int32_t definition) const { return definition_of(tenant, definition).limit.max; }

  bool is_free(std::int32_t definition, std::int64_t limit) const {
    if (known) return free_limit(work(), limit, most(definition)) == Permit::given;
    return left(definition, limit) > 0;
  }

  bool take(std::int32_t definition, std::int64_t limit) {
    if (known) return reserve_limit(work(), limit, most(definition)) == Permit::given;
    if (left(definition, limit) - reserve_limit_ahead(work(), limit) <= 0) {
      return_limit(tenant.number, limit);
      return false;
    }
    taken[taken_count++] = limit;
    return true;
  }

  void give_back(std::int64_t limit) {
    return_limit(tenant.number, limit);
    if (!known) --taken_count;
  }

  std::int64_t left(std::int32_t definition, std::int64_t limit) const {
    return most(definition) - counted.of(limit) - std::count(taken, taken + taken_count, limit);
  }

  // To claim with.
  LimitGate gate() {
    return {this,
            [](void *self, std::int32_t definition, std::int64_t limit) {
              return static_cast<Permits *>(self)->take(definition, limit);
            },
            [](void *self, std::int64_t limit) { static_cast<Permits *>(self)->give_back(limit); }};
  }
  // To look with.
  LimitGate window() {
    return {this,
            [](void *self, std::int32_t definition, std::int64_t limit) {
              return static_cast<Permits *>(self)->is_free(definition, limit);
            },
            nullptr};
  }
};

// For a claim of so many: false where somebody else counts.
bool open_permits(Permits *permits, int most) {
  const Tenant &tenant = permits->tenant;
  const LimitedWork work = permits->work();
  if (permits->known && !limits_want_count(work)) return true;
  if (!try_lock_tenant(tenant.number, TenantLock::permits)) return permits->known;
  mark_permits_lock(tenant.number);
  // nullptr also where who held the lock before has counted.
  if (const Snapshot snapshot = begin_counting_limits(work)) {
    const Counted counted = count_running(tenant, snapshot);
    end_counting_limits(work, counted.counts, counted.count);
  }
  permits->known = limits_are_known(work);
  if (permits->known) return true;
  permits->counted = count_running(tenant, nullptr);
  permits->taken = palloc_array_of<std::int64_t>(static_cast<std::size_t>(most));
  return true;
}

bool is_wanted(const ClaimFilter &filter, std::int32_t key) {
  return !filter.keys || std::binary_search(filter.keys, filter.keys + filter.count, key);
}

// Used-up limits that a claim walks over before it gives up.
constexpr int max_used_up = 1000;

// Where the session's next look begins, for some tenants; others begin by chance.
struct NextLook {
  std::int32_t tenant;
  LimitPlace after;
};
NextLook next_looks[64] = {};

NextLook &next_look_at(const Tenant &tenant) { return next_looks[tenant.number % lengthof(next_looks)]; }

LimitPlace place_to_start(const Tenant &tenant) {
  NextLook &next = next_look_at(tenant);
  if (next.tenant != tenant.number)
    return {static_cast<std::int32_t>(random_fraction() * (last_task_key_of(tenant) + 1)), random_lease()};
  next.tenant = 0;
  return next.after;
}

// Visits limits that have waiting rows and free permits, each once per task, and passes by
// others, up to a number of them; `visit(at)` says whether to go on.
template <typename Visit>
void for_each_free_limit(const Permits &permits, const ClaimFilter &filter, int most_used_up, Visit visit) {
  const Tenant &tenant = permits.tenant;
  const LimitPlace start = place_to_start(tenant);
  LimitPlace after = start;
  bool wrapped = false;
  int used_up = 0;
  for (int batch = 8;; batch = std::min(batch * 2, 512)) {
    CHECK_FOR_INTERRUPTS();
    int count;
    const WaitingLimit *limits = waiting_limits(tenant, after, batch, &count);
    for (int i = 0; i < count; ++i) {
      after = limits[i].at;
      if (wrapped && start < after) return;
      if (!is_wanted(filter, after.key)) {
        after.limit = PG_INT64_MAX;
        break;
      }
      const bool free = permits.is_free(limits[i].definition, after.limit);
      if (free && !visit(after)) return;
      if (free || ++used_up < most_used_up) continue;
      next_look_at(tenant) = {tenant.number, after};
      return;
    }
    if (count > 0) continue;
    if (wrapped) return;
    wrapped = true;
    after = {0, PG_INT64_MIN};
  }
}

bool find_limited(const Tenant &tenant, const ClaimFilter &filter) {
  Permits permits = {tenant, limits_are_known(limited_work_of(tenant))};
  if (!permits.known) {
    if (is_tenant_locked(tenant.number, TenantLock::permits)) return false;
    permits.counted = count_running(tenant, nullptr);
  }
  bool whole;
  if (find_in_order(tenant, filter, permits.window(), &whole)) return true;
  if (whole) return false;
  bool any = false;
  for_each_free_limit(permits, filter, PG_INT32_MAX, [&](LimitPlace at) {
    next_look_at(tenant) = {tenant.number, {at.key, at.limit - 1}};
    any = true;
    return false;
  });
  return any;
}

}  // namespace

std::int64_t limit_key_of(const Definition &definition, Jsonb *input) {
  const auto *name = reinterpret_cast<const unsigned char *>(definition.workflow);
  const std::uint64_t workflow = hash_bytes_extended(name, static_cast<int>(strlen(definition.workflow)), 0);
  Jsonb *value = definition.limit.has_key ? value_at(definition.limit.key, input) : nullptr;
  if (!value) return static_cast<std::int64_t>(workflow);
  return DatumGetInt64(DirectFunctionCall2(jsonb_hash_extended, PointerGetDatum(value), UInt64GetDatum(workflow)));
}

Claimed *claim_limited(const Tenant &tenant, const ClaimRequest &request, int *count) {
  *count = 0;
  Permits permits = {tenant, limits_are_known(limited_work_of(tenant))};
  if (!open_permits(&permits, request.max_tasks)) return nullptr;
  auto *claimed = palloc_array_of<Claimed>(static_cast<std::size_t>(request.max_tasks));
  bool whole;
  *count = claim_in_order(tenant, request, permits.gate(), claimed, &whole);
  if (whole || *count == request.max_tasks) return claimed;
  const ClaimFilter filter = {request.keys, request.key_count};
  for_each_free_limit(permits, filter, max_used_up, [&](LimitPlace at) {
    ClaimRequest rest = request;
    rest.max_tasks -= *count;
    *count += claim_at_limit(tenant, rest, at, permits.gate(), claimed + *count);
    return *count < request.max_tasks;
  });
  return claimed;
}

bool has_claimable_limited(const Tenant &tenant, const ClaimFilter &filter) {
  if (!has_waiting_limits(tenant, filter)) return false;
  const LimitedWork work = limited_work_of(tenant);
  const std::uint64_t version = limits_version(work);
  if (find_limited(tenant, filter)) return true;
  // What comes back from now on wakes us; what has come back meanwhile nobody else need see.
  return !await_limit(work, version) && find_limited(tenant, filter);
}

}  // namespace insula
