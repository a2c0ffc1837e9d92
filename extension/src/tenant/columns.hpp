// The columns of `work` and `record`, in order, each listed once.  The tables are made from these lists
// (provision/schema.cpp); direct heap access knows the columns of `work` by number, so a table with other
// columns is refused (tenant/shape.cpp).
//
// WAL of a row that is rewritten in its page omits the bytes that the new version shares with the
// old at its beginning and at its end.  So first come the columns that stay, then those that
// change, then those that the claim sets for good, and the input last.
#pragma once

#include <iterator>

#include "postgres.hpp"

extern "C" {
#include "catalog/pg_collation.h"
}

namespace insula {

// A type as SQL names it and as the catalog does.
struct SqlType {
  const char *name;
  Oid oid;
  Oid collation;
};

namespace sql_types {
inline constexpr SqlType int2 = {"smallint", INT2OID, InvalidOid};
inline constexpr SqlType int4 = {"integer", INT4OID, InvalidOid};
inline constexpr SqlType int8 = {"bigint", INT8OID, InvalidOid};
inline constexpr SqlType letter = {"\"char\"", CHAROID, InvalidOid};
inline constexpr SqlType moment = {"timestamptz", TIMESTAMPTZOID, InvalidOid};
inline constexpr SqlType bytes = {"bytea", BYTEAOID, InvalidOid};
inline constexpr SqlType json = {"jsonb", JSONBOID, InvalidOid};
inline constexpr SqlType text = {"text", TEXTOID, DEFAULT_COLLATION_OID};
inline constexpr SqlType name = {"text COLLATE \"C\"", TEXTOID, C_COLLATION_OID};
}  // namespace sql_types

enum class Nullable : bool { no, yes };

// Moments that are int8 are in microseconds as timestamps count them.
#define INSULA_WORK_COLUMNS(X)                                                                                \
  X(id, int8, no)            /* the local number */                                                           \
  X(head, int8, yes)         /* the execution's row; NULL: it is that row */                                  \
  X(parent, int8, yes)       /* the task that waits for its execution */                                      \
  X(parent_head, int8, yes)  /* that task's execution */                                                      \
  X(time_limit, int8, yes)   /* of a run, in microseconds */                                                  \
  X(limit_key, int8, yes)    /* the concurrency limit that it is under */                                     \
  X(created_at, moment, yes) /* of an execution's row */                                                      \
  X(def, int4, no)           /* the definition's number */                                                    \
  X(task, int4, no)          /* its declared position; -1: the row of an execution of several tasks */        \
  X(key, int4, no)           /* the number of its task key; 0: of such a row */                               \
  X(priority, int4, no)                                                                                       \
  X(span, int4, no)           /* how many tasks follow an execution's row; how many elements a group has */   \
  X(remaining, int4, no)      /* open dependencies; tasks of an execution, elements of a group, to end yet */ \
  X(element, int4, yes)       /* its place in a group */                                                      \
  X(first_element, int8, yes) /* of a group: the number of its first element */                               \
  X(child, int8, yes)         /* the execution that it waits for */                                           \
  X(run_at, moment, yes)      /* it was not to run before */                                                  \
  X(started_at, moment, yes)  /* its last run */                                                              \
  X(deadline, int8, yes)      /* of its run, a moment */                                                      \
  X(due, int8, yes)           /* its place in the lane: a moment */                                           \
  X(lease, int8, yes)         /* of its run: the fencing token */                                             \
  X(finished_at, moment, yes)                                                                                 \
  X(paused_at, moment, yes)                                                                                   \
  X(attempt, int4, no) /* runs so far */                                                                      \
  X(lane, int4, yes)   /* where it is queued; NULL: nowhere */                                                \
  X(state, int2, no)                                                                                          \
  X(error, text, yes)                                                                                         \
  X(output, json, yes)    /* the patch that it handed over; the final context of several tasks */             \
  X(event, json, yes)     /* what it has waited for */                                                        \
  X(waits_for, name, yes) /* the event that it waits for */                                                   \
  X(worker, text, yes)    /* of its last run */                                                               \
  X(idempotency_key, name, yes)                                                                               \
  X(input, json, yes) /* an execution's context; an element's item */

// The letters and what the other columns hold of each kind: storage/codes.hpp.
#define INSULA_RECORD_COLUMNS(X) \
  X(kind, letter, no)            \
  X(owner, int8, no)             \
  X(name, name, no)              \
  X(seq, int8, no)               \
  X(at, moment, no)              \
  X(ref, int8, yes)              \
  X(hash, bytes, yes)            \
  X(body, json, yes)

#define INSULA_COLUMN(name, type, null) name,
enum class Column { INSULA_WORK_COLUMNS(INSULA_COLUMN) count };
#undef INSULA_COLUMN

inline constexpr AttrNumber number_of(Column column) { return static_cast<AttrNumber>(static_cast<int>(column) + 1); }

struct ColumnType {
  const char *name;
  SqlType type;
  Nullable nullable;
};

#define INSULA_COLUMN(name, type, null) {#name, sql_types::type, Nullable::null},
inline constexpr ColumnType work_columns[] = {INSULA_WORK_COLUMNS(INSULA_COLUMN)};
inline constexpr ColumnType record_columns[] = {INSULA_RECORD_COLUMNS(INSULA_COLUMN)};
#undef INSULA_COLUMN

}  // namespace insula
