// What the role insula_tenant owns in this database.  It is made to own nothing; a tenant that acts
// as it where the library is not preloaded (tenant/group.cpp) can make it own something, which would
// outlive the tenant and lie open to all others.
#include "provision/provision.hpp"
#include "tenant/owner.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_shdepend.h"
#include "utils/fmgroids.h"
}

namespace insula {

namespace {

// Calls `each` with every object until that says false.
template <typename Each>
void visit_owned(Each each) {
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], Anum_pg_shdepend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
              ObjectIdGetDatum(AuthIdRelationId));
  ScanKeyInit(&keys[1], Anum_pg_shdepend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(tenant_role()));
  Relation catalog = table_open(SharedDependRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(catalog, SharedDependReferenceIndexId, true, nullptr, 2, keys);
  while (HeapTuple row = systable_getnext(scan)) {
    const auto *form = reinterpret_cast<Form_pg_shdepend>(GETSTRUCT(row));
    if (form->deptype != SHARED_DEPENDENCY_OWNER || form->dbid != MyDatabaseId) continue;
    const ObjectAddress object = {form->classid, form->objid, form->objsubid};
    if (!each(object)) break;
  }
  systable_endscan(scan);
  table_close(catalog, AccessShareLock);
}

}  // namespace

bool tenants_group_owns_something() {
  bool owns = false;
  visit_owned([&](const ObjectAddress &) {
    owns = true;
    return false;
  });
  return owns;
}

void drop_owned_by_tenants_group() {
  // DROP OWNED would revoke the group's rights on other databases too.  A tenant may hold a lock on what
  // it has made.
  const int level = NewGUCNestLevel();
  limit_lock_waits();
  ObjectAddresses *objects = new_object_addresses();
  visit_owned([&](const ObjectAddress &object) {
    CHECK_FOR_INTERRUPTS();
    AcquireDeletionLock(&object, 0);
    add_exact_object_address(&object, objects);
    return true;
  });
  performMultipleDeletions(objects, DROP_RESTRICT, 0);
  CommandCounterIncrement();
  free_object_addresses(objects);
  AtEOXact_GUC(false, level);
}

}  // namespace insula
