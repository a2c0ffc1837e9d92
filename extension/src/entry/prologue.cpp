// Finding and opening the tenant of a SQL call; see prologue.hpp.
#include "entry/prologue.hpp"

#include "core/ids.hpp"
#include "entry/arguments.hpp"
#include "errors.hpp"
#include "operation/operations.hpp"
#include "tenant/caller.hpp"
#include "tenant/home.hpp"
#include "tenant/lock.hpp"

namespace insula {

const Tenant *enter_named_tenant(const char *name) { return enter_tenant(require_tenant(name, Right::tenant)->number); }

const Tenant *enter_named_tenant(FunctionCallInfo fcinfo, int argument) {
  return enter_named_tenant(text_argument(fcinfo, argument));
}

const Tenant *enter_tenant_to_submit(const char *name) {
  const std::int32_t number = joined_tenant();
  Tenant *joined = number != 0 ? find_tenant(number) : nullptr;
  const char *wanted = name ? name : tenant_of_setting();
  if (joined && (!wanted || strcmp(wanted, joined->name) == 0)) return enter_tenant(number);
  return enter_named_tenant(name);
}

const Tenant *open_named_tenant(FunctionCallInfo fcinfo, int argument, Access access) {
  const std::int32_t number = require_tenant(text_argument(fcinfo, argument), Right::tenant)->number;
  if (access == Access::write) require_home();
  const Tenant *tenant = open_tenant(number);
  if (!tenant) ereport(ERROR, (errcode(INSULA_NO_TENANT), errmsg("the tenant has been dropped")));
  return tenant;
}

const Tenant *find_tenant_of_worker(const char *name) {
  return serves_all() ? resolve_tenant(name, Right::worker) : require_tenant(name, Right::worker);
}

const Tenant *open_tenant_of_execution(std::int64_t id, Access access) {
  const Tenant *tenant = tenant_of_id(id, Right::tenant);
  if (tenant && access == Access::write) require_home();
  if (tenant) tenant = open_tenant(tenant->number);
  if (!tenant) no_such_execution(id);
  return tenant;
}

void no_such_execution(std::int64_t id) {
  ereport(ERROR, (errcode(INSULA_NO_EXECUTION), errmsg("execution %lld does not exist", static_cast<long long>(id))));
}

[[noreturn]] static void refuse_locked(std::int32_t number) {
  ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                  errmsg("another transaction locks a table of tenant %s", tenant_in_log(number)),
                  errhint("Nothing was written: ask again.")));
}

TenantOfTasks open_tenant_of_tasks(std::int64_t id, bool (*may_wait)(const Tenant &)) {
  const Tenant *tenant = tenant_of_id(id, Right::worker);
  TenantOfTasks opened = {nullptr, false, LockWait::skip};
  if (!tenant) return opened;
  require_home();
  if (may_wait && may_wait(*tenant)) opened.wait = LockWait::block;
  opened.tenant = opened.wait == LockWait::block ? open_tenant(tenant->number)
                                                 : try_open_tenant(tenant->number, &opened.locked);
  return opened;
}

const Tenant *open_tenant_of_task(std::int64_t id) {
  const TenantOfTasks opened = open_tenant_of_tasks(id, has_rights_to);
  if (opened.locked) refuse_locked(core::tenant_of(id));
  return opened.tenant;
}

const Tenant *enter_tenant_of_task(std::int64_t id) {
  const Tenant *tenant = tenant_of_id(id, Right::worker);
  if (!tenant) return nullptr;
  const std::int32_t number = tenant->number;
  (void)open_tenant_of_task(id);
  return enter_tenant(number);
}

Tenant *find_tenant_to_administer(const char *name, const char *call) {
  require_writable(call);
  Tenant *tenant = find_tenant(name);
  if (!tenant) ereport(ERROR, (errcode(INSULA_NO_TENANT), errmsg("tenant \"%s\" does not exist", name)));
  // In a copy of the database, the tenant's role may be the original's.
  require_home();
  return tenant;
}

void require_top_level(FunctionCallInfo fcinfo, const char *procedure) {
  if (!fcinfo->context || !IsA(fcinfo->context, CallContext) || castNode(CallContext, fcinfo->context)->atomic)
    ereport(ERROR, (errcode(INSULA_ATOMIC_CONTEXT), errmsg("%s cannot wait inside a transaction block", procedure),
                    errhint("CALL it by itself, outside of BEGIN and of functions.")));
}

Session open_outcome_session(const Tenant &tenant) {
  constexpr int short_wait = 20;  // milliseconds
  constexpr int joined_wait = 1000;
  const bool own = has_rights_to(tenant);
  const bool joined = joined_tenant() == tenant.number;
  const Session session = open_session();
  if (!own) limit_lock_waits(joined ? joined_wait : short_wait);
  return session;
}

}  // namespace insula
