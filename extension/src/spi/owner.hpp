// Acting as insula_owner.  Whatever is done with a tenant's tables is done between enter_owner
// and leave_owner: as the owner, security-restricted, and under a search_path that no other role can
// plant anything in.  An error in between is undone by the transaction's abort.
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
// The same settings, but no other role.
Owner stay_caller();
// Before a plan is run, which may be made or made again then: one that was made while a table
// was empty must still be right when it holds a million rows, so the planner is left nothing but
// index scans and nested loops, until leave_owner.  Costs little where it has been done.
void set_up_planner();
// Ends what waits for a lock after this time, or sooner if the caller wants that, until leave_owner.
void limit_lock_waits(int milliseconds);
void leave_owner(const Owner &owner);

}  // namespace insula
