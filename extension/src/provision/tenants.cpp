// Makes and drops tenants in the caller's transaction: a ROLLBACK leaves neither schema nor role
// nor row.  Lock order: names that are to be taken, the tenant's life, its relations.
#include "provision/tenants.hpp"

#include <algorithm>

#include "core/names.hpp"
#include "errors.hpp"
#include "operation/operations.hpp"
#include "scheduler/scheduler.hpp"
#include "shared/clock.hpp"
#include "shared/park.hpp"
#include "shared/shared.hpp"
#include "spi/session.hpp"
#include "tenant/home.hpp"
#include "tenant/in_subtransaction.hpp"
#include "tenant/kept_catalogs.hpp"
#include "tenant/lock.hpp"

extern "C" {
#include "access/twophase.h"
#include "storage/proc.h"
#include "utils/datetime.h"
}

namespace insula {

namespace {

constexpr std::int64_t drain_look = 50000;                // between two looks while draining
constexpr std::int64_t sessions_end = 5 * USECS_PER_SEC;  // the time for ended sessions to go
constexpr int longest_lock_wait = 5000;                   // milliseconds

void insert_row(std::int32_t number, const NewTenant &request, Oid role) {
  static constexpr Statement insert_tenant = {
      "insert_tenant",
      R"(
        INSERT INTO insula.tenant
          (tenant_no, tenant, schema_name, username, role_oid, login, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, pg_catalog.now()))",
      {INT4OID, TEXTOID, TEXTOID, TEXTOID, OIDOID, BOOLOID},
  };
  Arguments arguments;
  arguments.add(Int32GetDatum(number)).add_text(request.tenant).add_text(request.schema).add_text(request.username);
  arguments.add_nullable(ObjectIdGetDatum(role), !request.username);
  arguments.add(BoolGetDatum(request.username && request.login));
  (void)run(insert_tenant, arguments);
}

void delete_row(std::int32_t number) {
  // Its error and its rules go here, too, since session_replication_role may let no foreign key act.
  static constexpr Statement delete_tenant = {
      "delete_tenant",
      R"(
        WITH error AS (DELETE FROM insula.tenant_error WHERE tenant_no = $1),
          rule AS (DELETE FROM insula.retention_rule WHERE tenant_no = $1)
        DELETE FROM insula.tenant WHERE tenant_no = $1)",
      {INT4OID},
  };
  Arguments arguments;
  arguments.add(Int32GetDatum(number));
  (void)run(delete_tenant, arguments);
}

void check_identifier(const char *name, const char *what) {
  if (name[0] == '\0' || strlen(name) >= NAMEDATALEN || strncmp(name, "pg_", 3) == 0 ||
      strncmp(name, "insula", 6) == 0 || strcmp(name, "public") == 0 || strcmp(name, "none") == 0 ||
      strchr(name, '\n') || strchr(name, '\r'))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid %s \"%s\"", what, name),
                    errdetail("A name has 1 to 63 bytes, no line break, is not public or none, and does not start with "
                              "pg_ or insula.")));
}

void check_new(const NewTenant &request) {
  if (!core::is_valid_tenant_id(request.tenant))
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid tenant id \"%s\"", request.tenant),
             errdetail("A tenant id has 3 to 30 characters of a-z, 0-9 and _, starts with a letter, and is none of "
                       "public, none, postgres, information_schema, pg_*, insula*.")));
  check_identifier(request.schema, "schema name");
  if (request.username) check_identifier(request.username, "user name");
  if (find_tenant(request.tenant))
    ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("tenant \"%s\" already exists", request.tenant)));
  if (OidIsValid(get_namespace_oid(request.schema, true)))
    ereport(ERROR, (errcode(ERRCODE_DUPLICATE_SCHEMA), errmsg("schema \"%s\" already exists", request.schema)));
  if (request.username && OidIsValid(get_role_oid(request.username, true)))
    ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("role \"%s\" already exists", request.username),
                    errhint("Roles are shared by all databases of the cluster: give another name in the parameter "
                            "username.")));
}

struct Secret {
  const char *clear;  // nullptr: unknown
  const char *verifier;
  bool is_generated;

  // PostgreSQL is to look at one that was made elsewhere.
  const char *given() const { return clear ? nullptr : verifier; }
  void set_made(const char *username, Oid role) const {
    if (clear) set_made_verifier(username, role, verifier, is_generated ? nullptr : clear);
  }
};

