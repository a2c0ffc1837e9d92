// The guard of the group role; see group.hpp.  PostgreSQL before 16 has no membership without SET
// ROLE, and tenants get their calls by membership; so the object access hook checks each object
// that is made or altered.
#include "tenant/group.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_shdepend.h"
#include "utils/fmgroids.h"
}

namespace insula {

namespace {

object_access_hook_type previous_hook = nullptr;

// Reads the catalog with a snapshot that sees the present command's own writes.
bool is_owned_by(Oid role, Oid catalog_of_object, Oid object) {
  ScanKeyData keys[3];
  ScanKeyInit(&keys[0], Anum_pg_shdepend_dbid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(MyDatabaseId));
  ScanKeyInit(&keys[1], Anum_pg_shdepend_classid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(catalog_of_object));
  ScanKeyInit(&keys[2], Anum_pg_shdepend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object));
  Relation catalog = table_open(SharedDependRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(catalog, SharedDependDependerIndexId, true, SnapshotSelf, 3, keys);
  bool owned = false;
  while (HeapTuple row = systable_getnext(scan)) {
    const auto *form = reinterpret_cast<Form_pg_shdepend>(GETSTRUCT(row));
    owned = owned || (form->deptype == SHARED_DEPENDENCY_OWNER && form->refobjid == role);
  }
  systable_endscan(scan);
  table_close(catalog, AccessShareLock);
  return owned;
}

void look_at(ObjectAccessType access, Oid catalog_of_object, Oid object, int part, void *argument) {
  if (previous_hook) previous_hook(access, catalog_of_object, object, part, argument);
  if (access != OAT_POST_CREATE && access != OAT_POST_ALTER) return;
  const Oid group = get_role_oid("insula_tenant", true);
  if (!OidIsValid(group)) return;
  const Oid user = GetUserId();
  if (user != group &&
      (superuser_arg(user) || !is_member_of_role(user, group) || !is_owned_by(group, catalog_of_object, object)))
    return;
  ereport(ERROR,
          (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
           errmsg("role \"insula_tenant\" may own nothing, and have no settings and no password"),
           errdetail("Every tenant can act as it."), errhint("RESET ROLE, and make it as the tenant's own role.")));
}

}  // namespace

void keep_tenants_group_bare() {
  previous_hook = object_access_hook;
  object_access_hook = look_at;
}

}  // namespace insula
