// The four roles by name, and the switch to the owner; see owner.hpp.  Role Oids are
// looked up each time: the syscache makes that cheap, and a cached Oid could outlive
// its role.
#include "spi/owner.hpp"

extern "C" {
#include "jit/jit.h"
#include "optimizer/cost.h"
#include "storage/proc.h"
#include "utils/plancache.h"
}

namespace insula {

Oid owner_role() { return get_role_oid("insula_owner", false); }
Oid admin_role() { return get_role_oid("insula_admin", false); }
Oid runner_role() { return get_role_oid("insula_runner", false); }
Oid tenant_role() { return get_role_oid("insula_tenant", false); }

static void set_local(const char *name, const char *value) {
  (void)set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static constexpr char safe_path[] = "pg_catalog, pg_temp";

Owner enter_owner() {
  Owner owner;
  GetUserIdAndSecContext(&owner.user, &owner.security);
  owner.guc_level = NewGUCNestLevel();
  SetUserIdAndSecContext(owner_role(), owner.security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
  if (strcmp(namespace_search_path, safe_path) != 0) set_local("search_path", safe_path);
  return owner;
}

Owner stay_caller() {
  Owner owner;
  GetUserIdAndSecContext(&owner.user, &owner.security);
  owner.guc_level = NewGUCNestLevel();
  set_local("search_path", safe_path);
  // To compile what reads the catalogs takes longer than to read them.
  set_local("jit", "off");
  return owner;
}

void set_up_planner() {
  struct Setting {
    const char *name;
    bool *is;
    bool should_be;
  };
  static const Setting settings[] = {{"enable_seqscan", &enable_seqscan, false},
                                     {"enable_bitmapscan", &enable_bitmapscan, false},
                                     {"enable_hashjoin", &enable_hashjoin, false},
                                     {"enable_mergejoin", &enable_mergejoin, false},
                                     {"enable_material", &enable_material, false},
                                     {"enable_memoize", &enable_memoize, false},
                                     {"jit", &jit_enabled, false},
                                     {"enable_indexscan", &enable_indexscan, true},
                                     {"enable_nestloop", &enable_nestloop, true},
                                     {"enable_sort", &enable_sort, true}};
  for (const Setting &setting : settings)
    if (*setting.is != setting.should_be) set_local(setting.name, setting.should_be ? "on" : "off");
  if (plan_cache_mode != PLAN_CACHE_MODE_FORCE_GENERIC_PLAN) set_local("plan_cache_mode", "force_generic_plan");
}

void limit_lock_waits(int milliseconds) {
  if (LockTimeout == 0 || LockTimeout > milliseconds) set_local("lock_timeout", psprintf("%dms", milliseconds));
}

void leave_owner(const Owner &owner) {
  AtEOXact_GUC(false, owner.guc_level);
  SetUserIdAndSecContext(owner.user, owner.security);
}

}  // namespace insula
