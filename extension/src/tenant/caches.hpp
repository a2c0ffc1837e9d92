// The memory of a process that goes from tenant to tenant: PostgreSQL keeps what it has read of each relation, and
// never lets go of it by itself.  What is larger than insula.cache_size is given up as a whole, between two tenants.
#pragma once

#include "postgres.hpp"

namespace insula {

void define_cache_settings();

// The relations of a tenant were read.
void note_relations_read();
// Between tenants, where no pointer to one is held.
void give_up_large_caches();

}  // namespace insula
