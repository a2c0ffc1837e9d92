// Role DDL. This file alone acts as the bootstrap superuser, for the length of one command, on
// names that its callers have checked.  It touches an existing role only if the role has the Oid
// that was recorded when it was made for a tenant, and no attribute and no membership since but in
// plain roles of other tenants (which gives it no more than those have): a forged or restored
// catalog row that names another role gains nothing.
#include <algorithm>

#include "errors.hpp"
#include "provision/provision.hpp"
#include "spi/owner.hpp"
#include "tenant/caller.hpp"

extern "C" {
#include "access/heapam.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_database.h"
#include "catalog/pg_db_role_setting.h"
#include "commands/dbcommands.h"
#include "libpq/crypt.h"
#include "parser/parse_node.h"
#include "utils/catcache.h"
#include "utils/formatting.h"
#include "utils/resowner.h"
}

namespace insula {

namespace {

struct Superuser {
  Oid user;
  int security;
};

Superuser become_superuser() {
  Superuser before;
  GetUserIdAndSecContext(&before.user, &before.security);
  SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, before.security | SECURITY_LOCAL_USERID_CHANGE);
  return before;
}

void become_caller(const Superuser &before) { SetUserIdAndSecContext(before.user, before.security); }

RoleSpec *role_spec(const char *name) {
  RoleSpec *spec = makeNode(RoleSpec);
  spec->roletype = ROLESPEC_CSTRING;
  spec->rolename = pstrdup(name);
  spec->location = -1;
  return spec;
}

DefElem *option(const char *name, Node *value) { return makeDefElem(pstrdup(name), value, -1); }

DefElem *flag(const char *name, bool value) { return option(name, reinterpret_cast<Node *>(makeBoolean(value))); }

Node *string_node(const char *text) { return reinterpret_cast<Node *>(makeString(pstrdup(text))); }

bool has_no_attribute(Oid role) {
  HeapTuple row = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
  if (!HeapTupleIsValid(row)) return false;
  const auto *form = reinterpret_cast<Form_pg_authid>(GETSTRUCT(row));
  const bool none = role != BOOTSTRAP_SUPERUSERID && !form->rolsuper && !form->rolcreaterole && !form->rolcreatedb &&
                    !form->rolreplication && !form->rolbypassrls;
  ReleaseSysCache(row);
  return none;
}

// Whether each role that `role` is a direct member of passes the test.
template <typename Test>
bool each_membership(Oid role, Test test) {
  CatCList *memberships = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(role));
  bool all = true;
  for (int i = 0; i < memberships->n_members; ++i) {
    HeapTuple row = &memberships->members[i]->tuple;
    const auto *membership = reinterpret_cast<Form_pg_auth_members>(GETSTRUCT(row));
    all = all && !membership->admin_option && test(membership->roleid);
  }
  ReleaseSysCacheList(memberships);
  return all;
}

// Finds one membership in the role: its member and its grantor.  False: there is none.
bool find_membership_in(Oid role, Oid *member, Oid *grantor) {
  CatCList *memberships = SearchSysCacheList1(AUTHMEMROLEMEM, ObjectIdGetDatum(role));
  const bool found = memberships->n_members > 0;
  if (found) {
    const auto *first = reinterpret_cast<Form_pg_auth_members>(GETSTRUCT(&memberships->members[0]->tuple));
    *member = first->member;
    *grantor = first->grantor;
  }
  ReleaseSysCacheList(memberships);
  return found;
}

}  // namespace

bool can_log_in(Oid role) {
  HeapTuple row = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
  if (!HeapTupleIsValid(row)) return false;
  const bool can = reinterpret_cast<Form_pg_authid>(GETSTRUCT(row))->rolcanlogin;
  ReleaseSysCache(row);
  return can;
}

bool is_plain_tenant_role(Oid role) {
  const Oid group = tenant_role();
  return has_no_attribute(role) && is_tenant_login(role) &&
         each_membership(role, [group](Oid of) { return of == group; });
}

void check_tenant_role(const char *name, Oid recorded) {
  const Oid group = tenant_role();
  const bool ours = OidIsValid(recorded) && get_role_oid(name, true) == recorded && has_no_attribute(recorded) &&
                    each_membership(recorded, [group](Oid of) { return of == group || is_plain_tenant_role(of); });
  if (!ours)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("role \"%s\" is not as Insula made it for the tenant", name),
                    errdetail("It has been replaced, or has been given attributes or memberships."),
                    errhint("Take these away, or rename the role, and try again.")));
}

