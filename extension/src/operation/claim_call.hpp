// A worker's call to claim: from one tenant, or from all of them by weight.
#pragma once

#include "operation/operations.hpp"

namespace insula {

// The tenants that a worker of all tenants wants to serve now; each list is sorted.
struct TenantChoice {
  const std::int32_t *only;  // nullptr: all
  int only_count;
  const std::int32_t *except;
  int except_count;

  bool admits(std::int32_t tenant) const;
  bool is_any() const { return !only && except_count == 0; }
};

struct ClaimCall {
  const char *worker;
  const char **tasks;  // nullptr: any
  int task_count;
  int max_tasks;
  int max_per_tenant;
  TenantChoice choice;
  std::int64_t lease;  // its length in microseconds
};

// Takes the claimed tasks, one after the other, for the answer.
struct ClaimOutput {
  void *self;
  // *bytes: the memory that the task takes there.  False: the caller's encoding lacks some of its text.
  bool (*put)(void *self, const Tenant &tenant, const ClaimedTask &task, TimestampTz lease_expires, std::size_t *bytes);
  // Keeps the tasks that were put since the last keep, or takes them back.
  void (*keep)(void *self);
  void (*take_back)(void *self);
};

// Claims for the call at the time `now`, from the tenant that was entered, or, with nullptr, from all
// active ones.  Returns the number of tasks.
int claim_for(const ClaimCall &call, const Tenant *tenant, TimestampTz now, const ClaimOutput &output);

}  // namespace insula
