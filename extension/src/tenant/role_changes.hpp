// Roles that have changed, as invalidations tell of them: by the hash values of their Oids.  A change of one tenant's
// role says nothing of the other tenants, and a tenant can alter its own in a loop; only those roles concern all of
// them on which a check has relied.
#pragma once

#include "postgres.hpp"

namespace insula {

// A few roles; a role may share its hash value with another, which then counts as the same.
struct RoleHashes {
  static constexpr int room = 64;
  std::uint32_t hashes[room];
  int count;

  bool has(std::uint32_t hash) const;
  // False: there is no room.
  bool add(std::uint32_t hash);
};

std::uint32_t hash_of_role(Oid role);

// To be called by a check that has passed because of what the role is.
void rely_on_role(Oid role);
// The checks have been forgotten.
void rely_on_no_role();

// The roles that have changed since the last call.  False: they may be any, or one that was relied on.
bool take_changed_roles(RoleHashes *changed);
bool roles_have_changed();

void watch_roles();

}  // namespace insula
