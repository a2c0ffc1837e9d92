// The four roles by name, and the switch to the owner; see owner.hpp.  Role Oids are
// looked up each time: the syscache makes that cheap, and a cached Oid could outlive
// its role.
#include "tenant/owner.hpp"

namespace insula {

Oid owner_role() { return get_role_oid("insula_owner", false); }
Oid admin_role() { return get_role_oid("insula_admin", false); }
Oid runner_role() { return get_role_oid("insula_runner", false); }
Oid tenant_role() { return get_role_oid("insula_tenant", false); }

static void set_local(const char *name, const char *value) {
  (void)set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

Owner enter_owner() {
  Owner owner;
  GetUserIdAndSecContext(&owner.user, &owner.security);
  owner.guc_level = NewGUCNestLevel();
  SetUserIdAndSecContext(owner_role(), owner.security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
  set_local("search_path", "pg_catalog, pg_temp");
  // A plan made while a table was empty must still be right when it holds a million rows:
  // leave the planner nothing but index scans and nested loops.
  static const char *const off[] = {"enable_seqscan",
                                    "enable_bitmapscan",
                                    "enable_hashjoin",
                                    "enable_mergejoin",
                                    "enable_material",
                                    "enable_memoize",
                                    "jit"};
  static const char *const on[] = {"enable_indexscan", "enable_nestloop", "enable_sort"};
  for (const char *name : off) set_local(name, "off");
  for (const char *name : on) set_local(name, "on");
  set_local("plan_cache_mode", "force_generic_plan");
  return owner;
}

void limit_lock_waits() { set_local("lock_timeout", "1s"); }

void leave_owner(const Owner &owner) {
  AtEOXact_GUC(false, owner.guc_level);
  SetUserIdAndSecContext(owner.user, owner.security);
}

}  // namespace insula
