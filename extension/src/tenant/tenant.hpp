// A tenant as a backend knows it: its number, its role, and the Oids of its relations, each checked
// to be unchanged.  Entries live in a bounded cache that relation cache invalidations empty; a
// pointer to an entry is good until the next lookup.
#pragma once

#include <algorithm>
#include <cstdint>

#include "postgres.hpp"
#include "spi/plans.hpp"

namespace insula {

// -1 or 0: no limit.
struct Limits {
  std::int32_t max_running;   // running tasks
  std::int64_t max_queued;    // tasks that wait or run
  std::int32_t weight;        // share of the workers that serve all tenants
  double rate;                // task starts a second; 0: any
  std::int64_t retain_us;     // for how long finished executions are kept
  std::int64_t retain_count;  // how many finished executions are kept
  std::int64_t rule_us;       // the shortest time that a rule keeps some of them
  bool has_rules;

  bool retains() const { return retain_us >= 0 || retain_count >= 0 || rule_us >= 0; }
  bool retains_by_age() const { return retain_us >= 0 || rule_us >= 0; }
  bool bound_claims() const { return max_running >= 0 || rate > 0; }
  // How long retention rests when it has seen all finished executions.
  std::int64_t between_sweeps() const {
    constexpr std::int64_t least = 60 * USECS_PER_SEC;
    std::int64_t shortest = retain_us < 0 ? rule_us : retain_us;
    if (rule_us >= 0) shortest = std::min(shortest, rule_us);
    return shortest < 0 ? least : std::clamp<std::int64_t>(shortest / 8, least, USECS_PER_HOUR);
  }
};

// The number, the schema's name and the Oid of `work` are all that statements need.
struct Tenant : TenantTables {
  char name[NAMEDATALEN];
  char username[NAMEDATALEN];          // empty: the tenant has no role of its own
  Oid role;                            // InvalidOid: none, or the role of that name is not the recorded one
  Oid recorded_role;                   // the one that it was given
  std::uint32_t role_hash;             // its hash value in invalidations
  bool role_changed;                   // `role` is to be looked up again
  LocalTransactionId old_snapshot_of;  // the transaction on whose snapshot it was read; 0: it is as of its reading
  Oid work_key;                        // its primary key
  Oid work_queue;                      // its queue index
  Oid work_limits;                     // its index of rows under limits
  Oid record;
  Oid sequence;
  bool login;  // the role may log in, unless the tenant is suspended
  bool suspended;
  TimestampTz aside_until;  // schedulers have died in its turn: no process does what time causes; DT_NOBEGIN: none has
  Limits limits;
  bool checked;               // the relations above have been checked
  std::uint64_t definitions;  // changes when the tenant's workflows may have changed
  Oid schema_oid;             // the schema that held the relations
  std::uint64_t schemas;      // schemas_clock when the schema was last looked up

  bool is_aside() const;
};

// By name, number or login role; nullptr: none.  Reads only the row of insula.tenant.
Tenant *find_tenant(const char *name);
Tenant *find_tenant(std::int32_t number);
// The tenant's name in quotes, if the cache holds it, else "number 7".  It reads no catalog, so that an error can be
// logged where no transaction runs.
const char *tenant_in_log(std::int32_t number);
Tenant *find_tenant_of_role(Oid role);

// What a call does where another transaction holds a lock that it needs: waits for its end, or does without.
enum class LockWait { block, skip };

// Locks the tenant's relations for writing and checks them.  Returns a fresh entry, or nullptr if
// the tenant has been dropped; raises 55000 if a relation has been changed.
Tenant *open_tenant(std::int32_t number);
// The same, but it waits for no lock: nullptr as well where another transaction locks a relation, and *locked
// says so.
Tenant *try_open_tenant(std::int32_t number, bool *locked);
// The same, but nullptr for a tenant with a changed relation, too.
Tenant *open_untouched_tenant(std::int32_t number, bool *locked = nullptr);

struct TenantShare {
  std::int32_t number;
  std::int32_t weight;
  bool is_active;  // else the due queue need not know it
};
// Unordered.
TenantShare *active_tenants(int *count);
TenantShare *all_tenants(int *count);
struct TenantName {
  std::int32_t number;
  const char *name;
};
// All, by their names; unordered.
TenantName *tenant_names(int *count);
// The next active ones by number, at most `room`; returns how many.
int active_tenants_after(std::int32_t number, std::int32_t *tenants, int room);

// Tells every backend, at commit, that the list of tenants, or one tenant's workflows, changed.
void invalidate_tenants();
void invalidate_definitions(const Tenant &tenant);

void initialize_tenant_cache();

}  // namespace insula
