// The tenants that a claim or a look for all tenants goes through: those that may have claimable tasks, where shared
// memory knows them (shared/ready_tenants.hpp), and else all active ones.  Where they are known, a scheduler does what
// time causes, and these calls help only where it is late.
//
// A look goes through batches of tenants.  A claim takes turns: how many tasks of which tenants, as the set deals them
// out by weight.
#pragma once

#include "operation/claim_call.hpp"
#include "shared/ready_tenants.hpp"

namespace insula {

// A tenant that a claim has visited.
struct VisitedTenant {
  std::int32_t tenant;
  int claimed;
  bool done;              // it has no more for this call
  std::size_t bytes = 0;  // that its tasks take
};

struct ServedTenants {
  const char **tasks;  // nullptr: any
  int task_count;
  const TenantChoice &choice;
  std::uint64_t filter;  // of the tasks, for the set
  bool are_known = false;
  bool may_note = false;  // else what the transaction has done itself may be rolled back
  bool begun = false;
  ReadySweep sweep = {};         // tenants up to sweep.after have had their turn
  std::int32_t others[64] = {};  // besides the set: tenants that the transaction has written for, or that are late
  int other_count = 0;
  const std::int32_t *begun_with = nullptr;  // the first batch of a look, sorted
  int begun_count = 0;
  TimestampTz next = DT_NOEND;              // the moment at which time alone adds a tenant
  const std::int32_t *strangers = nullptr;  // tenants for a claim that are not, or may not be, in the set
  int stranger_count = 0;
  VisitedTenant *visited = nullptr;  // by a claim
  int visited_count = 0;
  int visited_room = 0;
};

struct ServedTenant {
  ReadyTenant ready;  // version 0: nothing can be noted of it
  Prospect prospect;  // what the visit has found so far
};

// To be called before the first look at any tenant, and after the session is registered as a waiter.
ServedTenants begin_serving(const char **tasks, int task_count, const TenantChoice &choice);

// For a look: the next batch, unordered; nullptr: there is none.
ServedTenant *next_batch(ServedTenants *served, int *count);

// For a claim: the next turns; 0: no tenant has any more.
struct ClaimWish {
  int tasks;
  int most_per_tenant;
  int at_once;  // of a tenant at least these, if the claim wants them
};
inline constexpr int turns_at_once = 64;
int next_turns(ServedTenants *served, const ClaimWish &wish, ReadyTurn (&turns)[turns_at_once]);
// The bytes that the tenant's tasks take so far.
std::size_t bytes_of_visited(const ServedTenants &served, std::int32_t tenant);
// Tells what the visit has come to, and what bytes_of_visited() is now.
void note_visited(ServedTenants *served, const ReadyTurn &turn, int claimed, bool done, std::size_t bytes);

// In a visit that has claimed nothing: takes the tenant out of the set if it has no claimable task.
void note_if_nothing_claimable(const ServedTenants &served, const ServedTenant &visited, const Tenant &tenant);
// In a visit that has found no claimable task.
void note_nothing_claimable(const ServedTenants &served, const ServedTenant &visited, const Tenant &tenant);
// The tenant is put off until then.
void note_put_off(const ServedTenants &served, const ReadyTenant &visited, TimestampTz until);
// The tenant could not be opened, or is suspended.
void note_not_served(const ServedTenants &served, const ReadyTenant &visited, const Tenant *tenant);

}  // namespace insula
