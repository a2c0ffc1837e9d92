// The size and the tenants of the next claim.  Pure.
#pragma once

#include "wire/calls.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace insula::detail {

struct Share {
  std::size_t max_tasks = 0;  // 0: nothing
  wire::TenantChoice choice = {};
};

// What bounds a claim.  0: any number.
struct Caps {
  int max_per_tenant = 0;                 // handlers at a time
  int max_tenants = 0;                    // whose handlers run at a time
  std::vector<std::string> crowded = {};  // get nothing; sorted
};

// A claim knows but one number for all tenants, which is what the tenant with the least room has.  That
// would hold back all the others where one is nearly full: so `wide` leaves out those that have less than
// half of their room, for a claim between two that do not.
Share share_of(const std::map<std::string, int>& running, std::size_t slots, const Caps& caps, bool wide = false);

// Whether `now` allows what `before` did not.
bool is_wider(const wire::TenantChoice& now, const wire::TenantChoice& before);

}  // namespace insula::detail
