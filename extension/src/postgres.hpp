// The common headers of PostgreSQL, and after them what differs between its versions
// (pg_versions.hpp).  Code below it is C++20 without exceptions, RTTI or the C++ runtime:
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
#include "utils/tuplestore.h"
#include "utils/wait_event.h"
}

// The headers' macros min, max and others break the standard library's headers.
#undef Min
#undef Max

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

// HOLD_INTERRUPTS and RESUME_INTERRUPTS; C++20 deprecates their ++ and -- of a volatile.
inline void hold_interrupts() { InterruptHoldoffCount = InterruptHoldoffCount + 1; }
inline void resume_interrupts() {
  Assert(InterruptHoldoffCount > 0);
  InterruptHoldoffCount = InterruptHoldoffCount - 1;
}

inline Jsonb *datum_jsonb(Datum value) { return DatumGetJsonbP(value); }

// Room for `count` values of a plain type.
template <typename T>
inline T *palloc_array_of(std::size_t count) {
  return static_cast<T *>(
      MemoryContextAllocExtended(CurrentMemoryContext, (count ? count : 1) * sizeof(T), MCXT_ALLOC_HUGE));
}

}  // namespace insula

#include "pg_versions.hpp"
