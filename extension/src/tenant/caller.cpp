// The resolver; see caller.hpp.  It looks only at the current user (never the session user, never a
// search_path), so it is right under SET ROLE and in an application's security definer function.
// To a caller without rights, an existing tenant looks like a missing one.
#include "tenant/caller.hpp"

#include "core/ids.hpp"
#include "errors.hpp"
#include "spi/owner.hpp"

extern "C" {
#include "catalog/pg_auth_members.h"
#include "utils/catcache.h"
}

namespace insula {

static char *tenant_setting = nullptr;

void define_caller_settings() {
  DefineCustomStringVariable("insula.tenant", "The tenant that calls without a tenant parameter act for.",
                             "Empty: the tenant whose login role is the current user.  An id names a tenant by itself.",
                             &tenant_setting, "", PGC_USERSET, 0, nullptr, nullptr, nullptr);
}

bool is_admin() { return has_privs_of_role(GetUserId(), admin_role()); }

void require_admin() {
  if (!is_admin())
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to administer tenants"),
                    errhint("This needs the privileges of role insula_admin.")));
}

bool serves_all() { return is_admin() || has_privs_of_role(GetUserId(), runner_role()); }

bool is_login_of(const Tenant &tenant) { return OidIsValid(tenant.role) && GetUserId() == tenant.role; }

bool has_rights_to(const Tenant &tenant) {
  return superuser() || is_admin() || (OidIsValid(tenant.role) && has_privs_of_role(GetUserId(), tenant.role));
}

bool is_tenant_login(Oid role) {
  const Oid group = get_role_oid("insula_tenant", true);
  if (!OidIsValid(group)) return false;
  // By the first key of the cache alone: its others differ between versions.
  CatCList *memberships = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(role));
  bool is_member = false;
  for (int i = 0; i < memberships->n_members; ++i) {
    HeapTuple row = &memberships->members[i]->tuple;
    is_member = is_member || reinterpret_cast<Form_pg_auth_members>(GETSTRUCT(row))->roleid == group;
  }
  ReleaseSysCacheList(memberships);
  return is_member;
}

static void refuse_prepare_to_tenants() {
  if (!is_tenant_login(GetSessionUserId())) return;
  ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to PREPARE a transaction"),
                  errdetail("A tenant's prepared transaction would keep the tenant from being dropped.")));
}

const TransactionStep tenants_prepare_step = {.before_prepare = refuse_prepare_to_tenants};

static bool may_act_for(const Tenant &tenant, Right right) {
  if (OidIsValid(tenant.role) && has_privs_of_role(GetUserId(), tenant.role)) return true;
  return is_admin() || (right == Right::worker && has_privs_of_role(GetUserId(), runner_role()));
}

static Tenant *resolve_named(const char *name, Right right) {
  Tenant *tenant = find_tenant(name);
  if (tenant && may_act_for(*tenant, right)) return tenant;
  if (!tenant && (is_admin() || (right == Right::worker && serves_all())))
    ereport(ERROR, (errcode(INSULA_NO_TENANT), errmsg("tenant \"%s\" does not exist", name)));
  ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for tenant \"%s\"", name),
                  errhint("This needs the privileges of the tenant's role, or of insula_admin.")));
}

const char *tenant_of_setting() { return tenant_setting && tenant_setting[0] != '\0' ? tenant_setting : nullptr; }

Tenant *resolve_tenant(const char *named, Right right) {
  if (!named) named = tenant_of_setting();
  if (named) return resolve_named(named, right);
  return find_tenant_of_role(GetUserId());
}

Tenant *require_tenant(const char *named, Right right) {
  Tenant *tenant = resolve_tenant(named, right);
  if (!tenant)
    ereport(ERROR, (errcode(INSULA_NO_TENANT), errmsg("no tenant to act for"),
                    errdetail("Role \"%s\" is not the login role of a tenant.", GetUserNameFromId(GetUserId(), false)),
                    errhint("Name one in the parameter tenant, or SET insula.tenant.")));
  return tenant;
}

Tenant *tenant_of_id(std::int64_t id, Right right) {
  if (!core::is_plausible_id(id)) return nullptr;
  Tenant *tenant = find_tenant(core::tenant_of(id));
  return tenant && may_act_for(*tenant, right) ? tenant : nullptr;
}

}  // namespace insula
