// The tenants that a claim or a look for all tenants goes through, in batches: those that may have claimable
// tasks, where shared memory knows them (shared/ready_tenants.hpp), and else all active ones.  Where they are
// known, a scheduler does what time causes, and these calls help only where it is late.
#pragma once

#include "operation/claim_call.hpp"
#include "shared/ready_tenants.hpp"

namespace insula {

struct ServedTenants {
  const char **tasks;  // nullptr: any
  int task_count;
  const TenantChoice &choice;
  std::uint64_t filter;  // of the tasks, for the set
  bool are_known;
  bool may_note;  // else what the transaction has done itself may be rolled back
  bool begun;
  ReadySweep sweep;         // tenants up to sweep.after have had their turn
  std::int32_t others[64];  // besides the set: tenants that the transaction has written for, or that are late
  int other_count;
  const std::int32_t *begun_with;  // the first batch, sorted
  int begun_count;
  TimestampTz next;  // the moment at which time alone adds a tenant
};

struct ServedTenant {
  ReadyTenant ready;  // version 0: nothing can be noted of it
  std::int32_t weight;
  Prospect prospect;  // what the visit has found so far
};

// To be called before the first look at any tenant, and after the session is registered as a waiter.
ServedTenants begin_serving(const char **tasks, int task_count, const TenantChoice &choice);
// The next batch, unordered; nullptr: there is none.
ServedTenant *next_batch(ServedTenants *served, int *count);

// In a visit that has claimed nothing: takes the tenant out of the set if it has no claimable task.  False: it may have
// one.
bool note_if_nothing_claimable(const ServedTenants &served, const ServedTenant &visited, const Tenant &tenant);
// In a visit that has found no claimable task.
void note_nothing_claimable(const ServedTenants &served, const ServedTenant &visited, const Tenant &tenant);
// The tenant could not be opened.
void note_not_open(const ServedTenant &visited);

}  // namespace insula
