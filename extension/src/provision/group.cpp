// The objects that the role insula_tenant owns in this database.  It is made to own nothing; but a
// tenant that acts as it where the library is not preloaded (tenant/group.cpp) can make it own an
// object, which would outlive the tenant and lie open to all others.  An object of Insula's or of a
// tenant's schema that a slip gave to the group is kept, since it may hold data.
#include <algorithm>

#include "provision/provision.hpp"
#include "spi/owner.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_shdepend.h"
#include "commands/extension.h"
#include "utils/fmgroids.h"
}

namespace insula {

namespace {

// Calls `each` with every object until it returns false.
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

// The dependency row goes with the object, so this is false for a dropped object, too.
bool is_still_owned(const ObjectAddress &object) {
  ScanKeyData keys[4];
  ScanKeyInit(&keys[0], Anum_pg_shdepend_dbid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(MyDatabaseId));
  ScanKeyInit(&keys[1], Anum_pg_shdepend_classid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object.classId));
  ScanKeyInit(&keys[2], Anum_pg_shdepend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object.objectId));
  ScanKeyInit(&keys[3], Anum_pg_shdepend_objsubid, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(object.objectSubId));
  const Oid group = tenant_role();
  bool owned = false;
  Relation catalog = table_open(SharedDependRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(catalog, SharedDependDependerIndexId, true, nullptr, 4, keys);
  while (HeapTuple row = systable_getnext(scan)) {
    const auto *form = reinterpret_cast<Form_pg_shdepend>(GETSTRUCT(row));
    owned = owned || (form->deptype == SHARED_DEPENDENCY_OWNER && form->refclassid == AuthIdRelationId &&
                      form->refobjid == group);
  }
  systable_endscan(scan);
  table_close(catalog, AccessShareLock);
  return owned;
}

// PostgreSQL raises an internal error if the object is gone.
bool has_namespace(const ObjectAddress &object) {
  return is_objectclass_supported(object.classId) && get_object_attnum_namespace(object.classId) != InvalidAttrNumber &&
         SearchSysCacheExists1(get_object_catcache_oid(object.classId), ObjectIdGetDatum(object.objectId));
}

bool is_of_insula(const ObjectAddress &object, const TenantSchemas &schemas) {
  const Oid extension = get_extension_oid("insula", true);
  if (object.classId == ExtensionRelationId) return object.objectId == extension;
  if (OidIsValid(extension) && getExtensionOfObject(object.classId, object.objectId) == extension) return true;
  Oid schema = InvalidOid;
  if (object.classId == NamespaceRelationId)
    schema = object.objectId;
  else if (has_namespace(object))
    schema = get_object_namespace(&object);
  return OidIsValid(schema) && (schema == get_namespace_oid("insula", true) ||
                                std::binary_search(schemas.oids, schemas.oids + schemas.count, schema));
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

void visit_owned_by_tenants_group(const TenantSchemas &schemas,
                                  void (*visit)(void *argument, const GroupsObject &object), void *argument) {
  MemoryContext passing = AllocSetContextCreate(CurrentMemoryContext, "insula group object", ALLOCSET_SMALL_SIZES);
  visit_owned([&](const ObjectAddress &address) {
    CHECK_FOR_INTERRUPTS();
    MemoryContext caller = MemoryContextSwitchTo(passing);
    // An object that is being dropped has no name any more.
    if (const char *name = getObjectDescription(&address, true))
      visit(argument, {address, name, is_of_insula(address, schemas)});
    MemoryContextSwitchTo(caller);
    MemoryContextReset(passing);
    return true;
  });
  MemoryContextDelete(passing);
}

void drop_owned_by_tenants_group(const TenantSchemas &schemas, const ObjectAddress &object, const char *lock_timeout) {
  // DROP OWNED would also revoke the group's rights on other databases.
  const int level = NewGUCNestLevel();
  (void)set_config_option("lock_timeout", lock_timeout, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
  AcquireDeletionLock(&object, 0);
  if (is_still_owned(object) && !is_of_insula(object, schemas)) {
    performDeletion(&object, DROP_RESTRICT, 0);
    CommandCounterIncrement();
  } else {
    ReleaseDeletionLock(&object);
    // An object that another drop took along needs no error.
    if (getObjectDescription(&object, true))
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("it has changed hands, and stays")));
  }
  AtEOXact_GUC(false, level);
}

}  // namespace insula
