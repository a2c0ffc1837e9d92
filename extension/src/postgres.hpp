// The only file that includes PostgreSQL's headers, and the only one that knows the differences
// between its versions.  Code below it is C++20 without exceptions, RTTI or the C++ runtime:
// ereport leaves a frame by longjmp, so no object with a destructor may live in a frame that calls
// the server, and memory comes from palloc.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
#include "postgres.h"

// libpq-be.h would include Kerberos' headers; without them PostgreSQL keeps the offsets of its
// structs.
#undef ENABLE_GSS

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/user.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
}

// The headers' macros min, max and others break the standard library's headers.
#undef Min
#undef Max

#if PG_VERSION_NUM < 150000
#error "Insula needs PostgreSQL 15 or later"
#endif

// The linker exports only the symbols that the server looks up by name; PostgreSQL's headers before
// 16 do not mark them.
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))

// Declares a function that SQL calls.
#define INSULA_FUNCTION(name)                          \
  extern "C" PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
  extern "C" {                                         \
  PG_FUNCTION_INFO_V1(name);                           \
  }                                                    \
  static_assert(true)

namespace insula {

// This backend's index in arrays of MaxBackends elements.
inline int backend_slot() {
#if PG_VERSION_NUM >= 170000
  return MyProcNumber;
#else
  return MyBackendId - 1;
#endif
}

inline IndexScanDesc begin_index_scan(Relation heap, Relation index, Snapshot snapshot, int keys) {
#if PG_VERSION_NUM >= 180000
  return index_beginscan(heap, index, snapshot, nullptr, keys, 0);
#else
  return index_beginscan(heap, index, snapshot, keys, 0);
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
#if PG_VERSION_NUM >= 160000
  (void)ExecInsertIndexTuples(target, slot, estate, is_update, false, nullptr, NIL, which == TU_Summarizing);
#else
  (void)ExecInsertIndexTuples(target, slot, estate, is_update, false, nullptr, NIL);
#endif
}

// An update that is told not to wait reports that it would have to; a server with assertions does
// not allow such an update.
#ifdef USE_ASSERT_CHECKING
inline constexpr bool updates_without_waiting = false;
#else
inline constexpr bool updates_without_waiting = true;
#endif

// The wait event that pg_stat_activity shows; before PostgreSQL 17 extensions have no names of
// their own.
inline std::uint32_t wait_event(const char *name) {
#if PG_VERSION_NUM >= 170000
  return WaitEventExtensionNew(name);
#else
  (void)name;
  return PG_WAIT_EXTENSION;
#endif
}

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

inline Jsonb *datum_jsonb(Datum value) { return DatumGetJsonbP(value); }

// Room for `count` values of a plain type.
template <typename T>
inline T *palloc_array_of(std::size_t count) {
  return static_cast<T *>(
      MemoryContextAllocExtended(CurrentMemoryContext, (count ? count : 1) * sizeof(T), MCXT_ALLOC_HUGE));
}

}  // namespace insula