Secret secret_from(const char *password) {
  if (password && is_scram_verifier(password)) return {nullptr, password, false};
  const bool is_generated = !password || !password[0];
  const char *clear = is_generated ? generate_password() : password;
  return {clear, make_verifier(clear), is_generated};
}

bool is_idle(std::int32_t number) {
  bool locked;
  const Tenant *tenant = open_untouched_tenant(number, &locked);
  if (!tenant) return !locked;
  const Session session = open_session();
  const bool idle = running_tasks(*tenant) == 0;
  close_session(session);
  return idle;
}

// A transaction that completes a task, or reads, holds locks on these; DROP SCHEMA would wait for
// it for ever.
bool try_lock_relations(const Tenant &tenant) {
  const Oid schema = get_namespace_oid(tenant.schema, true);
  if (!OidIsValid(schema)) return true;
  for (const char *name : tenant_relations) {
    const Oid relation = get_relname_relid(name, schema);
    if (OidIsValid(relation) && !ConditionalLockRelationOid(relation, AccessExclusiveLock)) return false;
  }
  return true;
}

bool has_prepared_transaction(const Tenant &tenant) {
  static constexpr Statement prepared_by_role = {
      "prepared_by_role",
      "SELECT 1 FROM pg_catalog.pg_prepared_xact() p WHERE p.ownerid = $1 LIMIT 1",
      {OIDOID},
  };
  if (max_prepared_xacts == 0 || !OidIsValid(tenant.role)) return false;
  const Session session = open_session();
  Arguments arguments;
  arguments.add(ObjectIdGetDatum(tenant.role));
  const bool has = run(prepared_by_role, arguments) > 0;
  close_session(session);
  return has;
}

void refuse_in_use(const Tenant &tenant, bool prepared) {
  if (prepared)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("tenant \"%s\" is in use", tenant.name),
                    errdetail("Role \"%s\" has a prepared transaction.", tenant.username),
                    errhint("ROLLBACK PREPARED what pg_prepared_xacts shows of that role, and try again.")));
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_IN_USE), errmsg("tenant \"%s\" is in use", tenant.name),
           errdetail("A transaction of another role that has submitted, claimed, completed or read for it, or has "
                     "locked what goes with it, is still open.")));
}

// Until the level of settings is left, or sooner, if the caller wants that.
void limit_lock_waits_to(int milliseconds) {
  if (LockTimeout > 0 && LockTimeout <= milliseconds) return;
  (void)set_config_option("lock_timeout", psprintf("%dms", milliseconds), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                          true, 0, false);
}

// A step that has to lock objects must not wait for ever for another session's open transaction.
template <typename Step>
pg_noinline void refuse_long_waits(const Tenant &tenant, Step step) {
  const int level = NewGUCNestLevel();
  limit_lock_waits_to(longest_lock_wait);
  MemoryContext memory = CurrentMemoryContext;
  PG_TRY();
  step();
  PG_CATCH();
  {
    MemoryContextSwitchTo(memory);
    if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE) PG_RE_THROW();
    FlushErrorState();
    refuse_in_use(tenant, false);
  }
  PG_END_TRY();
  AtEOXact_GUC(false, level);
}

bool lock_soon(const Tenant &tenant, Oid relation) {
  const char *error;
  return in_subtransaction(
      tenant.number,
      [relation] {
        const int level = NewGUCNestLevel();
        limit_lock_waits_to(200);
        LockRelationOid(relation, AccessExclusiveLock);
        AtEOXact_GUC(false, level);
      },
      &error, ERRCODE_LOCK_NOT_AVAILABLE);
}

// Ends the sessions that hold the relations' locks, and queues for these, so that sessions which reconnect get no lock
// first.  One that gets it between the two is ended in the next round.
void lock_relations_behind_holders(const Tenant &tenant, bool prepared) {
  const Oid schema = get_namespace_oid(tenant.schema, true);
  const std::int64_t patience = LockTimeout > 0 ? LockTimeout * INT64CONST(1000) : sessions_end;
  const std::int64_t deadline = passing_time() + std::min(patience, sessions_end);
  for (const char *name : tenant_relations) {
    const Oid relation = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
    if (!OidIsValid(relation)) continue;
    for (;;) {
      if (OidIsValid(tenant.role)) end_sessions_of_role(tenant.role);
      if (lock_soon(tenant, relation)) break;
      if (passing_time() >= deadline) refuse_in_use(tenant, prepared);
    }
  }
}

