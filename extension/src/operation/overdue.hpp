// Which tenants most likely have something that no process takes up; see overdue.cpp.
#pragma once

#include "shared/counters.hpp"
#include "tenant/tenant.hpp"

namespace insula {

struct LikelyTenant {
  std::int32_t number;
  bool served;  // tasks of it were claimed in the last minutes
};
struct LikelyTenants {
  LikelyTenant *items;  // the likeliest first
  int count;
};

// The active tenants from which a call goes on that visits `most` of them: each minute others come first of those that
// are alike, so that a call in each goes through all of them in time.
struct ActiveTenants {
  TenantShare *items;
  int count;
};
ActiveTenants active_tenants_by_turns(TimestampTz now, int most);

// Those that may have leases that have ended before then.
LikelyTenants likely_lapsed(const ActiveTenants &tenants, const ActivityReport &report, TimestampTz before);
// Those that may have ready tasks.
LikelyTenants likely_ready(const ActiveTenants &tenants, const ActivityReport &report);

}  // namespace insula
