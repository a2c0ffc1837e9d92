// Objects of others that DROP SCHEMA ... CASCADE would drop with a tenant's schema: views over its
// tables, functions that return its rows, objects that were made inside it.  The dependencies are
// followed as CASCADE follows them: down to objects that depend on a dropped one, and up to objects
// that a dropped one is a part of.  A part is not named apart from its whole; objects of the
// tenant's own role are not named at all.
#include <algorithm>

#include "errors.hpp"
#include "provision/provision.hpp"
#include "spi/owner.hpp"
#include "spi/session.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/pg_namespace.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
}

namespace insula {

namespace {

constexpr int most_told = 100;
constexpr int most_logged = 10000;

struct Dependents {
  const char *lines;  // the first ones, a line each
  std::int64_t count;
  const char *more;  // the rest of a long list, for the log alone
};

constexpr Word gone_words[] = {
    // The schema $1, and all that DROP ... CASCADE would drop with it.
    {"with_what_goes", R"(
      WITH RECURSIVE gone(classid, objid, objsubid) AS (
        SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::oid, $1, 0
        UNION
        SELECT n.*
        FROM gone g CROSS JOIN LATERAL (
          SELECT d.classid, d.objid, d.objsubid
          FROM pg_catalog.pg_depend d
          WHERE d.refclassid = g.classid AND d.refobjid = g.objid
            AND (g.objsubid = 0 OR d.refobjsubid = g.objsubid)
          UNION ALL
          SELECT d.refclassid, d.refobjid, d.refobjsubid
          FROM pg_catalog.pg_depend d
          WHERE d.classid = g.classid AND d.objid = g.objid AND d.objsubid = g.objsubid
            AND d.deptype IN ('i', 'e')) n))"},
};
constexpr Words gone_phrases = {gone_words, lengthof(gone_words)};

// The same without parts of other such objects, and without objects of the roles $2 and $3.
constexpr Statement dependents = {
    "dependents",
    R"(
      {with_what_goes}
      SELECT pg_catalog.pg_describe_object(classid, objid, objsubid) COLLATE "C" AS object, pg_catalog.count(*) OVER ()
      FROM gone g
      WHERE (classid, objid) <> ('pg_catalog.pg_namespace'::pg_catalog.regclass, $1)
        AND NOT (objsubid <> 0 AND EXISTS (
          SELECT
          FROM gone w
          WHERE w.classid = g.classid AND w.objid = g.objid AND w.objsubid = 0))
        AND NOT EXISTS (
          SELECT
          FROM pg_catalog.pg_depend d
          JOIN gone w ON w.classid = d.refclassid AND w.objid = d.refobjid
            AND (w.objsubid = 0 OR w.objsubid = d.refobjsubid)
          WHERE d.classid = g.classid AND d.objid = g.objid AND d.objsubid = g.objsubid
            AND d.deptype IN ('a', 'i', 'P', 'S', 'e', 'x'))
        AND NOT EXISTS (
          SELECT
          FROM pg_catalog.pg_shdepend s
          WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
            AND s.classid = g.classid AND s.objid = g.objid
            AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid IN ($2, $3)
            AND s.deptype = 'o')
      ORDER BY 1
      LIMIT $4)",
    {OIDOID, OIDOID, OIDOID, INT4OID},
    gone_phrases,
};

Dependents read_dependents(const Tenant &tenant, Oid schema, int most) {
  const Session session = open_callers_session();
  Arguments arguments;
  arguments.add(ObjectIdGetDatum(schema)).add(ObjectIdGetDatum(owner_role())).add(ObjectIdGetDatum(tenant.role));
  arguments.add(Int32GetDatum(most));
  // A snapshot of before the locks would miss what has been made since.
  const auto rows = run_on_latest(dependents, arguments);
  StringInfoData lines;
  StringInfoData all;
  MemoryContext inner = MemoryContextSwitchTo(session.caller);
  initStringInfo(&lines);
  initStringInfo(&all);
  std::int64_t count = 0;
  for (std::uint64_t i = 0; i < rows; ++i) {
    count = get_int64(i, 2);
    const char *line = psprintf("%s%s depends on it", i ? "\n" : "", get_text(i, 1));
    if (i < most_told) appendStringInfoString(&lines, line);
    appendStringInfoString(&all, line);
  }
  if (count > most_told) appendStringInfo(&lines, "\nand %lld more", static_cast<long long>(count - most_told));
  MemoryContextSwitchTo(inner);
  close_session(session);
  return {lines.data, count, all.data};
}

// Ascending.
struct Objects {
  ObjectAddress *objects;
  int count;
};

bool is_before(const ObjectAddress &a, const ObjectAddress &b) {
  return a.classId != b.classId ? a.classId < b.classId : a.objectId < b.objectId;
}

bool contains(const Objects &set, const ObjectAddress &object) {
  return std::binary_search(set.objects, set.objects + set.count, object, is_before);
}

Objects read_what_goes(Oid schema) {
  static constexpr Statement what_goes = {
      "what_goes",
      "{with_what_goes} SELECT DISTINCT classid, objid FROM gone ORDER BY 1, 2",
      {OIDOID},
      gone_phrases,
  };
  const Session session = open_callers_session();
  Arguments arguments;
  arguments.add(ObjectIdGetDatum(schema));
  const int count = static_cast<int>(run_on_latest(what_goes, arguments));
  auto *objects = static_cast<ObjectAddress *>(MemoryContextAllocHuge(session.caller, sizeof(ObjectAddress) * count));
  for (int i = 0; i < count; ++i)
    objects[i] = {DatumGetObjectId(get_datum(i, 1)), DatumGetObjectId(get_datum(i, 2)), 0};
  close_session(session);
  return {objects, count};
}

}  // namespace

