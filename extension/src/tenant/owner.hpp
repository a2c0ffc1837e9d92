// Acting as insula_owner.  Every statement of ours on a tenant's tables runs between
// enter_owner and leave_owner: as the owner, security-restricted, under a search_path
// that nobody can plant anything in, and with planner settings that keep every statement
// on its index.  An error in between is undone by the transaction's abort.
#pragma once

#include "postgres.hpp"

namespace insula {

struct Owner {
  Oid user;
  int security;
  int guc_level;
};

Oid owner_role();
Oid admin_role();
Oid runner_role();
Oid tenant_role();

Owner enter_owner();
// Ends what waits for a lock after a second, until leave_owner.
void limit_lock_waits();
void leave_owner(const Owner &owner);

}  // namespace insula
