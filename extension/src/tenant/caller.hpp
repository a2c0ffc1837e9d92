// Who calls, and for which tenant: the resolver that every entry point goes through
// before anything is locked or read.
#pragma once

#include "shared/transaction_end.hpp"
#include "tenant/tenant.hpp"

namespace insula {

enum class Right {
  tenant,  // the tenant's own calls: its role, or insula_admin
  worker,  // the calls of workers: insula_runner too
};

// insula_admin, or who may act as it.
bool is_admin();
void require_admin();

// The tenant that the call is for: the one named, else the one of the setting
// insula.tenant, else the one whose role is the current user.  nullptr: none of these.
// Raises IS001 or 42501.
Tenant *resolve_tenant(const char *named, Right right);

// The same, but none is an error.
Tenant *require_tenant(const char *named, Right right);

// The tenant that an id carries, if the caller may act for it; else nullptr.
Tenant *tenant_of_id(std::int64_t id, Right right);

// Whether the caller works for the tenant as a member of insula_runner only: then he must
// not wait for what the tenant's own transactions hold.
bool works_for_others(const Tenant &tenant);

// Whether the caller may claim for all tenants.
bool serves_all();

// Whether the role was made a tenant's own: a direct member of insula_tenant.
bool is_tenant_login(Oid role);

// Prepared transactions outlive their session and would keep a tenant from being dropped,
// so those who log in as tenants cannot make any, where the library is loaded.
extern const TransactionStep tenants_prepare_step;

void define_caller_settings();

}  // namespace insula