namespace {

void alter_role(const char *name, int action, List *options) {
  AlterRoleStmt *statement = makeNode(AlterRoleStmt);
  statement->role = role_spec(name);
  statement->action = action;
  statement->options = options;
  const Superuser before = become_superuser();
  ParseState *state = make_parsestate(nullptr);
  (void)AlterRole(state, statement);
  CommandCounterIncrement();
  become_caller(before);
}

// Drops the role's objects and rights in this database.  Objects of other roles that depend on them
// make it fail.
void drop_owned(const char *name) {
  DropOwnedStmt *statement = makeNode(DropOwnedStmt);
  statement->roles = list_make1(role_spec(name));
  statement->behavior = DROP_RESTRICT;
  DropOwnedObjects(statement);
}

void drop_role(const char *name) {
  DropRoleStmt *statement = makeNode(DropRoleStmt);
  statement->roles = list_make1(role_spec(name));
  DropRole(statement);
}

// A role can own more objects than one transaction can lock, which PostgreSQL reports as "out of
// shared memory".
bool is_left_behind(const ErrorData *error) {
  return error->sqlerrcode == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST || error->sqlerrcode == ERRCODE_OUT_OF_MEMORY;
}

// False: nothing was done, since other objects depend on one that was to go, or there are too many
// to lock.
bool try_to_drop(void (*drop)(const char *name), const char *name) {
  MemoryContext memory = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  volatile bool done = false;
  BeginInternalSubTransaction(nullptr);
  PG_TRY();
  {
    const Superuser before = become_superuser();
    drop(name);
    CommandCounterIncrement();
    become_caller(before);
    ReleaseCurrentSubTransaction();
    done = true;
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(memory);
    ErrorData *error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
    CurrentResourceOwner = owner;
    if (!is_left_behind(error)) ReThrowError(error);
    FreeErrorData(error);
  }
  PG_END_TRY();
  MemoryContextSwitchTo(memory);
  CurrentResourceOwner = owner;
  return done;
}

// Roles whose sessions are ended once more after this transaction's commit: until then a new login
// does not see its changes.
constexpr int max_ending = 64;
Oid ending_roles[max_ending];
int ending_count = 0;

void terminate_sessions(Oid role) {
  for (int i = 0; i < MaxBackends; ++i) {
    PGPROC *process = &ProcGlobal->allProcs[i];
    const int pid = process->pid;
    if (pid != 0 && pid != MyProcPid && process->roleId == role) (void)kill(pid, SIGTERM);
  }
}

void end_sessions_again() {
  for (int i = 0; i < ending_count; ++i) terminate_sessions(ending_roles[i]);
  ending_count = 0;
}

}  // namespace

const TransactionStep role_sessions_step = {.committed = end_sessions_again, .aborted = [] { ending_count = 0; }};

bool lacks_database_right(const DatabaseRight &right) {
  const AclMode wanted = strcmp(right.privilege, "CREATE") == 0 ? ACL_CREATE : ACL_CONNECT;
  const Oid role = get_role_oid(right.role, false);
  HeapTuple row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
  if (!HeapTupleIsValid(row)) return false;
  bool null;
  const Datum datum = SysCacheGetAttr(DATABASEOID, row, Anum_pg_database_datacl, &null);
  bool has = false;
  if (!null) {
    const Acl *acl = DatumGetAclP(datum);
    const AclItem *items = ACL_DAT(acl);
    for (int i = 0; i < ACL_NUM(acl); ++i)
      has = has || (items[i].ai_grantee == role && (ACLITEM_GET_PRIVS(items[i]) & wanted) != 0);
  }
  ReleaseSysCache(row);
  return !has;
}

void grant_on_database(const DatabaseRight &right) {
  AccessPriv *access = makeNode(AccessPriv);
  access->priv_name = asc_tolower(right.privilege, strlen(right.privilege));
  GrantStmt *statement = makeNode(GrantStmt);
  statement->is_grant = true;
  statement->targtype = ACL_TARGET_OBJECT;
  statement->objtype = OBJECT_DATABASE;
  statement->objects = list_make1(string_node(get_database_name(MyDatabaseId)));
  statement->privileges = list_make1(access);
  statement->grantees = list_make1(role_spec(right.role));
  const Superuser before = become_superuser();
  ExecuteGrantStmt(statement);
  CommandCounterIncrement();
  become_caller(before);
}

void grant_database_to_groups() {
  for (const DatabaseRight &right : database_rights)
    if (lacks_database_right(right)) grant_on_database(right);
}

bool has_password(Oid role) {
  HeapTuple row = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
  if (!HeapTupleIsValid(row)) return false;
  bool null;
  (void)SysCacheGetAttr(AUTHOID, row, Anum_pg_authid_rolpassword, &null);
  ReleaseSysCache(row);
  return !null;
}

void take_password(const char *group) { alter_role(group, +1, list_make1(option("password", nullptr))); }

void take_settings(const char *group) {
  DropSetting(InvalidOid, get_role_oid(group, false));
  CommandCounterIncrement();
}

Oid create_tenant_role(const char *name, const char *verifier, bool login) {
  CreateRoleStmt *statement = makeNode(CreateRoleStmt);
  statement->stmt_type = ROLESTMT_ROLE;
  statement->role = pstrdup(name);
  statement->options = list_make2(
      flag("canlogin", login), option("addroleto", reinterpret_cast<Node *>(list_make1(role_spec("insula_tenant")))));
  if (verifier) statement->options = lappend(statement->options, option("password", string_node(verifier)));
  const Superuser before = become_superuser();
  ParseState *state = make_parsestate(nullptr);
  const Oid role = CreateRole(state, statement);
  CommandCounterIncrement();
  become_caller(before);
  return role;
}

