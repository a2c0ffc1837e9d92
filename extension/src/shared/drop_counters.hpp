// Counters, overhead and permits of tenants or databases that are gone, for the other files of this folder.
#pragma once

#include "postgres.hpp"

namespace insula {

// Takes the lock of the counters.  Tenant 0: of all tenants.
void drop_counters_of(Oid database, std::int32_t tenant = 0);

// Under that lock.
void drop_permits_of(Oid database, std::int32_t tenant);
void drop_overhead_of(Oid database, std::int32_t tenant);
// Whether there are counters of a tenant of this database, which its drop will remove.
bool is_counted(std::int32_t tenant);

}  // namespace insula
