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

constexpr Statement home_mark = {
    "home_mark",
    R"(
      SELECT
      FROM insula.home h, insula.home_mark m
      WHERE (m.system_identifier, m.database_oid) = (h.system_identifier, h.database_oid)
        AND m.database_oid = $1 AND m.relation_oid = $2 AND m.other_oids <> $3)",
    {OIDOID, OIDOID, TEXTOID},
};

constexpr Statement record_home_mark = {
    "record_home_mark",
    R"(
      INSERT INTO insula.home_mark
      SELECT true, h.system_identifier, $1, $2, $3
      FROM insula.home h
      ON CONFLICT (the_only) DO UPDATE SET
        system_identifier = EXCLUDED.system_identifier, database_oid = EXCLUDED.database_oid,
        relation_oid = EXCLUDED.relation_oid, other_oids = EXCLUDED.other_oids)",
    {OIDOID, OIDOID, TEXTOID},
};

// The mark's present values: the database, the mark's own relation, and Oids that pg_upgrade assigns anew.
Arguments values_of_mark() {
  const Oid mark = table_named("home_mark");
  const char *others = psprintf("%u %u %u", get_namespace_oid("insula", false), get_extension_oid("insula", false),
                                get_relation_constraint_oid(mark, "home_mark_pkey", false));
  Arguments arguments;
  arguments.add(ObjectIdGetDatum(MyDatabaseId)).add(ObjectIdGetDatum(mark)).add_text(others);
  return arguments;
}

// The reason why this database is a copy of the recorded one; nullptr: it is the recorded one.
const char *why_copy(const char *system, Oid database, const char *recovery) {
  const bool same_system = strcmp(system, present_system()) == 0;
  if (database != MyDatabaseId)
    return same_system ? "it was made as another database" : "it was made in another cluster";
  if (!same_system) {
    Arguments mark = values_of_mark();
    upgraded = run_on_latest(home_mark, mark) > 0;
  }
  if (!same_system && !upgraded) return "it was made in another cluster";
  // A cluster made by pg_upgrade does not know of the old cluster's point-in-time recovery.
  if (strcmp(recovery, last_recovery()) == 0 || (upgraded && last_recovery()[0] == '\0')) return nullptr;
  return "the cluster was recovered to a point in time";
}

constexpr Statement read_home = {
    "read_home",
    "SELECT system_identifier, database_oid, recovery FROM insula.home",
    {},
};

void look_up() {
  if (known) return;
  home_table = table_named("home");
  const Session session = open_session();
  reason = nullptr;
  shares_roles = upgraded = false;
  // What is known outlives the transaction, whose snapshot may be old.
  Arguments none;
  const bool recorded = run_on_latest(read_home, none) == 1;
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

constexpr Word home_words[] = {
    {"in_place_of_the_old", R"(
      ON CONFLICT (the_only) DO UPDATE
      SET system_identifier = EXCLUDED.system_identifier, database_oid = EXCLUDED.database_oid,
        recovery = EXCLUDED.recovery, recorded_at = EXCLUDED.recorded_at)"},
};
constexpr Words home_phrases = {home_words, lengthof(home_words)};

constexpr Statement put_home = {
    "put_home",
    "INSERT INTO insula.home VALUES (true, $1, $2, $3, pg_catalog.now()) {in_place_of_the_old}",
    {TEXTOID, OIDOID, TEXTOID},
    home_phrases,
};

constexpr Statement put_home_of_none = {
    "put_home_of_none",
    R"(
      INSERT INTO insula.home
      SELECT true, $1, $2, $3, pg_catalog.now()
      WHERE NOT EXISTS (SELECT FROM insula.tenant)
      {in_place_of_the_old})",
    {TEXTOID, OIDOID, TEXTOID},
    home_phrases,
};

bool write(const Statement &statement) {
  const Session session = open_session();
  Arguments arguments;
  arguments.add_text(present_system()).add(ObjectIdGetDatum(MyDatabaseId)).add_text(last_recovery());
  const bool written = run(statement, arguments) > 0;
  if (written) {
    CommandCounterIncrement();
    Arguments mark = values_of_mark();
    (void)run(record_home_mark, mark);
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

bool record_home_after_upgrade() { return !why_not_home() && upgraded && record_home(); }

void forget_mark_of_copy() {
  static constexpr Statement forget_home_mark = {
      "forget_home_mark",
      "DELETE FROM insula.home_mark",
      {},
  };
  if (!why_not_home() || RecoveryInProgress()) return;
  const Session session = open_session();
  (void)run(forget_home_mark);
  close_session(session);
}

void require_home() {
  if (const char *why = why_not_home())
    ereport(ERROR, (errcode(INSULA_NOT_ADOPTED), errmsg("this database is a copy that has not been adopted"),
                    errdetail("Its tenants are at home elsewhere: %s.", why),
                    errhint("If they shall work here from now on, run SELECT insula.adopt().")));
}

bool record_home() { return write(put_home); }

bool record_home_of_none() { return write(put_home_of_none); }

void home_changed(Oid relation) {
  if (relation == InvalidOid || relation == home_table) known = false;
}

}  // namespace insula
