// What the two calls share that claim: insula.claim, and insula.claim_when_ready.
#pragma once

#include "entry/claimed.hpp"
#include "entry/tenant_choice.hpp"

namespace insula {

// What a call asks for.
struct ClaimCall {
  const char *worker;
  const char **tasks;  // nullptr: any
  int task_count;
  int max_tasks;
  int max_per_tenant;
  TenantChoice choice;
  std::int64_t lease;  // how long, in microseconds
};

// Arguments of both calls, which come in different places.
int max_tasks_argument(FunctionCallInfo fcinfo, int argument);
int max_per_tenant_argument(FunctionCallInfo fcinfo, int argument, int max_tasks);

// Claims what there is for the call at the time `now`, of the tenant that has been entered,
// or, with nullptr, of all that work; returns how many tasks.
int claim_now(const ClaimCall &call, const Tenant *tenant, TimestampTz now, ClaimedRows *rows);

}  // namespace insula
