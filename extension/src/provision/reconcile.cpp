// Mends tenants after a restore, and adopts copies.  Roles come first, then owners, views and
// rights, as insula.deviation names them.  Each action runs in a subtransaction of its own, so that
// a failure stops no other.
#include "provision/reconcile.hpp"

#include <algorithm>

#include "provision/inspect.hpp"
#include "provision/tenants.hpp"
#include "scheduler/scheduler.hpp"
#include "shared/clock.hpp"
#include "shared/permits.hpp"
#include "shared/shared.hpp"
#include "spi/session.hpp"
#include "storage/random.hpp"
#include "tenant/caller.hpp"
#include "tenant/home.hpp"
#include "tenant/in_subtransaction.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
}

namespace insula {

namespace {

struct Deviation {
  const char *tenant;
  const char *object;
  const char *action;
  bool as_owner;
  const char *view;  // the view that the deviation is about; nullptr: none
};

struct TenantRole {
  std::int32_t number;
  const char *tenant;
  const char *schema;
  const char *username;
  Oid recorded;
  bool may_log_in;
  int max_connections;
};

// Sorted as by strcmp.
struct Tenants {
  const TenantRole *rows;
  int count;
};

// Runs the action, or in a dry run only reports it.
template <typename Action>
void mend(const Mending &mending, const char *tenant, const char *object, const char *action, Action run_action) {
  const char *error = nullptr;
  if (!mending.dry_run) (void)in_subtransaction(0, run_action, &error);
  Datum values[] = {tenant ? CStringGetTextDatum(tenant) : Datum{0}, CStringGetTextDatum(object),
                    action ? CStringGetTextDatum(action) : Datum{0}, error ? CStringGetTextDatum(error) : Datum{0}};
  bool nulls[] = {tenant == nullptr, false, action == nullptr, error == nullptr};
  tuplestore_putvalues(mending.rows->setResult, mending.rows->setDesc, values, nulls);
}

void tell_problem(const Mending &mending, const char *tenant, const char *object, const char *problem) {
  Datum values[] = {tenant ? CStringGetTextDatum(tenant) : Datum{0}, CStringGetTextDatum(object), Datum{0},
                    CStringGetTextDatum(problem)};
  bool nulls[] = {tenant == nullptr, false, true, false};
  tuplestore_putvalues(mending.rows->setResult, mending.rows->setDesc, values, nulls);
}

void execute(const char *sql, bool as_owner) {
  Owner owner = {};
  if (as_owner) owner = enter_owner();
  SPI_connect();
  if (SPI_execute(sql, false, 0) < 0) elog(ERROR, "insula: \"%s\" failed", sql);
  SPI_finish();
  if (as_owner) leave_owner(owner);
}

void run_alone(const Statement &statement, Arguments &arguments) {
  const Session session = open_session();
  (void)run(statement, arguments);
  close_session(session);
}

// Uses the caller's rights, since a superuser may read catalogs that are closed to other roles, and
// the caller's memory, since rows must outlive SPI.
template <typename Row>
Row *read_rows(const char *sql, int *count, Row (*read)(std::uint64_t row)) {
  const Session session = open_callers_session();
  if (SPI_execute(sql, false, 0) != SPI_OK_SELECT) elog(ERROR, "insula: \"%s\" failed", sql);
  *count = static_cast<int>(SPI_processed);
  MemoryContext inner = MemoryContextSwitchTo(session.caller);
  auto *rows = palloc_array_of<Row>(SPI_processed + 1);
  for (std::uint64_t i = 0; i < SPI_processed; ++i) rows[i] = read(i);
  MemoryContextSwitchTo(inner);
  close_session(session);
  return rows;
}

TenantRole read_tenant_role(std::uint64_t row) {
  return {get_int32(row, 1),
          get_text(row, 2),
          get_text(row, 3),
          get_text(row, 4),
          DatumGetObjectId(get_datum(row, 5)),
          DatumGetBool(get_datum(row, 6)),
          is_null(row, 7) ? -1 : get_int32(row, 7)};
}

const char tenant_roles[] =
    "SELECT t.tenant_no, t.tenant, t.schema_name, t.username, t.role_oid, t.login AND t.status = 'active', "
    "t.max_connections FROM insula.tenant t ORDER BY t.tenant COLLATE pg_catalog.\"C\"";

void take_role(const TenantRole &tenant, Oid role) {
  static constexpr Statement set_tenant_role = {
      "set_tenant_role",
      "UPDATE insula.tenant SET role_oid = $2 WHERE tenant_no = $1",
      {INT4OID, OIDOID},
  };
  Arguments arguments;
  arguments.add(Int32GetDatum(tenant.number)).add(ObjectIdGetDatum(role));
  run_alone(set_tenant_role, arguments);
  invalidate_tenants();
  CommandCounterIncrement();
}

void mend_role(const Mending &mending, const TenantRole &tenant) {
  const char *name = quote_identifier(tenant.username);
  const char *object = psprintf("role %s", name);
  Oid role = get_role_oid(tenant.username, true);
  if (!OidIsValid(role)) {
    return mend(mending, tenant.tenant, object, psprintf("CREATE ROLE %s NOLOGIN IN ROLE insula_tenant", name), [&] {
      take_role(tenant, create_tenant_role(tenant.username, nullptr, false));
      if (tenant.max_connections >= 0)
        limit_tenant_role(tenant.username, get_role_oid(tenant.username, false), tenant.max_connections);
    });
  }
  if (role != tenant.recorded && !is_plain_tenant_role(role))
    return tell_problem(mending, tenant.tenant, object,
                        "a role of this name exists that is not a plain member of insula_tenant: rename or drop it");
  if (role != tenant.recorded)
    mend(mending, tenant.tenant, object, "taken as the tenant's", [&] { take_role(tenant, role); });
  if (role == tenant.recorded && !is_tenant_login(role))
    mend(mending, tenant.tenant, object, psprintf("GRANT insula_tenant TO %s", name),
         [&] { join_tenants(tenant.username, role); });
  if (!tenant.may_log_in && can_log_in(role) && !mending.dry_run)
    mend(mending, tenant.tenant, object, psprintf("ALTER ROLE %s NOLOGIN", name),
         [&] { alter_tenant_role(tenant.username, role, nullptr, false); });
}

// ---- owners, views, rights ----

Deviation read_deviation(std::uint64_t row) {
  return {get_text(row, 1), get_text(row, 2), get_text(row, 3), DatumGetBool(get_datum(row, 4)), get_text(row, 5)};
}

// Only the role of a tenant whose schema is refused can be mended.
bool is_refused(const List *refused, const char *tenant) {
  ListCell *cell;
  foreach (cell, refused)
    if (tenant && strcmp(static_cast<const char *>(lfirst(cell)), tenant) == 0) return true;
  return false;
}

// nullptr: the tenant is newer than the list; the next call mends it.
const TenantRole *tenant_named(const Tenants &tenants, const char *name) {
  const TenantRole *end = tenants.rows + tenants.count;
  const TenantRole *found = std::lower_bound(tenants.rows, end, name, [](const TenantRole &row, const char *wanted) {
    return strcmp(row.tenant, wanted) < 0;
  });
  return found != end && strcmp(found->tenant, name) == 0 ? found : nullptr;
}

// A tenant's schema is taken over as a whole or not at all: code that others have put in it would
// run as insula_owner.  Returns the names of refused tenants.
List *find_refused(const Mending &mending, const Tenants &tenants) {
  struct Name {
    const char *text;
  };
  int count;
  const Name *foreign = read_rows<Name>("SELECT DISTINCT tenant FROM insula.deviation WHERE step <= 3 ORDER BY tenant",
                                        &count, [](std::uint64_t row) -> Name { return {get_text(row, 1)}; });
  List *refused = NIL;
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const char *name = foreign[i].text;
    const TenantRole *tenant = tenant_named(tenants, name);
    if (!tenant) continue;
    List *reasons = reasons_against(tenant->schema, !mending.dry_run);
    ListCell *cell;
    foreach (cell, reasons) {
      const auto *reason = static_cast<const Fault *>(lfirst(cell));
      tell_problem(mending, name, reason->object, reason->finding);
    }
    if (reasons != NIL) refused = lappend(refused, const_cast<char *>(name));
  }
  return refused;
}

void mend_deviation(const Tenants &tenants, const Deviation &deviation) {
  execute(deviation.action, deviation.as_owner);
  // The text of a view that another role owned may be that role's, so the view is replaced at once.
  if (!deviation.view) return;
  CommandCounterIncrement();
  const TenantRole *tenant = tenant_named(tenants, deviation.tenant);
  create_tenant_view(tenant->number, tenant->schema, deviation.view);
}

void mend_deviations(const Mending &mending, const Tenants &tenants, const List *refused, const char *sql) {
  int count;
  const Deviation *deviations = read_rows<Deviation>(sql, &count, read_deviation);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const Deviation &deviation = deviations[i];
    if (is_refused(refused, deviation.tenant)) continue;
    if (deviation.tenant && !tenant_named(tenants, deviation.tenant)) continue;
    mend(mending, deviation.tenant, deviation.object, deviation.action, [&] { mend_deviation(tenants, deviation); });
  }
}

