// The only file that knows the differences between PostgreSQL's versions: what they name, declare
// or pass in another way has one name here.  Where a version lacks a feature, the fallback is here,
// and insula.status() says so.
#pragma once

#include "postgres.hpp"

extern "C" {
#include "catalog/pg_database.h"
#include "commands/defrem.h"
#include "common/scram-common.h"
#include "libpq/scram.h"
#include "parser/analyze.h"
#include "parser/parse_node.h"
#include "utils/backend_status.h"
#include "utils/timeout.h"
}

#if PG_VERSION_NUM < 150000
#error "Insula needs PostgreSQL 15 or later"
#endif

namespace insula {

// What a version may lack.

// 17: wait events of an extension have names of their own in pg_stat_activity.
inline constexpr bool has_wait_event_names = PG_VERSION_NUM >= 170000;

// 17: the setting transaction_timeout.
inline constexpr bool has_transaction_timeout = PG_VERSION_NUM >= 170000;

inline std::uint32_t wait_event(const char *name) {
#if PG_VERSION_NUM >= 170000
  return WaitEventExtensionNew(name);
#else
  (void)name;
  return PG_WAIT_EXTENSION;
#endif
}

// The time limits of a session's statements and transactions: each limit's timer and setting.
struct TimeLimit {
  TimeoutId timer;
  const int *milliseconds;
};

inline constexpr TimeLimit time_limits[] = {
    {STATEMENT_TIMEOUT, &StatementTimeout},
#if PG_VERSION_NUM >= 170000
    {TRANSACTION_TIMEOUT, &TransactionTimeout},
#endif
};

// This backend's index in arrays of MaxBackends elements.
inline int backend_slot() {
#if PG_VERSION_NUM >= 170000
  return MyProcNumber;
#else
  return MyBackendId - 1;
#endif
}

// The state of another process, from 1 to pgstat_fetch_stat_numbackends(), or nullptr.
inline const PgBackendStatus *backend_status(int index) {
#if PG_VERSION_NUM >= 160000
  const LocalPgBackendStatus *local = pgstat_get_local_beentry_by_index(index);
#else
  const LocalPgBackendStatus *local = pgstat_fetch_stat_local_beentry(index);
#endif
  return local ? &local->backendStatus : nullptr;
}

// Names the current transaction within the session.  All transactions of one message begin at the same time.
inline LocalTransactionId local_transaction() {
#if PG_VERSION_NUM >= 170000
  return MyProc->vxid.lxid;
#else
  return MyProc->lxid;
#endif
}

// A set that lives as long as the session.
inline WaitEventSet *create_event_set(int events) {
#if PG_VERSION_NUM >= 170000
  return CreateWaitEventSet(nullptr, events);
#else
  return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

// The parameters of a signal's handler.
#if PG_VERSION_NUM >= 190000
#define INSULA_SIGNAL_PARAMETERS int, const pg_signal_info *
#else
#define INSULA_SIGNAL_PARAMETERS int
#endif

// The last parameter of a hook on parsed statements.
#if PG_VERSION_NUM >= 190000
using ParsedConstants = const JumbleState;
#else
using ParsedConstants = JumbleState;
#endif

// The number of a system cache.
#if PG_VERSION_NUM >= 190000
using CacheId = SysCacheIdentifier;
#else
using CacheId = int;
#endif

inline HTAB *create_shared_table(const char *name, long size, HASHCTL *control, int flags) {
#if PG_VERSION_NUM >= 190000
  return ShmemInitHash(name, size, control, flags);
#else
  return ShmemInitHash(name, size, size, control, flags);
#endif
}

// 16: a membership is known by its grantor, too; before, the grantor is a note that may be outdated.
inline constexpr bool memberships_have_grantors = PG_VERSION_NUM >= 160000;

inline void grant_role(GrantRoleStmt *statement) {
#if PG_VERSION_NUM >= 160000
  GrantRole(make_parsestate(nullptr), statement);
#else
  GrantRole(statement);
#endif
}

// The rounds of a new password.
inline int scram_rounds() {
#if PG_VERSION_NUM >= 160000
  return scram_sha_256_iterations;
#else
  return SCRAM_DEFAULT_ITERATIONS;
#endif
}

inline bool owns_database(Oid database, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(DatabaseRelationId, database, role);
#else
  return pg_database_ownercheck(database, role);
#endif
}

inline bool owns_schema(Oid schema, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(NamespaceRelationId, schema, role);
#else
  return pg_namespace_ownercheck(schema, role);
#endif
}

inline IndexScanDesc begin_index_scan(Relation heap, Relation index, Snapshot snapshot, int keys) {
#if PG_VERSION_NUM >= 190000
  return index_beginscan(heap, index, snapshot, nullptr, keys, 0, SO_NONE);
#elif PG_VERSION_NUM >= 180000
  return index_beginscan(heap, index, snapshot, nullptr, keys, 0);
#else
  return index_beginscan(heap, index, snapshot, keys, 0);
#endif
}

inline TupleTableSlot *allocate_slot(EState *estate, TupleDesc columns, const TupleTableSlotOps *operations) {
#if PG_VERSION_NUM >= 190000
  return ExecAllocTableSlot(&estate->es_tupleTable, columns, operations, 0);
#else
  return ExecAllocTableSlot(&estate->es_tupleTable, columns, operations);
#endif
}

// CREATE INDEX without the build.
inline Oid define_unbuilt_index(Oid table, IndexStmt *statement) {
#if PG_VERSION_NUM >= 190000
  return DefineIndex(nullptr, table, statement, InvalidOid, InvalidOid, InvalidOid, -1, false, true, true, true, true)
      .objectId;
#elif PG_VERSION_NUM >= 160000
  return DefineIndex(table, statement, InvalidOid, InvalidOid, InvalidOid, -1, false, true, true, true, true).objectId;
#else
  return DefineIndex(table, statement, InvalidOid, InvalidOid, InvalidOid, false, true, true, true, true).objectId;
#endif
}

// Which indexes need an entry after an update; PostgreSQL before 16 says it with a bool.
#if PG_VERSION_NUM >= 160000
using UpdatedIndexes = TU_UpdateIndexes;
inline constexpr UpdatedIndexes all_indexes = TU_All;
#else
using UpdatedIndexes = bool;
inline constexpr UpdatedIndexes all_indexes = true;
#endif

inline bool updates_all(UpdatedIndexes which) { return which == all_indexes; }

inline void insert_index_entries(ResultRelInfo *target, TupleTableSlot *slot, EState *estate, bool is_update,
                                 UpdatedIndexes which) {
  if (!which) return;
#if PG_VERSION_NUM >= 190000
  const std::uint32_t flags =
      (is_update ? EIIT_IS_UPDATE : 0u) | (which == TU_Summarizing ? EIIT_ONLY_SUMMARIZING : 0u);
  (void)ExecInsertIndexTuples(target, estate, flags, slot, NIL, nullptr);
#elif PG_VERSION_NUM >= 160000
  (void)ExecInsertIndexTuples(target, slot, estate, is_update, false, nullptr, NIL, which == TU_Summarizing);
#else
  (void)ExecInsertIndexTuples(target, slot, estate, is_update, false, nullptr, NIL);
#endif
}

inline TM_Result update_tuple(Relation heap, ItemPointer at, TupleTableSlot *slot, Snapshot snapshot, bool wait,
                              TM_FailureData *failure, UpdatedIndexes *updated) {
  const CommandId command = GetCurrentCommandId(true);
  LockTupleMode mode;
#if PG_VERSION_NUM >= 190000
  return table_tuple_update(heap, at, slot, command, 0, snapshot, InvalidSnapshot, wait, failure, &mode, updated);
#else
  return table_tuple_update(heap, at, slot, command, snapshot, InvalidSnapshot, wait, failure, &mode, updated);
#endif
}

// An update that is told not to wait reports that it would have to; a server with assertions does
// not allow such an update.
#ifdef USE_ASSERT_CHECKING
inline constexpr bool updates_without_waiting = false;
#else
inline constexpr bool updates_without_waiting = true;
#endif

// Whether the walker returns true for a part of the expression.
inline bool walk_expression(Node *node, bool (*walker)(Node *node, void *context)) {
#if PG_VERSION_NUM >= 160000
  return expression_tree_walker(node, walker, nullptr);
#else
  // PostgreSQL before 16 declares the walker without parameters; the cast goes by a type that
  // compilers accept for any function.
  return expression_tree_walker(node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), nullptr);
#endif
}

// A jsonb value made token by token, from a zeroed maker; the result is there after the last token.
#if PG_VERSION_NUM >= 190000
using JsonbMaker = JsonbInState;
#else
struct JsonbMaker {
  JsonbValue *result;
  JsonbParseState *state;
};
#endif

inline void push_json(JsonbMaker &maker, JsonbIteratorToken token, JsonbValue *value = nullptr) {
#if PG_VERSION_NUM >= 190000
  pushJsonbValue(&maker, token, value);
#else
  maker.result = pushJsonbValue(&maker.state, token, value);
#endif
}

}  // namespace insula
