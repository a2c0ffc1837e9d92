// Reads that go through many tenants, one after another, each in a session and a subtransaction of its own, so that one
// that cannot be read leaves out no other.
#pragma once

#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "tenant/caller.hpp"
#include "tenant/in_subtransaction.hpp"

namespace insula {

template <typename Work>
void read_tenant(std::int32_t number, Work work) {
  (void)visit_in_subtransaction(number, [&] {
    const Tenant *tenant = open_untouched_tenant(number);
    if (!tenant) return;
    in_session([&] { work(*tenant); });
  });
}

// Does the work for each tenant that the filter admits.
template <typename Filter, typename Work>
void each_tenant(Filter filter, Work work) {
  int count;
  const TenantShare *tenants = all_tenants(&count);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    if (filter(tenants[i])) read_tenant(tenants[i].number, work);
  }
}

// Whether the call is for all tenants: an administrator has named none.
inline bool is_for_all(FunctionCallInfo fcinfo, int argument) {
  return !text_argument(fcinfo, argument) && is_admin() && !resolve_tenant(nullptr, Right::tenant);
}

// Does the work for the tenant of the call, or for each that the filter admits if it is for all.
template <typename Filter, typename Work>
void one_or_each_tenant(FunctionCallInfo fcinfo, int argument, Filter filter, Work work) {
  if (is_for_all(fcinfo, argument)) return each_tenant(filter, work);
  const Tenant *tenant = open_named_tenant(fcinfo, argument, Access::read);
  in_session([&] { work(*tenant); });
}

}  // namespace insula
