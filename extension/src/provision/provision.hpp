// Roles, schemas, passwords and numbers of tenants.
#pragma once

#include "shared/transaction_end.hpp"
#include "tenant/tenant.hpp"

namespace insula {

void define_provision_settings();

// ---- roles.cpp: the one file that acts as the bootstrap superuser ----

// Rights that CREATE EXTENSION grants on the database; a copy made with TEMPLATE does not inherit
// them.  A right counts only if it is granted to the role itself: PUBLIC's may be revoked.
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
// Makes a tenant's role a member of insula_tenant again.
void join_tenants(const char *name, Oid recorded);
// verifier nullptr: the role has no password.
Oid create_tenant_role(const char *name, const char *verifier, bool login);
// Gives a role that is the tenant's a verifier that make_verifier made of a password.  `chosen`: that password, if
// the caller has chosen it; nullptr: it was generated.
void set_made_verifier(const char *name, Oid role, const char *verifier, const char *chosen);
// verifier nullptr: the password stays.
void alter_tenant_role(const char *name, Oid recorded, const char *verifier, bool login);
void limit_tenant_role(const char *name, Oid recorded, int max_connections);  // -1: none
// Raises unless the role is the one that was made for the tenant, without further rights.
void check_tenant_role(const char *name, Oid recorded);
// False: the role owns or has been granted objects that cannot be dropped from here.
bool drop_tenant_role(const char *name, Oid recorded);
// Renames the role to an unused name, and takes its login; returns the name.
const char *disarm_tenant_role(const char *name, Oid recorded);
bool drop_disarmed_role(const char *name, Oid recorded);
// Whether the role is a member of insula_tenant alone, and has no attributes.
bool is_plain_tenant_role(Oid role);
bool can_log_in(Oid role);
// Ends all sessions of the role, now and once more when the transaction commits.
void end_sessions_of_role(Oid role);
extern const TransactionStep role_sessions_step;

// ---- group.cpp: what insula_tenant owns in this database ----

bool tenants_group_owns_something();
// Ascending.
struct TenantSchemas {
  const Oid *oids;
  int count;
};
struct GroupsObject {
  ObjectAddress address;
  const char *name;  // as pg_describe_object has it
  bool kept;         // must not be dropped: it is, or lies in, a tenant's schema or the extension's
};
void visit_owned_by_tenants_group(const TenantSchemas &schemas,
                                  void (*visit)(void *argument, const GroupsObject &object), void *argument);
// Locks the object within that time ("1s") and drops it.  Raises if others depend on it, or if the
// group no longer owns it.
void drop_owned_by_tenants_group(const TenantSchemas &schemas, const ObjectAddress &object, const char *lock_timeout);

// ---- password.cpp ----

bool is_scram_verifier(const char *text);
char *generate_password();
char *make_verifier(const char *password);

// ---- numbers.cpp ----

// A tenant's number, and the last value of the sequence of the tenant that had the number before;
// 0: none had it.
struct TenantNumber {
  std::int32_t number;
  std::int64_t last_value;
};
// Runs in a session.
TenantNumber take_tenant_number();
// Called when the tenant is dropped, before its schema is.
void return_tenant_number(std::int32_t number, const char *schema);

// ---- schema.cpp ----

// The relations of a tenant's schema, without indexes and TOAST tables.
inline constexpr const char *tenant_relations[] = {
    "work", "record", "id", "workflow_executions", "task_executions", "execution_events", "schedules"};
inline constexpr const char *tenant_views[] = {"workflow_executions", "task_executions", "execution_events",
                                               "schedules"};

void create_tenant_schema(const TenantNumber &number, const char *schema, const char *username);
// Makes one of its views, or replaces it.
void create_tenant_view(std::int32_t number, const char *schema, const char *name);
void drop_tenant_schema(const char *schema);

// ---- comments.cpp ----

// Comments one of the schema's relations and its columns, if there is anything to say.
void comment_on(const char *schema, const char *name);

// ---- dependents.cpp: objects of others that go with a tenant's schema ----

// Raises if the schema belongs to another role, so that it cannot be dropped.
void check_schema_is_ours(const Tenant &tenant);
// Raises if there are dependents.
void check_no_dependents(const Tenant &tenant);
// Names the dependents in a WARNING.
void tell_dependents(const Tenant &tenant);
// Locks the schema and its dependents, so that no new ones appear.
void lock_what_goes(const Tenant &tenant);

// ---- layout.cpp ----

struct OldLayout {
  std::int32_t number;
  const char *tenant;
  std::int32_t version;
};
OldLayout *tenants_of_old_layout(std::int32_t most, int *count);
// Raises if it cannot lock the schema's tables within lock_timeout milliseconds.
void upgrade_layout(const OldLayout &old, std::int64_t lock_timeout);

// ---- connection.cpp ----

// From insula.connection_base, or from this connection's address.
char *connection_string(const char *username, const char *password);

}  // namespace insula
