// Role DDL.  This file alone acts as the bootstrap superuser, for the length of one
// command, on names that the caller has checked.  It touches an existing role only if its
// Oid is the one recorded when it was made for a tenant, and if it has been given no
// attribute and no membership since: a forged or restored catalog row that names another
// role gains nothing.
#include "errors.hpp"
#include "provision/provision.hpp"
#include "tenant/owner.hpp"

extern "C" {
#include "access/heapam.h"
#include "catalog/pg_auth_members.h"
#include "commands/dbcommands.h"
#include "parser/parse_node.h"
#include "utils/catcache.h"
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

// The roles that `role` is a member of are insula_tenant and no other.
bool has_only_our_membership(Oid role) {
  CatCList *memberships = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(role));
  bool ours = true;
  for (int i = 0; i < memberships->n_members; ++i) {
    HeapTuple row = &memberships->members[i]->tuple;
    const auto *membership = reinterpret_cast<Form_pg_auth_members>(GETSTRUCT(row));
    ours = ours && membership->roleid == tenant_role() && !membership->admin_option;
  }
  ReleaseSysCacheList(memberships);
  return ours;
}

// Raises unless the role is still the one that was made for a tenant, and nothing more.
void check_role_is_ours(const char *name, Oid recorded) {
  HeapTuple row = SearchSysCache1(AUTHNAME, CStringGetDatum(name));
  bool ours = HeapTupleIsValid(row);
  if (ours) {
    const auto *role = reinterpret_cast<Form_pg_authid>(GETSTRUCT(row));
    ours = role->oid == recorded && role->oid != BOOTSTRAP_SUPERUSERID && !role->rolsuper && !role->rolcreaterole &&
           !role->rolcreatedb && !role->rolreplication && !role->rolbypassrls;
    ReleaseSysCache(row);
  }
  if (!ours || !has_only_our_membership(recorded))
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("role \"%s\" is not as Insula made it for the tenant", name),
                    errdetail("It has been replaced, or has been given attributes or memberships."),
                    errhint("Take these away, or rename the role, and try again.")));
}

}  // namespace

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

void alter_tenant_role(const char *name, Oid recorded, const char *verifier, bool login) {
  check_role_is_ours(name, recorded);
  AlterRoleStmt *statement = makeNode(AlterRoleStmt);
  statement->role = role_spec(name);
  statement->action = +1;
  statement->options = list_make1(flag("canlogin", login));
  if (verifier) statement->options = lappend(statement->options, option("password", string_node(verifier)));
  const Superuser before = become_superuser();
  ParseState *state = make_parsestate(nullptr);
  (void)AlterRole(state, statement);
  CommandCounterIncrement();
  become_caller(before);
}

void drop_tenant_role(const char *name, Oid recorded) {
  check_role_is_ours(name, recorded);
  const Superuser before = become_superuser();
  // What the role has been granted or has made in this database goes with it.
  DropOwnedStmt *owned = makeNode(DropOwnedStmt);
  owned->roles = list_make1(role_spec(name));
  owned->behavior = DROP_CASCADE;
  DropOwnedObjects(owned);
  CommandCounterIncrement();
  DropRoleStmt *statement = makeNode(DropRoleStmt);
  statement->roles = list_make1(role_spec(name));
  DropRole(statement);
  CommandCounterIncrement();
  become_caller(before);
}

int end_sessions_of_role(Oid role) {
  const Superuser before = become_superuser();
  const int sessions = CountUserBackends(role);
  for (int i = 0; i < MaxBackends && sessions > 0; ++i) {
    PGPROC *process = &ProcGlobal->allProcs[i];
    const int pid = process->pid;
    if (pid != 0 && pid != MyProcPid && process->roleId == role) (void)kill(pid, SIGTERM);
  }
  become_caller(before);
  return sessions;
}

}  // namespace insula
