// Every tenant can act as insula_tenant, the group of all tenants' roles, and an object that the
// group owns outlives the tenant that made it.  So the group must own nothing.
#pragma once

#include "postgres.hpp"

namespace insula {

// Refuses to tenants each command that would make the group own an object, or give it settings or a
// password, where the library is loaded.  Only a preloaded library is loaded from a session's
// start.
void keep_tenants_group_bare();

}  // namespace insula
