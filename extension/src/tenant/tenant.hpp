// A tenant as a backend knows it: its number, its role, and the relations of its schema
// by Oid, each checked to be ours and untouched.  Entries live in a bounded cache that
// relation-cache invalidations empty; a pointer to one is good until the next lookup.
#pragma once

#include <cstdint>

#include "postgres.hpp"
#include "spi/plans.hpp"

namespace insula {

// What the tenant may use; -1 or 0: as much as there is.
struct Limits {
  std::int32_t max_running;   // tasks at a time
  std::int64_t max_queued;    // tasks that wait or run
  std::int32_t weight;        // share of the workers that serve all tenants
  double rate;                // task starts a second; 0: any
  std::int64_t retain_us;     // how long finished executions are kept
  std::int64_t retain_count;  // how many of them

  bool retains() const { return retain_us >= 0 || retain_count >= 0; }
  bool bound_claims() const { return max_running >= 0 || rate > 0; }
};

// Its number, the name of its schema and the Oid of `work` are what statements need of it.
struct Tenant : TenantTables {
  char name[NAMEDATALEN];
  char username[NAMEDATALEN];  // empty: the tenant has no role of its own
  Oid role;                    // InvalidOid: none, or no longer the one that was made for it
  Oid work_key;                // its primary key
  Oid work_queue;              // its queue index
  Oid work_limits;             // that of rows under limits
  Oid record;
  Oid sequence;
  bool login;  // the role may log in, unless the tenant is suspended
  bool suspended;
  Limits limits;
  bool checked;               // the relations above have been looked at
  std::uint64_t definitions;  // changes whenever the tenant's workflows may have
  Oid schema_oid;             // where the relations above are
  std::uint64_t schemas;      // when it was last looked for there
};

// By name, number or login role; nullptr if there is none.  The catalog row alone.
Tenant *find_tenant(const char *name);
Tenant *find_tenant(std::int32_t number);
Tenant *find_tenant_of_role(Oid role);

// Locks the tenant's relations for writing and makes sure that they are what they were
// made as.  Returns a fresh entry, or nullptr if the tenant has gone meanwhile; raises 55000 where they were changed.
Tenant *open_tenant(std::int32_t number);
// The same, but nullptr for a tenant whose relations somebody has changed.
Tenant *open_untouched_tenant(std::int32_t number);

struct TenantShare {
  std::int32_t number;
  std::int32_t weight;
};
// In no order.
TenantShare *active_tenants(int *count);
TenantShare *all_tenants(int *count);

// Tells every backend, at commit, that the list of tenants or one tenant's workflows changed.
void invalidate_tenants();
void invalidate_definitions(const Tenant &tenant);

void initialize_tenant_cache();

}  // namespace insula