// Waits until no transaction gives the tenant work and none of its tasks runs, up to the deadline.
// Then it ends the tenant's sessions, which frees their locks.
void drain_tenant(const Tenant &tenant, std::int64_t drain) {
  std::int64_t deadline = passing_time() + drain;
  bool owned = false;
  bool ended = false;
  for (;;) {
    owned = owned || try_own_life(tenant.number);
    const std::int64_t now = passing_time();
    if (owned && (now >= deadline || is_idle(tenant.number)) && try_lock_relations(tenant)) return;
    if (owned && ended) return lock_relations_behind_holders(tenant, has_prepared_transaction(tenant));
    if (now >= deadline && !ended) {
      if (OidIsValid(tenant.role)) end_sessions_of_role(tenant.role);
      ended = true;
      deadline = now + sessions_end;
    } else if (now >= deadline) {
      refuse_in_use(tenant, has_prepared_transaction(tenant));
    }
    park(clock_now() + drain_look, "InsulaDrainTenant");
  }
}

// The role's objects and rights in other databases cannot be dropped from here.
void leave_role_behind(const Tenant &tenant) {
  static constexpr Statement insert_leftover = {
      "insert_leftover",
      "INSERT INTO insula.leftover_role VALUES ($1, $2, $3, $4, pg_catalog.now())",
      {OIDOID, TEXTOID, TEXTOID, TEXTOID},
  };
  const char *left = disarm_tenant_role(tenant.username, tenant.role);
  const Session session = open_session();
  Arguments arguments;
  arguments.add(ObjectIdGetDatum(tenant.role)).add_text(left).add_text(tenant.name).add_text(tenant.username);
  (void)run(insert_leftover, arguments);
  close_session(session);
  ereport(WARNING,
          (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
           errmsg("role \"%s\" of tenant \"%s\" could not be dropped and is left as \"%s\"", tenant.username,
                  tenant.name, left),
           errdetail("It owns or has been granted something in another database, others depend on what it owns, or it "
                     "owns more than one transaction can lock; it can no longer log in."),
           errhint("DROP OWNED BY %s in that database, then SELECT * FROM insula.reconcile(false).", left)));
}

void warn_of_group() {
  if (!tenants_group_owns_something()) return;
  ereport(WARNING,
          (errmsg("role \"insula_tenant\" owns objects in this database"),
           errdetail("A tenant made them while it acted as that role; what is in them may be the dropped tenant's."),
           errhint("SELECT * FROM insula.audit() names them, insula.reconcile(false) drops them.")));
}

// The caller has drained the tenant.
void remove_tenant(const Tenant &tenant, bool force) {
  lock_what_goes(tenant);
  check_schema_is_ours(tenant);
  if (force)
    tell_dependents(tenant);
  else
    check_no_dependents(tenant);
  if (OidIsValid(tenant.role)) end_sessions_of_role(tenant.role);
  const Session session = open_session();
  return_tenant_number(tenant.number, tenant.schema);
  delete_row(tenant.number);
  log_act("drop_tenant", tenant.name, nullptr);
  close_session(session);
  if (OidIsValid(get_namespace_oid(tenant.schema, true))) drop_tenant_schema(tenant.schema);
  if (OidIsValid(tenant.role) && !drop_tenant_role(tenant.username, tenant.role)) leave_role_behind(tenant);
  warn_of_group();
}

}  // namespace

const char *period_text(Datum interval) {
  pg_itm parts;
  interval2itm(*DatumGetIntervalP(interval), &parts);
  char text[MAXDATELEN + 1];
  EncodeInterval(&parts, INTSTYLE_POSTGRES, text);
  return pstrdup(text);
}

std::int64_t log_act(const char *act, const char *tenant, const char *detail) {
  static constexpr Statement log_act = {
      "log_act",
      R"(
        INSERT INTO insula.admin_log (at, username, act, tenant, detail)
        VALUES (pg_catalog.now(), $1, $2, $3, $4)
        RETURNING log_id)",
      {TEXTOID, TEXTOID, TEXTOID, TEXTOID},
  };
  Arguments arguments;
  arguments.add_text(GetUserNameFromId(GetOuterUserId(), false)).add_text(act).add_text(tenant).add_text(detail);
  (void)run(log_act, arguments);
  return get_int64(0, 1);
}

