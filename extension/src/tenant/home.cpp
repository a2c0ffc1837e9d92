// The table insula.home against what is; see home.hpp.
#include "tenant/home.hpp"

#include "errors.hpp"
#include "scheduler/scheduler.hpp"
#include "shared/shared.hpp"
#include "storage/session.hpp"

extern "C" {
#include "access/xlog.h"
}

namespace insula {

namespace {

Oid home_table = InvalidOid;
bool known = false;
bool shares_roles = false;
const char *reason = nullptr;

const char *present_system() { return psprintf("%llu", static_cast<unsigned long long>(GetSystemIdentifier())); }

void look_up() {
  if (known) return;
  home_table = get_relname_relid("home", get_namespace_oid("insula", false));
  const Session session = open_session();
  if (SPI_execute_plan(shared_plan(SharedStatement::home), nullptr, nullptr, false, 1) != SPI_OK_SELECT)
    elog(ERROR, "insula: reading the home failed");
  reason = nullptr;
  shares_roles = false;
  if (SPI_processed == 1) {
    const bool same_system = strcmp(get_text(0, 1), present_system()) == 0;
    const bool same_database = DatumGetObjectId(get_datum(0, 2)) == MyDatabaseId;
    if (!same_system)
      reason = "it was made in another cluster";
    else if (!same_database)
      reason = "it was made as another database";
    else if (strcmp(get_text(0, 3), last_recovery()) != 0)
      reason = "the cluster was recovered to a point in time";
    shares_roles = same_system && !same_database;
  }
  // A restore fills the table without telling anybody.
  known = SPI_processed == 1;
  close_session(session);
}

void write(SharedStatement statement) {
  Datum values[] = {CStringGetTextDatum(present_system()), ObjectIdGetDatum(MyDatabaseId),
                    CStringGetTextDatum(last_recovery())};
  const Session session = open_session();
  if (SPI_execute_plan(shared_plan(statement), values, nullptr, false, 0) < 0)
    elog(ERROR, "insula: recording the home failed");
  const bool written = SPI_processed > 0;
  close_session(session);
  if (!written) return;
  CacheInvalidateRelcacheByRelid(get_relname_relid("home", get_namespace_oid("insula", false)));
  CommandCounterIncrement();
  known = false;
  if (scheduler_is_wanted()) mark_scheduler_asked();
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

void require_home() {
  if (const char *why = why_not_home())
    ereport(ERROR, (errcode(INSULA_NOT_ADOPTED), errmsg("this database is a copy that has not been adopted"),
                    errdetail("Its tenants are at home elsewhere: %s.", why),
                    errhint("If they shall work here from now on, run SELECT insula.adopt().")));
}

void record_home() { write(SharedStatement::record_home); }

void record_home_of_none() { write(SharedStatement::record_home_of_none); }

void home_changed(Oid relation) {
  if (relation == InvalidOid || relation == home_table) known = false;
}

}  // namespace insula
