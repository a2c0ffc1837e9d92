// Concurrency limits of workflows, for the whole workflow or for each value of a key.  Rows
// under a limit wait in lanes of their own, so that no other claim walks over them, and in
// an index by task and limit, so that a claim goes from limit to limit and never through
// the backlog of one that is used up.  It looks at so many that are used up and no more, and
// the session's next one goes on from there: a tenant with a hundred thousand of them holds up
// no other one's claims.  Only who is about to wait looks at all, and claims what he found.
//
// Running tasks are counted where they stand.  Whoever claims under limits holds the
// tenant's permits until the claim commits, so that no permit is counted twice; who finds
// them held goes without, and is woken by whoever lets go of them.
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

struct Running {
  const LimitCount *counts;
  int count;

  std::int64_t of(std::int64_t limit) const {
    const LimitCount *at =
        std::lower_bound(counts, counts + count, limit,
                         [](const LimitCount &counted, std::int64_t wanted) { return counted.limit < wanted; });
    return at != counts + count && at->limit == limit ? at->running : 0;
  }
};

Running running_tasks_by_limit(const Tenant &tenant) {
  Running running = {};
  running.counts = running_by_limit(tenant, &running.count);
  return running;
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
// others, up to a number of them; `visit(at, free)` says whether to go on.
template <typename Visit>
void for_each_free_limit(const Tenant &tenant, const ClaimFilter &filter, int most_used_up, Visit visit) {
  const Running running = running_tasks_by_limit(tenant);
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
      const std::int64_t free = definition_of(tenant, limits[i].definition).limit.max - running.of(after.limit);
      if (free > 0 && !visit(after, free)) return;
      if (free > 0 || ++used_up < most_used_up) continue;
      next_look_at(tenant) = {tenant.number, after};
      return;
    }
    if (count > 0) continue;
    if (wrapped) return;
    wrapped = true;
    after = {0, PG_INT64_MIN};
  }
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
  if (!try_lock_tenant(tenant.number, TenantLock::permits)) return nullptr;
  // An abort must wake somebody, and so must the commit, whatever comes of this claim.
  mark_claimed(tenant.number);
  mark_ready(tenant.number, 0);
  auto *claimed = palloc_array_of<Claimed>(static_cast<std::size_t>(request.max_tasks));
  const ClaimFilter filter = {request.keys, request.key_count};
  auto *taken = palloc_array_of<LimitCount>(static_cast<std::size_t>(request.max_tasks));
  int taken_count = 0;
  for_each_free_limit(tenant, filter, max_used_up, [&](LimitPlace at, std::int64_t free) {
    // The same limit may have been taken from at another task of its workflow.
    for (int i = 0; i < taken_count; ++i)
      if (taken[i].limit == at.limit) free -= taken[i].running;
    if (free <= 0) return true;
    ClaimRequest share = request;
    share.max_tasks = static_cast<int>(std::min<std::int64_t>(free, request.max_tasks - *count));
    int rows;
    const Claimed *of_limit = claim_limited_rows(tenant, share, at, &rows);
    std::copy(of_limit, of_limit + rows, claimed + *count);
    *count += rows;
    if (rows) taken[taken_count++] = {at.limit, rows};
    return *count < request.max_tasks;
  });
  return claimed;
}

bool has_claimable_limited(const Tenant &tenant, const ClaimFilter &filter) {
  if (!has_waiting_limits(tenant) || is_tenant_locked(tenant.number, TenantLock::permits)) return false;
  bool any = false;
  for_each_free_limit(tenant, filter, PG_INT32_MAX, [&](LimitPlace at, std::int64_t) {
    next_look_at(tenant) = {tenant.number, {at.key, at.limit - 1}};
    any = true;
    return false;
  });
  return any;
}

}  // namespace insula
