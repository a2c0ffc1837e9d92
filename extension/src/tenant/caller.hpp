// The caller's rights and tenant.  Every entry point resolves them before it locks or reads
// anything.
#pragma once

#include "shared/transaction_end.hpp"
#include "tenant/tenant.hpp"

namespace insula {

enum class Right {
  tenant,  // a tenant's calls: its role, or insula_admin
  worker,  // a worker's calls: insula_runner too
};

// Whether the caller is, or may act as, insula_admin.
bool is_admin();
void require_admin();

// The tenant of the call: the named one, else that of the setting insula.tenant, else the tenant
// whose role is the current user, else nullptr.  Raises IS001 or 42501.
Tenant *resolve_tenant(const char *named, Right right);

// The same, but raises if the call has no tenant.
Tenant *require_tenant(const char *named, Right right);

// The setting insula.tenant; nullptr: it is not set.
const char *tenant_of_setting();

// The tenant of an id, if the caller may act for it; else nullptr.
Tenant *tenant_of_id(std::int64_t id, Right right);

// Whether the caller is the tenant's login itself, which serves no other tenant.
bool is_login_of(const Tenant &tenant);
// Whether the caller has rights of its own to the tenant, and not those of insula_runner alone.
bool has_rights_to(const Tenant &tenant);

// Whether the caller may claim for all tenants.
bool serves_all();

// Whether the role is a tenant's own: a direct member of insula_tenant.
bool is_tenant_login(Oid role);

// Refuses PREPARE TRANSACTION to tenants' logins, where the library is loaded: a prepared
// transaction outlives its session and would keep the tenant from being dropped.
extern const TransactionStep tenants_prepare_step;

void define_caller_settings();

}  // namespace insula