const char views_to_make[] =
    "SELECT e.tenant, e.name FROM insula.expected_relation e "
    "JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name "
    "LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name "
    "WHERE e.kind = 'v'::\"char\" AND c.oid IS NULL "
    "UNION SELECT u.tenant, u.name FROM insula.foreign_use u ORDER BY 1, 2";

void mend_views(const Mending &mending, const Tenants &tenants, const List *refused) {
  struct Missing {
    const char *tenant;
    const char *view;
  };
  int count;
  const Missing *missing = read_rows<Missing>(views_to_make, &count, [](std::uint64_t row) -> Missing {
    return {get_text(row, 1), get_text(row, 2)};
  });
  for (int i = 0; i < count; ++i) {
    if (is_refused(refused, missing[i].tenant)) continue;
    const TenantRole *tenant = tenant_named(tenants, missing[i].tenant);
    if (!tenant) continue;
    const char *view = quote_qualified_identifier(tenant->schema, missing[i].view);
    mend(mending, tenant->tenant, view, psprintf("CREATE OR REPLACE VIEW %s", view),
         [&] { create_tenant_view(tenant->number, tenant->schema, missing[i].view); });
  }
}

// ---- the group roles ----

void mend_groups(const Mending &mending) {
  struct Name {
    const char *text;
  };
  const char *database = quote_identifier(get_database_name(MyDatabaseId));
  for (const DatabaseRight &right : database_rights)
    if (lacks_database_right(right))
      mend(mending, nullptr, psprintf("database %s", database),
           psprintf("GRANT %s ON DATABASE %s TO %s", right.privilege, database, right.role),
           [&] { grant_on_database(right); });
  int count;
  const Name *settled = read_rows<Name>(
      "SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles r "
      "ON r.oid = s.setrole WHERE r.rolname IN ('insula_owner', 'insula_admin', 'insula_runner', 'insula_tenant')",
      &count, [](std::uint64_t row) -> Name { return {get_text(row, 1)}; });
  for (int i = 0; i < count; ++i)
    mend(mending, nullptr, psprintf("role %s", settled[i].text), psprintf("ALTER ROLE %s RESET ALL", settled[i].text),
         [&] { take_settings(settled[i].text); });
  for (const char *group : group_roles)
    if (has_password(get_role_oid(group, false)))
      mend(mending, nullptr, psprintf("role %s", group), psprintf("ALTER ROLE %s PASSWORD NULL", group),
           [&] { take_password(group); });
}

