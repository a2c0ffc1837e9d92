// The tenants that a claim or a look for all tenants goes through, in batches: those that may have claimable
// tasks, where shared memory knows them (shared/ready_tenants.hpp), and else all active ones.  Where they are
// known, a scheduler does what time causes, and these calls help only where it is late.
#pragma once

#include "operation/operations.hpp"
#include "shared/ready_tenants.hpp"

namespace insula {

struct ServedTenants {
  const char **tasks;  // nullptr: any
  int task_count;
  std::uint64_t filter;  // of these, for the set
  bool are_known;
  bool begun;
  const std::int32_t *begun_with;  // the first batch, sorted
  int begun_count;
  ReadySweep sweep;  // tenants up to sweep.after have had their turn
  TimestampTz next;  // the moment at which time alone adds a tenant
};

struct ServedTenant {
  ReadyTenant ready;  // version 0: it is not in the set
  std::int32_t weight;
};

// To be called before the first look at any tenant, and after the session is registered as a waiter.
ServedTenants begin_serving(const char **tasks, int task_count);
// The next batch, unordered; nullptr: there is none.
ServedTenant *next_batch(ServedTenants *served, int *count);

// In a visit that has claimed nothing: takes the tenant out of the set if it has no claimable task.
void note_if_nothing_claimable(const ServedTenants &served, const ServedTenant &visited, const Tenant &tenant);
// In a visit that has found no claimable task; time alone may change that at `next`.
void note_nothing_claimable(const ServedTenants &served, const ServedTenant &visited, const Tenant &tenant,
                            TimestampTz next);
// The tenant could not be opened.
void note_not_open(const ServedTenant &visited);

}  // namespace insula
