// Audits tenants' relations; see inspect.hpp.  Nothing here waits for a lock: the session to be
// found may hold it.
#include "provision/inspect.hpp"

#include "provision/provision.hpp"
#include "spi/owner.hpp"
#include "spi/session.hpp"
#include "tenant/shape.hpp"

extern "C" {
#include "catalog/pg_database.h"
#include "utils/relcache.h"
}

namespace insula {

namespace {

List *with_fault(List *faults, const char *level, const char *object, const char *finding) {
  auto *fault = static_cast<Fault *>(palloc(sizeof(Fault)));
  *fault = {level, object, finding};
  return lappend(faults, fault);
}

Relation open_unlocked(Oid oid) {
  if (!ConditionalLockRelationOid(oid, AccessShareLock)) return nullptr;
  Relation relation = try_relation_open(oid, NoLock);
  if (!relation) UnlockRelationOid(oid, AccessShareLock);
  return relation;
}

// An index is looked up by its own name, and checked against the table before it in the list.
Oid table_of(Part part, Oid schema) {
  const bool of_record = part == Part::record_key;
  return get_relname_relid(name_of(of_record ? Part::record : Part::work), schema);
}

List *faults_of_relation(List *faults, Relation relation, Part part, const char *object) {
  if (const char *fault = fault_of(relation, part, table_of(part, RelationGetNamespace(relation))))
    return with_fault(faults, "error", object, fault);
  ListCell *cell;
  foreach (cell, additions_to(relation, part))
    faults = with_fault(faults, "warning", object, static_cast<const char *>(lfirst(cell)));
  return faults;
}

// Checks relations that exist and are of the right kind: audit() reports the others itself.
List *faults_of_schema(const char *name) {
  const Oid schema = get_namespace_oid(name, true);
  List *faults = NIL;
  for (int i = 0; OidIsValid(schema) && i < part_count; ++i) {
    const Part part = static_cast<Part>(i);
    const Oid oid = get_relname_relid(name_of(part), schema);
    if (!OidIsValid(oid) || get_rel_relkind(oid) != kind_of(part)) continue;
    Relation relation = open_unlocked(oid);
    if (!relation) continue;
    faults = faults_of_relation(faults, relation, part, quote_qualified_identifier(name, name_of(part)));
    relation_close(relation, AccessShareLock);
    // The cached relations of ten thousand tenants would fill this session's memory.
    RelationCacheInvalidateEntry(oid);
  }
  return faults;
}

struct Named {
  const char *tenant;
  const char *schema;
};

Named *read_names(int *count) {
  MemoryContext caller = CurrentMemoryContext;
  const Session session = open_session();
  if (SPI_execute("SELECT tenant, schema_name FROM insula.tenant ORDER BY tenant", false, 0) != SPI_OK_SELECT)
    elog(ERROR, "insula: reading tenants failed");
  *count = static_cast<int>(SPI_processed);
  MemoryContext inner = MemoryContextSwitchTo(caller);
  auto *names = palloc_array_of<Named>(SPI_processed);
  for (int i = 0; i < *count; ++i)
    names[i] = {get_text(static_cast<std::uint64_t>(i), 1), get_text(static_cast<std::uint64_t>(i), 2)};
  MemoryContextSwitchTo(inner);
  close_session(session);
  return names;
}

// ---- taking over ----

Oid owner_of_database() {
  HeapTuple row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
  if (!HeapTupleIsValid(row)) return InvalidOid;
  const Oid owner = reinterpret_cast<Form_pg_database>(GETSTRUCT(row))->datdba;
  ReleaseSysCache(row);
  return owner;
}

// Roles that can do anything in the database anyway.
bool is_trusted(Oid owner) {
  return owner == owner_role() || superuser_arg(owner) || owner == owner_of_database() ||
         has_privs_of_role(owner, admin_role());
}

const char *belongs_to(Oid owner) {
  if (owner == tenant_role()) return "belongs to insula_tenant: give it to insula_owner";
  const char *name = GetUserNameFromId(owner, true);
  return psprintf("belongs to %s, which does not administer this database: drop it, and restore it",
                  name ? name : "a role that is gone");
}

List *against_view(List *faults, Relation view, const char *object) {
  if (view->rd_rel->relkind != RELKIND_VIEW) return with_fault(faults, "error", object, "is of another kind");
  if (view->rd_rules && view->rd_rules->numLocks > 1) return with_fault(faults, "error", object, "has a rule");
  if (view->trigdesc) return with_fault(faults, "error", object, "has a trigger");
  return faults;
}

List *against_table(List *faults, Relation relation, Part part, const char *object) {
  if (const char *hook = foreign_hook(relation)) faults = with_fault(faults, "error", object, hook);
  return faults_of_relation(faults, relation, part, object);
}

// nullptr: another session uses it, perhaps its owner's.
Relation open_to_take(Oid oid, bool lock) {
  if (!lock) return open_unlocked(oid);
  return ConditionalLockRelationOid(oid, AccessExclusiveLock) ? try_relation_open(oid, NoLock) : nullptr;
}

List *against_relation(List *faults, const char *schema_name, Oid schema, const char *name, int part, bool lock) {
  const char *object = quote_qualified_identifier(schema_name, name);
  const Oid oid = get_relname_relid(name, schema);
  // A missing view is made again; a missing table is an error.
  if (!OidIsValid(oid)) return part < 0 ? faults : with_fault(faults, "error", object, "is missing");
  Relation relation = open_to_take(oid, lock);
  if (!relation) return with_fault(faults, "error", object, "is in use: try again");
  // An index has its table's owner.
  if (relation->rd_rel->relkind != RELKIND_INDEX && !is_trusted(relation->rd_rel->relowner))
    faults = with_fault(faults, "error", object, belongs_to(relation->rd_rel->relowner));
  faults = part < 0 ? against_view(faults, relation, object)
                    : against_table(faults, relation, static_cast<Part>(part), object);
  relation_close(relation, lock ? NoLock : AccessShareLock);
  return faults;
}

}  // namespace

void read_faults(void (*tell)(void *argument, const char *tenant, const Fault &fault), void *argument) {
  int count;
  const Named *names = read_names(&count);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    ListCell *cell;
    foreach (cell, faults_of_schema(names[i].schema))
      tell(argument, names[i].tenant, *static_cast<const Fault *>(lfirst(cell)));
  }
  for (const char *group : group_roles) {
    const Oid role = get_role_oid(group, true);
    if (OidIsValid(role) && has_password(role))
      tell(argument, nullptr, {"warning", psprintf("role %s", group), "has a password"});
  }
}

List *reasons_against(const char *name, bool lock) {
  const Oid schema = get_namespace_oid(name, true);
  if (!OidIsValid(schema)) return NIL;
  List *faults = NIL;
  HeapTuple row = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
  const Oid owner = reinterpret_cast<Form_pg_namespace>(GETSTRUCT(row))->nspowner;
  ReleaseSysCache(row);
  if (!is_trusted(owner))
    faults = with_fault(faults, "error", psprintf("schema %s", quote_identifier(name)), belongs_to(owner));
  for (int i = 0; i < part_count; ++i)
    faults = against_relation(faults, name, schema, name_of(static_cast<Part>(i)), i, lock);
  for (const char *view : tenant_views) faults = against_relation(faults, name, schema, view, -1, lock);
  return faults;
}

}  // namespace insula