void check_schema_is_ours(const Tenant &tenant) {
  const Oid schema = get_namespace_oid(tenant.schema, true);
  if (!OidIsValid(schema) || owns_schema(schema, owner_role())) return;
  ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                  errmsg("schema \"%s\" of tenant \"%s\" does not belong to insula_owner", tenant.schema, tenant.name),
                  errhint("SELECT * FROM insula.reconcile(false) gives it back.")));
}

void check_no_dependents(const Tenant &tenant) {
  const Oid schema = get_namespace_oid(tenant.schema, true);
  if (!OidIsValid(schema)) return;
  const Dependents others = read_dependents(tenant, schema, most_told);
  if (others.count == 0) return;
  ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
                  errmsg("cannot drop tenant \"%s\" because other objects depend on it", tenant.name),
                  errdetail("%s", others.lines), errhint("Drop them first, or use force => true to drop them too.")));
}

void tell_dependents(const Tenant &tenant) {
  const Oid schema = get_namespace_oid(tenant.schema, true);
  if (!OidIsValid(schema)) return;
  const Dependents others = read_dependents(tenant, schema, most_logged);
  if (others.count == 0) return;
  ereport(WARNING, (errmsg_plural(
                        "%lld object of others goes with tenant \"%s\"", "%lld objects of others go with tenant \"%s\"",
                        static_cast<unsigned long>(others.count), static_cast<long long>(others.count), tenant.name),
                    errdetail("%s", others.lines), errdetail_log("%s", others.more)));
}

void lock_what_goes(const Tenant &tenant) {
  const Oid schema = get_namespace_oid(tenant.schema, true);
  if (!OidIsValid(schema)) return;
  LockDatabaseObject(NamespaceRelationId, schema, 0, AccessExclusiveLock);
  constexpr int most_looks = 10;
  Objects locked = {nullptr, 0};
  for (int look = 0; look < most_looks; ++look) {
    const Objects going = read_what_goes(schema);
    bool new_ones = false;
    for (int i = 0; i < going.count; ++i) {
      CHECK_FOR_INTERRUPTS();
      if (contains(locked, going.objects[i])) continue;
      AcquireDeletionLock(&going.objects[i], 0);
      new_ones = true;
    }
    if (!new_ones) return;
    locked = going;
  }
  ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("tenant \"%s\" is in use", tenant.name),
                  errdetail("Objects that depend on its schema are being made all the time.")));
}

}  // namespace insula