// ---- what insula_tenant owns ----

// Each drop keeps a lock until the transaction ends, and the rest of reconcile needs locks, too.
constexpr std::uint64_t most_to_drop = 1000;

struct ToDrop {
  const Mending *mending;
  GroupsObject *objects;
  std::uint64_t count;
  std::uint64_t seen;
  MemoryContext memory;
};

// A random sample: otherwise objects that cannot be dropped would come before the others in every
// call.
GroupsObject *place_for_next(ToDrop *to_drop) {
  ++to_drop->seen;
  if (to_drop->count < most_to_drop) return &to_drop->objects[to_drop->count++];
  const std::uint64_t place = random_bits() % to_drop->seen;
  if (place >= most_to_drop) return nullptr;
  pfree(const_cast<char *>(to_drop->objects[place].name));
  return &to_drop->objects[place];
}

void tell_or_remember(void *argument, const GroupsObject &object) {
  auto *to_drop = static_cast<ToDrop *>(argument);
  if (object.kept)
    tell_problem(*to_drop->mending, nullptr, object.name, "belongs to insula_tenant: give it to insula_owner");
  else if (GroupsObject *place = place_for_next(to_drop))
    *place = {object.address, MemoryContextStrdup(to_drop->memory, object.name), false};
}

TenantSchemas schemas_of(const Tenants &tenants) {
  auto *oids = palloc_array_of<Oid>(static_cast<std::uint64_t>(tenants.count) + 1);
  int count = 0;
  for (int i = 0; i < tenants.count; ++i) {
    const Oid schema = get_namespace_oid(tenants.rows[i].schema, true);
    if (OidIsValid(schema)) oids[count++] = schema;
  }
  std::sort(oids, oids + count);
  return {oids, count};
}