// As CREATE ROLE and ALTER ROLE would: a chosen password is judged as it is.
static void check_password(const char *name, const char *verifier, const char *chosen, Datum until, bool forever) {
  if (!check_password_hook) return;
  if (chosen)
    check_password_hook(name, chosen, PASSWORD_TYPE_PLAINTEXT, until, forever);
  else
    check_password_hook(name, verifier, PASSWORD_TYPE_SCRAM_SHA_256, until, forever);
}

// CREATE ROLE and ALTER ROLE would ask whether the verifier is that of the empty password, which takes as long as to
// make it.
void set_made_verifier(const char *name, Oid role, const char *verifier, const char *chosen) {
  check_tenant_role(name, role);
  const Superuser before = become_superuser();
  Relation catalog = table_open(AuthIdRelationId, RowExclusiveLock);
  HeapTuple row = SearchSysCacheCopy1(AUTHOID, ObjectIdGetDatum(role));
  if (!HeapTupleIsValid(row)) elog(ERROR, "insula: role %u has gone", role);
  bool forever;
  const Datum until = heap_getattr(row, Anum_pg_authid_rolvaliduntil, RelationGetDescr(catalog), &forever);
  check_password(name, verifier, chosen, until, forever);
  Datum values[Natts_pg_authid] = {};
  bool nulls[Natts_pg_authid] = {};
  bool replaced[Natts_pg_authid] = {};
  values[Anum_pg_authid_rolpassword - 1] = CStringGetTextDatum(verifier);
  replaced[Anum_pg_authid_rolpassword - 1] = true;
  row = heap_modify_tuple(row, RelationGetDescr(catalog), values, nulls, replaced);
  CatalogTupleUpdate(catalog, &row->t_self, row);
  InvokeObjectPostAlterHook(AuthIdRelationId, role, 0);
  table_close(catalog, NoLock);
  CommandCounterIncrement();
  become_caller(before);
}

void alter_tenant_role(const char *name, Oid recorded, const char *verifier, bool login) {
  check_tenant_role(name, recorded);
  List *options = list_make1(flag("canlogin", login));
  if (verifier) options = lappend(options, option("password", string_node(verifier)));
  alter_role(name, +1, options);
}

void limit_tenant_role(const char *name, Oid recorded, int max_connections) {
  check_tenant_role(name, recorded);
  alter_role(name, +1, list_make1(option("connectionlimit", reinterpret_cast<Node *>(makeInteger(max_connections)))));
}

void join_tenants(const char *name, Oid recorded) {
  check_tenant_role(name, recorded);
  alter_role("insula_tenant", +1,
             list_make1(option("rolemembers", reinterpret_cast<Node *>(list_make1(role_spec(name))))));
}

bool drop_tenant_role(const char *name, Oid recorded) {
  check_tenant_role(name, recorded);
  const bool owns_nothing = try_to_drop(drop_owned, name);
  return owns_nothing && try_to_drop(drop_role, name);
}

// A member that may grant the role has granted it to others, whose memberships go with its own.
static void revoke_from_members(const char *name, Oid role) {
  const Superuser before = become_superuser();
  Oid member;
  Oid grantor;
  while (find_membership_in(role, &member, &grantor)) {
    AccessPriv *granted = makeNode(AccessPriv);
    granted->priv_name = pstrdup(name);
    GrantRoleStmt *statement = makeNode(GrantRoleStmt);
    statement->granted_roles = list_make1(granted);
    statement->grantee_roles = list_make1(role_spec(GetUserNameFromId(member, false)));
    statement->behavior = DROP_CASCADE;
    if (memberships_have_grantors) statement->grantor = role_spec(GetUserNameFromId(grantor, false));
    grant_role(statement);
    CommandCounterIncrement();
  }
  become_caller(before);
}

const char *disarm_tenant_role(const char *name, Oid recorded) {
  check_tenant_role(name, recorded);
  const char *new_name = psprintf("insula_dropped_%u", recorded);
  revoke_from_members(name, recorded);
  alter_role("insula_tenant", -1,
             list_make1(option("rolemembers", reinterpret_cast<Node *>(list_make1(role_spec(name))))));
  alter_role(name, +1, list_make2(flag("canlogin", false), option("password", nullptr)));
  const Superuser before = become_superuser();
  (void)RenameRole(name, new_name);
  CommandCounterIncrement();
  become_caller(before);
  return new_name;
}

bool drop_disarmed_role(const char *name, Oid recorded) {
  if (get_role_oid(name, true) != recorded || !has_no_attribute(recorded) || can_log_in(recorded) ||
      strcmp(name, psprintf("insula_dropped_%u", recorded)) != 0)
    return false;
  const bool owns_nothing = try_to_drop(drop_owned, name);
  return owns_nothing && try_to_drop(drop_role, name);
}

void end_sessions_of_role(Oid role) {
  terminate_sessions(role);
  const bool known = std::find(ending_roles, ending_roles + ending_count, role) != ending_roles + ending_count;
  if (!known && ending_count < max_ending) ending_roles[ending_count++] = role;
}

}  // namespace insula
