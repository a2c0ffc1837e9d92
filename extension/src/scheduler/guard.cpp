// A hook on utility commands, where the library is preloaded.
//
// DROP DATABASE, RENAME, SET TABLESPACE, and CREATE DATABASE from a template fail while a session
// is connected to the database.  A scheduler must not make them fail: the hook ends it first, and
// none starts until the command's transaction is over.  It works in whatever database the command
// is given, and ends nothing unless the caller may run the command.
//
// The hook also notices DDL of a superuser: it may mend a tenant that is set aside because its
// schema was renamed or a table was changed.  Only a superuser can change what belongs to
// insula_owner.
#include "scheduler/scheduler.hpp"
#include "shared/clock.hpp"
#include "shared/due_queue.hpp"
#include "shared/schedulers.hpp"
#include "shared/shared.hpp"

extern "C" {
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
}

namespace insula {

namespace {

ProcessUtility_hook_type previous_hook = nullptr;
bool holding = false;
// The transaction does these when it commits.
Oid dropped = InvalidOid;
bool doors_changed = false;

constexpr std::int64_t longest_wait = 5 * USECS_PER_SEC;
constexpr long look_again_ms = 10;

// PostgreSQL's own function for this is not exported in every minor version of 15.
bool may_create_databases() {
  if (superuser()) return true;
  HeapTuple role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
  if (!HeapTupleIsValid(role)) return false;
  const bool may = reinterpret_cast<Form_pg_authid>(GETSTRUCT(role))->rolcreatedb;
  ReleaseSysCache(role);
  return may;
}

bool may_copy(Oid database) {
  HeapTuple row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
  if (!HeapTupleIsValid(row)) return false;
  const bool is_template = reinterpret_cast<Form_pg_database>(GETSTRUCT(row))->datistemplate;
  ReleaseSysCache(row);
  return may_create_databases() && (is_template || owns_database(database, GetUserId()));
}

const char *template_of(const CreatedbStmt *statement) {
  ListCell *cell;
  foreach (cell, statement->options) {
    auto *option = lfirst_node(DefElem, cell);
    if (strcmp(option->defname, "template") == 0 && option->arg) return defGetString(option);
  }
  return "template1";
}

bool sets(const AlterDatabaseStmt *statement, const char *option) {
  ListCell *cell;
  foreach (cell, statement->options)
    if (strcmp(lfirst_node(DefElem, cell)->defname, option) == 0) return true;
  return false;
}

bool updates_insula(const Node *statement) {
  return IsA(statement, AlterExtensionStmt) &&
         strcmp(reinterpret_cast<const AlterExtensionStmt *>(statement)->extname, "insula") == 0;
}

bool may_open_database(const Node *statement) {
  return IsA(statement, AlterDatabaseStmt) &&
         sets(reinterpret_cast<const AlterDatabaseStmt *>(statement), "allow_connections");
}

// The database that the command needs without sessions; InvalidOid: none, or the command will be
// refused.
Oid database_wanted(const Node *statement) {
  const char *name = nullptr;
  bool copy = false;
  if (const auto *drop = IsA(statement, DropdbStmt) ? reinterpret_cast<const DropdbStmt *>(statement) : nullptr) {
    name = drop->dbname;
  } else if (IsA(statement, CreatedbStmt)) {
    name = template_of(reinterpret_cast<const CreatedbStmt *>(statement));
    copy = true;
  } else if (IsA(statement, RenameStmt)) {
    const auto *rename = reinterpret_cast<const RenameStmt *>(statement);
    if (rename->renameType == OBJECT_DATABASE) name = rename->subname;
  } else if (IsA(statement, AlterDatabaseStmt)) {
    const auto *alter = reinterpret_cast<const AlterDatabaseStmt *>(statement);
    if (sets(alter, "tablespace")) name = alter->dbname;
  }
  const Oid database = name ? get_database_oid(name, true) : InvalidOid;
  if (!OidIsValid(database)) return InvalidOid;
  return (copy ? may_copy(database) : owns_database(database, GetUserId())) ? database : InvalidOid;
}

void end_scheduler_of(Oid database) {
  holding = true;
  hold_schedulers_off(database);
  const std::int64_t deadline = passing_time() + longest_wait;
  while (is_scheduler_there(database) && passing_time() < deadline) {
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, look_again_ms,
                    wait_event("InsulaSchedulerEnd"));
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
}

void run_utility(PlannedStmt *planned, const char *query, bool read_only_tree, ProcessUtilityContext context,
                 ParamListInfo params, QueryEnvironment *environment, DestReceiver *receiver,
                 QueryCompletion *completion) {
  const bool is_ddl = GetCommandLogLevel(planned->utilityStmt) == LOGSTMT_DDL;
  const bool opens = may_open_database(planned->utilityStmt);
  const bool updates = updates_insula(planned->utilityStmt);
  const bool drops = IsA(planned->utilityStmt, DropdbStmt);
  const Oid database = database_wanted(planned->utilityStmt);
  if (OidIsValid(database)) end_scheduler_of(database);
  (previous_hook ? previous_hook : standard_ProcessUtility)(planned, query, read_only_tree, context, params,
                                                            environment, receiver, completion);
  if (drops) dropped = database;
  if (updates) announce_scheduler_asked();
  doors_changed = doors_changed || opens;
  if (is_ddl && any_set_aside() && IsTransactionState() && superuser()) announce_mended();
}

void release() {
  if (holding) let_schedulers_back();
  holding = false;
}

void aborted() {
  dropped = InvalidOid;
  doors_changed = false;
  release();
}

void committed() {
  if (OidIsValid(dropped)) forget_database(dropped);
  if (doors_changed) note_doors_changed();
  aborted();
}

}  // namespace

// COMMIT PREPARED tells of the opened database, mostly in this session.
const TransactionStep database_guard_step = {.committed = committed, .aborted = aborted, .prepared = release};

void guard_databases() {
  previous_hook = ProcessUtility_hook;
  ProcessUtility_hook = run_utility;
}

}  // namespace insula
