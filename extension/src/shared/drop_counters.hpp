// Counters, overhead and permits of tenants or databases that are gone, for the other files of this folder.
#pragma once

#include "shared/memory.hpp"

namespace insula {

// Takes the lock of the counters.  Tenant 0: of all tenants.
void drop_counters_of(Oid database, std::int32_t tenant = 0);

// Under that lock.
void drop_permits_of(Oid database, std::int32_t tenant);
void drop_overhead_of(Oid database, std::int32_t tenant);
// Whether there are counters of a tenant of this database, which its drop will remove.
bool is_counted(std::int32_t tenant);

template <typename Entry>
void drop_entries_of(HTAB *table, Oid database, std::int32_t tenant) {
  remove_entries<Entry>(table, [database, tenant](const Entry &entry) {
    return entry.key.database == database && (tenant == 0 || entry.key.tenant == tenant);
  });
}

}  // namespace insula
