// Making and removing tenants.
#pragma once

#include "shared/transaction_end.hpp"
#include "tenant/tenant.hpp"

namespace insula {

void define_provision_settings();

// ---- roles.cpp: the one file that acts as the bootstrap superuser ----

// What CREATE EXTENSION grants on the database; a TEMPLATE copy does not inherit it.  A role lacks what
// it has not been granted itself: what PUBLIC has may be revoked.
struct DatabaseRight {
  const char *privilege;
  const char *role;
};
inline constexpr DatabaseRight database_rights[] = {
    {"CREATE", "insula_owner"}, {"CONNECT", "insula_owner"}, {"CONNECT", "insula_tenant"}};
bool lacks_database_right(const DatabaseRight &right);
void grant_on_database(const DatabaseRight &right);
void grant_database_to_groups();
// The group roles, which have neither settings nor passwords; insula_tenant owns nothing.
inline constexpr const char *group_roles[] = {"insula_owner", "insula_admin", "insula_runner", "insula_tenant"};
bool has_password(Oid role);
void take_settings(const char *group);
void take_password(const char *group);
// Takes a tenant's role into insula_tenant again.
void join_tenants(const char *name, Oid recorded);
// Makes a tenant's role, a member of insula_tenant; verifier nullptr: no password.
Oid create_tenant_role(const char *name, const char *verifier, bool login);
// verifier nullptr: the password stays.
void alter_tenant_role(const char *name, Oid recorded, const char *verifier, bool login);
void limit_tenant_role(const char *name, Oid recorded, int max_connections);  // -1: none
// Raises unless it is the role that was made for the tenant, and nothing more.
void check_tenant_role(const char *name, Oid recorded);
// False: it owns or has been granted something that cannot be dropped from here.
bool drop_tenant_role(const char *name, Oid recorded);
// Makes of it a role that nobody can use, of a name that nobody else wants; returns that.
const char *disarm_tenant_role(const char *name, Oid recorded);
bool drop_disarmed_role(const char *name, Oid recorded);
// A member of insula_tenant and of nothing else, without attributes.
bool is_plain_tenant_role(Oid role);
bool can_log_in(Oid role);
// Ends all sessions of the role, now and once more when the transaction commits.
void end_sessions_of_role(Oid role);
extern const TransactionStep role_sessions_step;

// ---- group.cpp: what insula_tenant owns in this database ----

bool tenants_group_owns_something();
// Oids, in ascending order.
struct TenantSchemas {
  const Oid *oids;
  int count;
};
struct GroupsObject {
  ObjectAddress address;
  const char *name;  // as pg_describe_object has it
  bool kept;         // it is a tenant's or the extension's, or lies there: not to be dropped
};
void visit_owned_by_tenants_group(const TenantSchemas &schemas,
                                  void (*visit)(void *argument, const GroupsObject &object), void *argument);
// Locks the object within that time ("1s"), and drops it.  Raises where others depend on it, or where
// it is the group's no more.
void drop_owned_by_tenants_group(const TenantSchemas &schemas, const ObjectAddress &object, const char *lock_timeout);

// ---- password.cpp ----

bool is_scram_verifier(const char *text);
char *generate_password();
char *make_verifier(const char *password);

// ---- numbers.cpp ----

// The number of a tenant, and the last value that the sequence of one had given that had it before; 0: none had.
struct TenantNumber {
  std::int32_t number;
  std::int64_t last_value;
};
// In a session.
TenantNumber take_tenant_number();
// The tenant is dropped; its schema is still there.
void return_tenant_number(std::int32_t number, const char *schema);

// ---- schema.cpp: a tenant's schema, made in one place ----

// What lies in it, but indexes and what hangs on the tables.
inline constexpr const char *tenant_relations[] = {
    "work", "record", "id", "workflow_executions", "task_executions", "execution_events", "schedules"};
inline constexpr const char *tenant_views[] = {"workflow_executions", "task_executions", "execution_events",
                                               "schedules"};

void create_tenant_schema(const TenantNumber &number, const char *schema, const char *username);
// Makes one of its views, or makes it anew.
void create_tenant_view(std::int32_t number, const char *schema, const char *name);
void drop_tenant_schema(const char *schema);

// ---- dependents.cpp: what is not the tenant's but goes with its schema ----

// Raises where the schema belongs to another role, so that it cannot be dropped.
void check_schema_is_ours(const Tenant &tenant);
// Raises where there is any.
void check_no_dependents(const Tenant &tenant);
// Names it in a WARNING.
void tell_dependents(const Tenant &tenant);
// Locks the schema and all that depends on it, so that nothing more comes to it.
void lock_what_goes(const Tenant &tenant);

// ---- layout.cpp: a tenant's schema of an older version ----

struct OldLayout {
  std::int32_t number;
  const char *tenant;
  std::int32_t version;
};
OldLayout *tenants_of_old_layout(std::int32_t most, int *count);
// Raises where it cannot be locked within so many milliseconds.
void upgrade_layout(const OldLayout &old, std::int64_t lock_timeout);

// ---- connection.cpp ----

// A connection string for the tenant, from insula.connection_base or this connection.
char *connection_string(const char *username, const char *password);

}  // namespace insula
