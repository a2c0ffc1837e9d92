// The tenant's own locks, under tags that no SQL function can take.  A transaction that gives a
// tenant work shares the tenant's life until it ends, and never waits for that lock; dropping the
// tenant takes it exclusively, so that no new work comes after.  Completions do not take it, so
// that running tasks can still end.
#pragma once

#include "tenant/tenant.hpp"

namespace insula {

enum class TenantLock : std::uint32_t {
  life = 1,          // submit and claim share it; drop owns it
  numbering = 2,     // taking a run of local numbers; held for an instant
  registration = 3,  // one registration of a workflow at a time
  permits = 4,       // counting permits; held until the claim commits
  retention = 5,     // the sweep through finished executions; held until its transaction ends
  scheduling = 6,    // the database's scheduler, without shared memory; of no tenant
};

// Never waits.  False: the tenant is being dropped.
bool try_share_life(std::int32_t tenant);

// Takes it exclusively.  Never waits; false: another transaction shares it.
bool try_own_life(std::int32_t tenant);

// Takes it exclusively until the end of the transaction.  Never waits; false: another transaction
// holds it.
bool try_lock_tenant(std::int32_t tenant, TenantLock kind);
// Whether another transaction holds it.
bool is_tenant_locked(std::int32_t tenant, TenantLock kind);
void lock_tenant(std::int32_t tenant, TenantLock kind);
void unlock_tenant(std::int32_t tenant, TenantLock kind);

// Holds it until the process ends.
void lock_scheduling();

// Locks of names that are being taken, until the end of the transaction.  Role names belong to the
// cluster.
enum class NameOf : std::uint32_t { tenant = 101, schema = 102, role = 103 };
void lock_name(const char *name, NameOf kind);

// Shares the tenant's life and opens its relations.  Raises IS001 if the tenant is being or has
// been dropped, IS007 if it is suspended, IS008 in a copy.
Tenant *enter_tenant(std::int32_t number);

}  // namespace insula
