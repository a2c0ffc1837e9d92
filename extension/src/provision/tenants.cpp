// Creating and dropping tenants, in the caller's transaction: a ROLLBACK leaves neither
// schema nor role nor row.  Lock order: the tenant's life, then its relations.
#include "provision/tenants.hpp"

#include <algorithm>

#include "core/ids.hpp"
#include "core/names.hpp"
#include "errors.hpp"
#include "operation/operations.hpp"
#include "shared/park.hpp"
#include "shared/shared.hpp"
#include "storage/random.hpp"
#include "storage/session.hpp"
#include "tenant/lock.hpp"

extern "C" {
#include "utils/ps_status.h"
}

namespace insula {

namespace {

constexpr std::int64_t drain_look = 50000;                // between two looks while draining
constexpr std::int64_t sessions_end = 5 * USECS_PER_SEC;  // for ended sessions to go

std::uint64_t run_shared(SharedStatement statement, Datum *values, const char *nulls) {
  if (SPI_execute_plan(shared_plan(statement), values, nulls, false, 0) < 0)
    elog(ERROR, "insula: statement on tenants failed");
  return SPI_processed;
}

// A random number that no tenant of this database ever had.
std::int32_t take_tenant_number() {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const auto number = static_cast<std::int32_t>(1 + random_bits() % core::max_tenant_number);
    Datum value = Int32GetDatum(number);
    if (run_shared(SharedStatement::take_number, &value, " ") == 1) return number;
  }
  ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("this database has run out of tenant numbers")));
}

void log_act(const char *act, const char *tenant, const char *detail) {
  Datum values[] = {CStringGetTextDatum(GetUserNameFromId(GetOuterUserId(), false)), CStringGetTextDatum(act),
                    CStringGetTextDatum(tenant), detail ? CStringGetTextDatum(detail) : Datum{0}};
  (void)run_shared(SharedStatement::log_act, values, detail ? "    " : "   n");
}

void insert_row(std::int32_t number, const NewTenant &request, Oid role) {
  Datum values[] = {Int32GetDatum(number),
                    CStringGetTextDatum(request.tenant),
                    CStringGetTextDatum(request.schema),
                    request.username ? CStringGetTextDatum(request.username) : Datum{0},
                    ObjectIdGetDatum(role),
                    BoolGetDatum(request.username && request.login)};
  (void)run_shared(SharedStatement::insert_tenant, values, request.username ? "      " : "   nn ");
}

void delete_row(std::int32_t number) {
  Datum value = Int32GetDatum(number);
  (void)run_shared(SharedStatement::delete_tenant, &value, " ");
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
};

Secret secret_from(const char *password) {
  if (password && is_scram_verifier(password)) return {nullptr, password};
  const char *clear = password && password[0] ? password : generate_password();
  return {clear, make_verifier(clear)};
}

bool is_idle(std::int32_t number) {
  const Tenant *tenant = open_untouched_tenant(number);
  if (!tenant) return true;
  const Session session = open_session();
  const bool idle = running_tasks(*tenant) == 0;
  close_session(session);
  return idle;
}

// Whoever still completes something holds these in his open transaction; DROP SCHEMA would
// wait for him for ever.
bool try_lock_relations(const Tenant &tenant) {
  const Oid schema = get_namespace_oid(tenant.schema, true);
  if (!OidIsValid(schema)) return true;
  for (const char *name : {"work", "record"}) {
    const Oid relation = get_relname_relid(name, schema);
    if (OidIsValid(relation) && !ConditionalLockRelationOid(relation, AccessExclusiveLock)) return false;
  }
  return true;
}

