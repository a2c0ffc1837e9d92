// The size and the tenants of the next claim.  Pure.
#pragma once

#include "wire/calls.hpp"

#include <cstddef>
#include <map>
#include <string>

namespace insula::detail {

struct Share {
  std::size_t max_tasks = 0;  // 0: nothing
  wire::TenantChoice choice = {};
};

// `running` by tenant.  Neither does a tenant get more than `max_per_tenant` handlers at a time,
// nor do those of more than `max_tenants` run; 0: any number.  A claim knows but one number for
// all tenants, so it asks for what the tenant with the least room has; the next asks again.
Share share_of(const std::map<std::string, int>& running, std::size_t slots, int max_per_tenant, int max_tenants);

// Whether `now` allows what `before` did not.
bool is_wider(const wire::TenantChoice& now, const wire::TenantChoice& before);

}  // namespace insula::detail