std::int64_t log_emptied(const char *act, const char *tenant, std::int64_t executions, std::int64_t rows,
                         std::int64_t open) {
  static constexpr Statement add_to_log = {
      "add_to_log",
      R"(
        UPDATE insula.admin_log SET detail = (
          SELECT pg_catalog.format('%s executions, %s rows; left open: %s', m[1]::bigint + $5, m[2]::bigint + $6,
            m[3]::bigint + $7)
          FROM pg_catalog.regexp_match(detail, '^([0-9]+) executions, ([0-9]+) rows; left open: ([0-9]+)$') m)
        WHERE log_id = $1 AND username = $2 AND act = $3 AND tenant = $4
        RETURNING log_id)",
      {INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID},
  };
  // The row may have gone with a savepoint.
  static std::uint64_t last_transaction = 0;
  static std::int64_t last_row = 0;
  const std::uint64_t transaction = U64FromFullTransactionId(GetTopFullTransactionId());
  if (transaction == last_transaction) {
    Arguments arguments;
    arguments.add(Int64GetDatum(last_row)).add_text(GetUserNameFromId(GetOuterUserId(), false));
    arguments.add_text(act).add_text(tenant);
    arguments.add(Int64GetDatum(executions)).add(Int64GetDatum(rows)).add(Int64GetDatum(open));
    if (run(add_to_log, arguments) > 0) return get_int64(0, 1);
  }
  last_row = log_act(act, tenant,
                     psprintf("%lld executions, %lld rows; left open: %lld", static_cast<long long>(executions),
                              static_cast<long long>(rows), static_cast<long long>(open)));
  last_transaction = transaction;
  return last_row;
}

Credentials create_tenant(const NewTenant &request) {
  lock_name(request.tenant, NameOf::tenant);
  lock_name(request.schema, NameOf::schema);
  if (request.username) lock_name(request.username, NameOf::role);
  bound_kept_catalogs();
  note_catalogs_read();
  AcceptInvalidationMessages();
  if (record_home_of_none()) ask_for_scheduler();
  require_home();
  check_new(request);
  grant_database_to_groups();
  Secret secret = {};
  if (request.username && request.login) secret = secret_from(request.password);
  const Oid role = request.username ? create_tenant_role(request.username, secret.given(), request.login) : InvalidOid;
  secret.set_made(request.username, role);

  const Session session = open_session();
  const TenantNumber number = take_tenant_number();
  insert_row(number.number, request, role);
  log_act("create_tenant", request.tenant, nullptr);
  close_session(session);
  invalidate_tenants();
  create_tenant_schema(number, request.schema, request.username);

  const bool can_log_in = request.username && request.login;
  return {request.tenant, request.schema, request.username, secret.clear,
          can_log_in ? connection_string(request.username, secret.clear) : nullptr};
}

Credentials existing_tenant(const Tenant &tenant) {
  const char *username = tenant.username[0] ? pstrdup(tenant.username) : nullptr;
  return {pstrdup(tenant.name), pstrdup(tenant.schema), username, nullptr,
          username ? connection_string(username, nullptr) : nullptr};
}

void drop_tenant(std::int32_t number, std::int64_t drain, bool force) {
  // The cache may drop its entry during a wait.
  const Tenant tenant = *find_tenant(number);
  // An error that is sure to come must come before the drain and before sessions end.
  if (OidIsValid(tenant.role)) check_tenant_role(tenant.username, tenant.role);
  check_schema_is_ours(tenant);
  if (!force) check_no_dependents(tenant);
  drain_tenant(tenant, drain);
  refuse_long_waits(tenant, [&] { remove_tenant(tenant, force); });
  announce_dropped(number);
  invalidate_tenants();
  CommandCounterIncrement();
}

