// The group of all tenants' roles, insula_tenant, is no place to keep anything: every tenant can act
// as it, and what it owns outlives the tenant that made it.
#pragma once

#include "postgres.hpp"

namespace insula {

// Refuses to tenants whatever would make the group own something, or give it settings or a
// password, where the library is loaded: which it is from a session's start only if preloaded.
void keep_tenants_group_bare();

}  // namespace insula