void mend_objects_of_group(const Mending &mending, const Tenants &tenants) {
  if (!tenants_group_owns_something()) return;
  const TenantSchemas schemas = schemas_of(tenants);
  ToDrop to_drop = {&mending, palloc_array_of<GroupsObject>(most_to_drop), 0, 0, CurrentMemoryContext};
  visit_owned_by_tenants_group(schemas, tell_or_remember, &to_drop);
  // Dependent objects mostly have higher Oids, so they are dropped first.
  std::sort(to_drop.objects, to_drop.objects + to_drop.count, [](const GroupsObject &one, const GroupsObject &other) {
    return one.address.objectId > other.address.objectId;
  });
  // A tenant may hold locks on all of the objects; one deadline bounds all waits.
  const std::int64_t patient_until = passing_time() + 5 * USECS_PER_SEC;
  for (std::uint64_t i = 0; i < to_drop.count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const GroupsObject &object = to_drop.objects[i];
    const char *lock_timeout = passing_time() < patient_until ? "1s" : "1ms";
    mend(mending, nullptr, object.name, "drop it: it belongs to insula_tenant",
         [&] { drop_owned_by_tenants_group(schemas, object.address, lock_timeout); });
  }
  if (to_drop.seen > most_to_drop)
    tell_problem(mending, nullptr, "role insula_tenant", "owns more: run insula.reconcile(false) again");
}

// ---- leftover roles ----

void forget_leftover(Oid role) {
  static constexpr Statement delete_leftover = {
      "delete_leftover",
      "DELETE FROM insula.leftover_role WHERE role_oid = $1",
      {OIDOID},
  };
  Arguments arguments;
  arguments.add(ObjectIdGetDatum(role));
  run_alone(delete_leftover, arguments);
}

