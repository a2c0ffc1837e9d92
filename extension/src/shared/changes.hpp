// Tenants that have changed lately, for the other files of this folder: under the lock of shared memory.
#pragma once

#include "shared/memory.hpp"

namespace insula {

void note_changed(Oid database, std::int32_t tenant);
void note_all_changed();  // it is not known which

}  // namespace insula
