// Compares the table insula.home with this database and cluster; see home.hpp.
#include "tenant/home.hpp"

#include "errors.hpp"
#include "shared/shared.hpp"
#include "spi/session.hpp"

extern "C" {
#include "access/xlog.h"
#include "catalog/pg_constraint.h"
}

namespace insula {

namespace {

Oid home_table = InvalidOid;
bool known = false;
bool shares_roles = false;
bool upgraded = false;
const char *reason = nullptr;

const char *present_system() { return psprintf("%llu", static_cast<unsigned long long>(GetSystemIdentifier())); }

Oid table_named(const char *name) { return get_relname_relid(name, get_namespace_oid("insula", false)); }

// Runs a statement with the mark's present values: the database, the mark's own relation, and Oids
// that pg_upgrade assigns anew.
std::uint64_t run_on_mark(SharedStatement statement) {
  const Oid mark = table_named("home_mark");
  const char *others = psprintf("%u %u %u", get_namespace_oid("insula", false), get_extension_oid("insula", false),
                                get_relation_constraint_oid(mark, "home_mark_pkey", false));
  Datum values[] = {ObjectIdGetDatum(MyDatabaseId), ObjectIdGetDatum(mark), CStringGetTextDatum(others)};
  if (SPI_execute_plan(shared_plan(statement), values, nullptr, false, 0) < 0)
    elog(ERROR, "insula: statement on the home's mark failed");
  return SPI_processed;
}

// The reason why this database is a copy of the recorded one; nullptr: it is the recorded one.
const char *why_copy(const char *system, Oid database, const char *recovery) {
  const bool same_system = strcmp(system, present_system()) == 0;
  if (database != MyDatabaseId)
    return same_system ? "it was made as another database" : "it was made in another cluster";
  upgraded = !same_system && run_on_mark(SharedStatement::home_mark) > 0;
  if (!same_system && !upgraded) return "it was made in another cluster";
  // A cluster made by pg_upgrade does not know of the old cluster's point-in-time recovery.
  if (strcmp(recovery, last_recovery()) == 0 || (upgraded && last_recovery()[0] == '\0')) return nullptr;
  return "the cluster was recovered to a point in time";
}

void look_up() {
  if (known) return;
  home_table = table_named("home");
  const Session session = open_session();
  if (SPI_execute_plan(shared_plan(SharedStatement::home), nullptr, nullptr, false, 1) != SPI_OK_SELECT)
    elog(ERROR, "insula: reading the home failed");
  reason = nullptr;
  shares_roles = upgraded = false;
  const bool recorded = SPI_processed == 1;
  if (recorded) {
    const char *system = get_text(0, 1);
    const Oid database = DatumGetObjectId(get_datum(0, 2));
    shares_roles = strcmp(system, present_system()) == 0 && database != MyDatabaseId;
    reason = why_copy(system, database, get_text(0, 3));
  }
  // A restore fills the table without an invalidation.
  known = recorded;
  close_session(session);
}

bool write(SharedStatement statement) {
  Datum values[] = {CStringGetTextDatum(present_system()), ObjectIdGetDatum(MyDatabaseId),
                    CStringGetTextDatum(last_recovery())};
  const Session session = open_session();
  if (SPI_execute_plan(shared_plan(statement), values, nullptr, false, 0) < 0)
    elog(ERROR, "insula: recording the home failed");
  const bool written = SPI_processed > 0;
  if (written) {
    CommandCounterIncrement();
    (void)run_on_mark(SharedStatement::record_home_mark);
  }
  close_session(session);
  if (!written) return false;
  CacheInvalidateRelcacheByRelid(table_named("home"));
  CommandCounterIncrement();
  known = false;
  return true;
}

}  // namespace

const char *why_not_home() {
  look_up();
  return reason;
}

bool shares_roles_with_home() {
  look_up();
  return shares_roles;
}

bool settle_after_upgrade() { return !why_not_home() && upgraded && record_home(); }

void forget_mark_of_copy() {
  if (!why_not_home() || RecoveryInProgress()) return;
  const Session session = open_session();
  if (SPI_execute_plan(shared_plan(SharedStatement::forget_home_mark), nullptr, nullptr, false, 0) < 0)
    elog(ERROR, "insula: forgetting the home's mark failed");
  close_session(session);
}

void require_home() {
  if (const char *why = why_not_home())
    ereport(ERROR, (errcode(INSULA_NOT_ADOPTED), errmsg("this database is a copy that has not been adopted"),
                    errdetail("Its tenants are at home elsewhere: %s.", why),
                    errhint("If they shall work here from now on, run SELECT insula.adopt().")));
}

bool record_home() { return write(SharedStatement::record_home); }

bool record_home_of_none() { return write(SharedStatement::record_home_of_none); }

void home_changed(Oid relation) {
  if (relation == InvalidOid || relation == home_table) known = false;
}

}  // namespace insula