void drop_leftovers(const Mending &mending) {
  struct Leftover {
    Oid role;
    const char *name;
  };
  int count;
  const Leftover *leftovers = read_rows<Leftover>("SELECT role_oid, role_name FROM insula.leftover_role", &count,
                                                  [](std::uint64_t row) -> Leftover {
                                                    return {DatumGetObjectId(get_datum(row, 1)), get_text(row, 2)};
                                                  });
  for (int i = 0; i < count; ++i) {
    const Leftover &left = leftovers[i];
    mend(mending, nullptr, psprintf("role %s", quote_identifier(left.name)),
         psprintf("DROP ROLE %s", quote_identifier(left.name)), [&] {
           if (OidIsValid(get_role_oid(left.name, true)) && !drop_disarmed_role(left.name, left.role))
             ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
                             errmsg("it still owns or has been granted something, or is not what was left")));
           forget_leftover(left.role);
         });
  }
}

// In the original's own cluster the roles belong to the original's tenants: the copy gets new roles
// with new names.
void part_with_roles() {
  static constexpr Statement rename_tenant_role = {
      "rename_tenant_role",
      "UPDATE insula.tenant SET role_oid = NULL, username = $2 WHERE tenant_no = $1",
      {INT4OID, TEXTOID},
  };
  int count;
  const TenantRole *tenants = read_rows<TenantRole>(tenant_roles, &count, read_tenant_role);
  for (int i = 0; i < count; ++i) {
    if (!tenants[i].username) continue;
    const char *suffix = psprintf("_%u", MyDatabaseId);
    const int room = NAMEDATALEN - 1 - static_cast<int>(strlen(suffix));
    const int length = pg_mbcliplen(tenants[i].username, static_cast<int>(strlen(tenants[i].username)), room);
    Arguments arguments;
    arguments.add(Int32GetDatum(tenants[i].number));
    arguments.add_text(psprintf("%.*s%s", length, tenants[i].username, suffix));
    run_alone(rename_tenant_role, arguments);
  }
  invalidate_tenants();
  CommandCounterIncrement();
}

void log(const char *act) {
  const Session session = open_session();
  log_act(act, nullptr, nullptr);
  close_session(session);
}

void wake_everybody() {
  int count;
  const TenantShare *tenants = all_tenants(&count);
  for (int i = 0; i < count; ++i) {
    announce_changed(tenants[i].number);
    announce_resumed(tenants[i].number);
    announce_rescheduled(tenants[i].number);
  }
}

}  // namespace

static const char owners_to_mend[] =
    "SELECT tenant, object, action, as_owner, view FROM insula.deviation WHERE step <= 3 ORDER BY tenant, step, action";
static const char rights_to_mend[] =
    "SELECT tenant, object, action, as_owner, view FROM insula.deviation WHERE step > 3 ORDER BY tenant, step, action";

void reconcile(const Mending &mending) {
  Tenants tenants;
  tenants.rows = read_rows<TenantRole>(tenant_roles, &tenants.count, read_tenant_role);
  mend_groups(mending);
  mend_objects_of_group(mending, tenants);
  for (int i = 0; i < tenants.count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const TenantRole &tenant = tenants.rows[i];
    if (tenant.username) mend_role(mending, tenant);
    if (!OidIsValid(get_namespace_oid(tenant.schema, true)))
      tell_problem(mending, tenant.tenant, psprintf("schema %s", quote_identifier(tenant.schema)),
                   "it is missing: restore it, or drop the tenant");
  }
  const List *refused = find_refused(mending, tenants);
  mend_deviations(mending, tenants, refused, owners_to_mend);
  mend_views(mending, tenants, refused);
  mend_deviations(mending, tenants, refused, rights_to_mend);
  drop_leftovers(mending);
  if (mending.dry_run) return;
  log("reconcile");
  forget_permits();
  wake_everybody();
}

void adopt() {
  grant_database_to_groups();
  if (shares_roles_with_home()) {
    part_with_roles();
    // The original's tenants must not read the copy.
    int count;
    const Deviation *foreign = read_rows<Deviation>(
        "SELECT tenant, object, action, as_owner, view FROM insula.deviation WHERE step = 4", &count, read_deviation);
    for (int i = 0; i < count; ++i) execute(foreign[i].action, true);
  }
  if (record_home()) ask_for_scheduler();
  log("adopt");
  wake_everybody();
}

}  // namespace insula
