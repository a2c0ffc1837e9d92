// The tenant's own lock, under a tag that no SQL can take.  Whoever gives a tenant work
// holds it shared until the end of his transaction and never waits for it; dropping the
// tenant takes it exclusively, so that afterwards nothing new can come.  Completions do
// not take it, so that running tasks can still end.
#pragma once

#include "tenant/tenant.hpp"

namespace insula {

enum class TenantLock : std::uint32_t {
  life = 1,          // submit and claim shared; drop exclusive
  numbering = 2,     // a run of local numbers; held for an instant
  registration = 3,  // workflow definitions of one tenant, one registration at a time
  permits = 4,       // what a tenant's limits let it claim; held until the claim commits
  retention = 5,     // the sweep through finished executions; held until its transaction ends
  scheduling = 6,    // of no tenant: the database's scheduler, where shared memory does not tell
};

// Shared and without waiting: false where the tenant is being dropped.
bool try_share_life(std::int32_t tenant);

// Exclusive and without waiting.
bool try_own_life(std::int32_t tenant);

// Exclusive, without waiting, until the end of the transaction.
bool try_lock_tenant(std::int32_t tenant, TenantLock kind);
// Whether another transaction holds it.
bool is_tenant_locked(std::int32_t tenant, TenantLock kind);
void lock_tenant(std::int32_t tenant, TenantLock kind);
void unlock_tenant(std::int32_t tenant, TenantLock kind);

// Until the process ends.
void lock_scheduling();

// Names that are being taken, until the end of the transaction; roles are the cluster's.
enum class NameOf : std::uint32_t { tenant = 101, schema = 102, role = 103 };
void lock_name(const char *name, NameOf kind);

// Shares the life of the tenant and opens its relations, or raises: IS001 for a tenant
// that goes or has gone, IS007 for a suspended one, IS008 in a copy.
Tenant *enter_tenant(std::int32_t number);

}  // namespace insula