// Waits until nobody gives the tenant work and none of its tasks runs, up to the deadline.
// Then its sessions are ended, which frees what they hold.
void drain_tenant(const Tenant &tenant, std::int64_t drain) {
  TimestampTz deadline = GetCurrentTimestamp() + drain;
  bool owned = false;
  bool ended = false;
  for (;;) {
    owned = owned || try_own_life(tenant.number);
    const TimestampTz now = GetCurrentTimestamp();
    if (owned && (now >= deadline || ended || is_idle(tenant.number)) && try_lock_relations(tenant)) return;
    if (now >= deadline && !ended) {
      if (OidIsValid(tenant.role)) (void)end_sessions_of_role(tenant.role);
      ended = true;
      deadline = now + sessions_end;
    } else if (now >= deadline) {
      ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("tenant \"%s\" is in use", tenant.name),
                      errdetail("A transaction of another role that has submitted, claimed or completed for it is "
                                "still open.")));
    }
    park(now + drain_look);
  }
}

}  // namespace

Credentials create_tenant(const NewTenant &request) {
  check_new(request);
  Secret secret = {nullptr, nullptr};
  if (request.username && request.login) secret = secret_from(request.password);
  const Oid role = request.username ? create_tenant_role(request.username, secret.verifier, request.login) : InvalidOid;

  const Session session = open_session();
  const std::int32_t number = take_tenant_number();
  insert_row(number, request, role);
  log_act("create_tenant", request.tenant, nullptr);
  close_session(session);
  create_tenant_schema(number, request.schema, request.username);
  invalidate_tenants();
  CommandCounterIncrement();

  const bool can_log_in = request.username && request.login;
  return {request.tenant, request.schema, request.username, secret.clear,
          can_log_in ? connection_string(request.username, secret.clear) : nullptr};
}

Credentials existing_tenant(const Tenant &tenant) {
  const char *username = tenant.username[0] ? pstrdup(tenant.username) : nullptr;
  return {pstrdup(tenant.name), pstrdup(tenant.schema), username, nullptr,
          username ? connection_string(username, nullptr) : nullptr};
}

void drop_tenant(std::int32_t number, std::int64_t drain) {
  // The cache may drop its entry while we wait.
  const Tenant tenant = *find_tenant(number);
  drain_tenant(tenant, drain);
  if (OidIsValid(tenant.role)) (void)end_sessions_of_role(tenant.role);
  if (OidIsValid(get_namespace_oid(tenant.schema, true))) drop_tenant_schema(tenant.schema);
  const Session session = open_session();
  delete_row(number);
  log_act("drop_tenant", tenant.name, nullptr);
  close_session(session);
  if (OidIsValid(tenant.role)) drop_tenant_role(tenant.username, tenant.role);
  mark_dropped(number);
  invalidate_tenants();
  CommandCounterIncrement();
}

void set_suspended(const Tenant &cached, bool suspended) {
  const Tenant tenant = cached;
  if (tenant.suspended == suspended) return;
  const Session session = open_session();
  Datum values[] = {Int32GetDatum(tenant.number), CStringGetTextDatum(suspended ? "suspended" : "active")};
  (void)run_shared(SharedStatement::set_tenant_status, values, "  ");
  log_act(suspended ? "suspend_tenant" : "resume_tenant", tenant.name, nullptr);
  close_session(session);
  if (tenant.login) alter_tenant_role(tenant.username, tenant.role, nullptr, !suspended);
  if (suspended && OidIsValid(tenant.role)) (void)end_sessions_of_role(tenant.role);
  // Whoever waits for the tenant looks again: there may be work now, or none any more.
  mark_changed(tenant.number);
  if (!suspended) mark_ready(tenant.number, 0);
  invalidate_tenants();
  CommandCounterIncrement();
}

Credentials rotate_password(const Tenant &cached, const char *password) {
  const Tenant tenant = cached;
  if (!tenant.login)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("tenant \"%s\" has no login role", tenant.name)));
  const Secret secret = secret_from(password);
  alter_tenant_role(tenant.username, tenant.role, secret.verifier, !tenant.suspended);
  const Session session = open_session();
  log_act("rotate_password", tenant.name, nullptr);
  close_session(session);
  return {pstrdup(tenant.name), pstrdup(tenant.schema), pstrdup(tenant.username), secret.clear,
          connection_string(tenant.username, secret.clear)};
}

}  // namespace insula