void set_suspended(const Tenant &cached, bool suspended) {
  static constexpr Statement set_tenant_status = {
      "set_tenant_status",
      R"(
        WITH forgotten AS (DELETE FROM insula.tenant_error WHERE tenant_no = $1 AND until IS NOT NULL AND $2 = 'active')
        UPDATE insula.tenant SET status = $2 WHERE tenant_no = $1)",
      {INT4OID, TEXTOID},
  };
  const Tenant tenant = cached;
  const bool comes_back = tenant.is_aside() && !suspended;
  if (tenant.suspended == suspended && !comes_back) return;
  const Session session = open_session();
  Arguments arguments;
  arguments.add(Int32GetDatum(tenant.number)).add_text(suspended ? "suspended" : "active");
  (void)run(set_tenant_status, arguments);
  log_act(suspended ? "suspend_tenant" : "resume_tenant", tenant.name, nullptr);
  close_session(session);
  if (tenant.login) alter_tenant_role(tenant.username, tenant.role, nullptr, !suspended);
  if (suspended && OidIsValid(tenant.role)) end_sessions_of_role(tenant.role);
  // Waiting claims and callers look again: suspension hides the tenant's work, and its end shows
  // it.
  announce_changed(tenant.number);
  if (!suspended) announce_resumed(tenant.number);
  announce_rescheduled(tenant.number);
  invalidate_tenants();
  CommandCounterIncrement();
}

Credentials rotate_password(const Tenant &cached, const char *password) {
  const Tenant tenant = cached;
  if (!tenant.login)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("tenant \"%s\" has no login role", tenant.name)));
  const Secret secret = secret_from(password);
  alter_tenant_role(tenant.username, tenant.role, secret.given(), !tenant.suspended);
  secret.set_made(tenant.username, tenant.role);
  const Session session = open_session();
  log_act("rotate_password", tenant.name, nullptr);
  close_session(session);
  return {pstrdup(tenant.name), pstrdup(tenant.schema), pstrdup(tenant.username), secret.clear,
          connection_string(tenant.username, secret.clear)};
}

void set_tenant_limits(const Tenant &cached, const NewLimits &limits) {
  static constexpr Statement set_tenant_limits = {
      "set_tenant_limits",
      R"(
        UPDATE insula.tenant
        SET max_running = CASE WHEN $2 < 0 THEN NULL ELSE coalesce($2, max_running) END,
          max_queued = CASE WHEN $3 < 0 THEN NULL ELSE coalesce($3, max_queued) END,
          max_connections = CASE WHEN $4 < 0 THEN NULL ELSE coalesce($4, max_connections) END,
          weight = CASE WHEN $5 < 0 THEN 1 ELSE coalesce($5, weight) END,
          rate_per_second = CASE WHEN $6 < 0 THEN NULL ELSE coalesce($6, rate_per_second) END,
          retain = CASE WHEN $7 < '0 s' THEN NULL ELSE coalesce($7, retain) END,
          retain_count = CASE WHEN $8 < 0 THEN NULL ELSE coalesce($8, retain_count) END
        WHERE tenant_no = $1
        RETURNING nullif(concat_ws(', ', 'max_running ' || $2, 'max_queued ' || $3, 'max_connections ' || $4,
          'weight ' || $5, 'rate_per_second ' || $6, 'retain ' || CASE WHEN $7 < '0 s' THEN '-1' ELSE $9 END,
          'retain_count ' || $8), ''))",
      {INT4OID, INT4OID, INT8OID, INT4OID, INT4OID, FLOAT8OID, INTERVALOID, INT8OID, TEXTOID},
  };
  const Tenant tenant = cached;
  Arguments arguments;
  arguments.add(Int32GetDatum(tenant.number));
  for (int i = 0; i < 7; ++i) arguments.add_nullable(limits.values[i], limits.nulls[i]);
  constexpr int retain = 5;
  arguments.add_text(limits.nulls[retain] ? nullptr : period_text(limits.values[retain]));
  const Session session = open_session();
  const bool found = run(set_tenant_limits, arguments) > 0;
  log_act("set_tenant_limits", tenant.name, found ? get_text(0, 1) : nullptr);
  close_session(session);
  constexpr int connections = 2;
  if (OidIsValid(tenant.role) && !limits.nulls[connections])
    limit_tenant_role(tenant.username, tenant.role, std::max(-1, DatumGetInt32(limits.values[connections])));
  // A new limit may free work that the old one held up, and waiting claims must read it.
  announce_changed(tenant.number);
  announce_resumed(tenant.number);
  announce_rescheduled(tenant.number);
  invalidate_tenants();
  CommandCounterIncrement();
}

}  // namespace insula
