// Concurrency limits of workflows, for the whole workflow or for each value of a key.  Rows
// under a limit wait in lanes of their own, so that no other claim walks over them, and in
// an index by task and limit, so that a claim goes from limit to limit and never through
// the backlog of one that is used up: it looks at as many as it serves and as are used up,
// and these are no more than tasks run.
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

// Visits limits that have waiting rows and free permits, from a random one on, each once per
// task; `visit(at, free)` says whether to go on.
template <typename Visit>
void for_each_free_limit(const Tenant &tenant, const ClaimFilter &filter, const Running &running, Visit visit) {
  const LimitPlace start = {static_cast<std::int32_t>(random_fraction() * (last_task_key_of(tenant) + 1)),
                            random_lease()};
  LimitPlace at = start;
  bool wrapped = false;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    WaitingLimit next;
    if (!next_waiting_limit(tenant, at, &next)) {
      if (wrapped) return;
      wrapped = true;
      at = {0, PG_INT64_MIN};
      continue;
    }
    if (wrapped && start < next.at) return;
    at = next.at;
    if (!is_wanted(filter, at.key)) {
      at.limit = PG_INT64_MAX;
      continue;
    }
    const std::int64_t free = definition_of(tenant, next.definition).limit.max - running.of(at.limit);
    if (free > 0 && !visit(at, free)) return;
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
  if (!has_waiting_limits(tenant)) return nullptr;
  if (!try_lock_tenant(tenant.number, TenantLock::permits)) return nullptr;
  // An abort must wake somebody, and so must the commit, whatever comes of this claim.
  mark_claimed(tenant.number);
  mark_ready(tenant.number, 0);
  auto *claimed = palloc_array_of<Claimed>(static_cast<std::size_t>(request.max_tasks));
  const ClaimFilter filter = {request.keys, request.key_count};
  auto *taken = palloc_array_of<LimitCount>(static_cast<std::size_t>(request.max_tasks));
  int taken_count = 0;
  for_each_free_limit(tenant, filter, running_tasks_by_limit(tenant), [&](LimitPlace at, std::int64_t free) {
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
  bool found = false;
  for_each_free_limit(tenant, filter, running_tasks_by_limit(tenant), [&](LimitPlace, std::int64_t) {
    found = true;
    return false;
  });
  return found;
}

}  // namespace insula
