// See role_changes.hpp.  The callback may run in the middle of anything, and costs the same however many tenants are
// known.
#include "tenant/role_changes.hpp"

#include <algorithm>

extern "C" {
#include "utils/inval.h"
}

namespace insula {

namespace {

RoleHashes changed_roles = {};
bool any_changed = false;
RoleHashes relied_on = {};
bool relies_on_any = false;

void role_changed(Datum, CacheId, uint32 hash) {
  // 0: all roles.
  if (hash == 0 || !changed_roles.add(hash)) any_changed = true;
}

}  // namespace

bool RoleHashes::has(std::uint32_t hash) const { return std::find(hashes, hashes + count, hash) != hashes + count; }

bool RoleHashes::add(std::uint32_t hash) {
  if (has(hash)) return true;
  if (count == room) return false;
  hashes[count++] = hash;
  return true;
}

std::uint32_t hash_of_role(Oid role) { return GetSysCacheHashValue1(AUTHOID, ObjectIdGetDatum(role)); }

void rely_on_role(Oid role) {
  if (!relied_on.add(hash_of_role(role))) relies_on_any = true;
}

void rely_on_no_role() {
  relied_on = {};
  relies_on_any = false;
}

bool take_changed_roles(RoleHashes *changed) {
  *changed = changed_roles;
  const bool any = any_changed || (relies_on_any && changed->count > 0);
  changed_roles = {};
  any_changed = false;
  return !any && std::none_of(changed->hashes, changed->hashes + changed->count,
                              [](std::uint32_t hash) { return relied_on.has(hash); });
}

bool roles_have_changed() { return any_changed || changed_roles.count > 0; }

void watch_roles() { CacheRegisterSyscacheCallback(AUTHOID, role_changed, Datum{0}); }

}  // namespace insula
