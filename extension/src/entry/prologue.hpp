// The prologue of SQL calls: finds the tenant that a call is for, checks the caller's rights and
// the tenants' home, opens the tenant's relations, and opens a session on them.
//
// A call that creates work for a tenant enters it: it shares the tenant's life until the end of
// the transaction.  Any other call opens it.  A caller without rights gets the same answer for a
// tenant, an execution or a task that exists as for one that does not.
#pragma once

#include <type_traits>

#include "spi/budget.hpp"
#include "spi/session.hpp"
#include "tenant/tenant.hpp"

namespace insula {

// A call that writes needs the tenants to be at home here: IS008.
enum class Access { read, write };

// The tenant named in the argument, else the one of the setting insula.tenant, else the one whose
// role is the current user; IS001 where there is none.
const Tenant *enter_named_tenant(FunctionCallInfo fcinfo, int argument);
const Tenant *enter_named_tenant(const char *name);
const Tenant *open_named_tenant(FunctionCallInfo fcinfo, int argument, Access access);

// The same for a call that submits: a transaction that is joined to a tenant's task may do so for
// that tenant without rights of its own on it, and acts for it where none is named.
const Tenant *enter_tenant_to_submit(const char *name);

// The tenant that a worker's call is for; nullptr: all tenants.
const Tenant *find_tenant_of_worker(const char *name);

// The tenant of the execution, or IS003.
const Tenant *open_tenant_of_execution(std::int64_t id, Access access);
[[noreturn]] void no_such_execution(std::int64_t id);

// The tenant of the task that a worker's call is about; nullptr: it has gone, or the caller may not
// work for it.  The second is for calls that give the tenant work: it raises IS001 for one that goes.
// A caller that has the rights of insula_runner alone does not wait where another transaction locks a relation: 55P03.
const Tenant *open_tenant_of_task(std::int64_t id);
const Tenant *enter_tenant_of_task(std::int64_t id);
// The same for a call that answers task by task.  It waits for locks only if `may_wait` says so; nullptr: never.
struct TenantOfTasks {
  const Tenant *tenant;
  bool locked;  // there is none because another transaction locks a relation
  LockWait wait;
};
TenantOfTasks open_tenant_of_tasks(std::int64_t id, bool (*may_wait)(const Tenant &));

// The tenant that an administrator's call changes, or IS001; require_admin has let the caller in.
// `call` is the call's name.
Tenant *find_tenant_to_administer(const char *name, const char *call);

// Refuses a call that must commit while it runs, where it cannot: IS010.
void require_top_level(FunctionCallInfo fcinfo, const char *procedure);

// As open_session, for calls about claimed tasks, and in transactions that are joined to one.  A caller with rights to
// the tenant waits for its locks as long as its own lock_timeout allows.  One with those of insula_runner alone, which
// may serve other tenants, waits no longer than it takes another worker's call to commit; in a transaction that is
// joined to a task of the tenant, which serves no other, for a second.
Session open_outcome_session(const Tenant &tenant);

// Runs the work within the session, closes that and returns the work's result.
template <typename Work>
auto run_in(const Session &session, Work work) {
  if constexpr (std::is_void_v<decltype(work())>) {
    work();
    close_session(session);
  } else {
    const auto result = work();
    close_session(session);
    return result;
  }
}

template <typename Work>
auto in_session(Work work) {
  begin_budget();
  return run_in(open_session(), work);
}

template <typename Work>
auto in_outcome_session(const Tenant &tenant, Work work) {
  begin_budget();
  return run_in(open_outcome_session(tenant), work);
}

}  // namespace insula
