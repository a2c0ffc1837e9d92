// The columns of `work` and `record`, in order, each listed once.  The tables are made from these lists
// (provision/schema.cpp), with their comments (provision/comments.cpp); direct heap access knows the columns of `work`
// by number, so a table with other columns is refused (tenant/shape.cpp).  docs/architecture.md names each of these.
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

// With what \d+ says of each.  Moments that are int8 are in microseconds as timestamps count them.
#define INSULA_WORK_COLUMNS(X)                                                                                   \
  X(id, int8, no, "Local number; the id that users see has the tenant's number in front of it.")                 \
  X(head, int8, yes, "The row of the task's execution; NULL in that row itself.")                                \
  X(parent, int8, yes, "The task that waits for this execution; NULL: none.")                                    \
  X(parent_head, int8, yes, "The execution of the task in parent.")                                              \
  X(time_limit, int8, yes, "The microseconds that one run of the task may take; NULL: any.")                     \
  X(limit_key, int8, yes, "The concurrency limit that the task is under; NULL: none.")                           \
  X(created_at, moment, yes, "The time of submission; NULL in tasks of larger executions.")                      \
  X(def, int4, no, "The number of the version of the workflow.")                                                 \
  X(task, int4, no, "The declared position of the task; -1 in the row of a larger execution.")                   \
  X(key, int4, no, "The number of the task's key, by which workers claim.")                                      \
  X(priority, int4, no, "The priority of the execution plus that of the task.")                                  \
  X(span, int4, no, "The number of rows that belong to this one: tasks, or elements of a group.")                \
  X(remaining, int4, no, "Open dependencies of a task; open tasks of an execution or a group.")                  \
  X(element, int4, yes,                                                                                          \
    "The place of an element in its group; in the row of an execution that runs, the task whose context it "     \
    "keeps; NULL: neither.")                                                                                     \
  X(first_element, int8, yes, "The first element of a group.")                                                   \
  X(child, int8, yes, "The execution that the task waits for.")                                                  \
  X(run_at, moment, yes, "The time before which the task does not run.")                                         \
  X(started_at, moment, yes, "The start of the present or the last run.")                                        \
  X(deadline, int8, yes, "The moment at which the present run reaches its time limit.")                          \
  X(due, int8, yes, "The place in the lane: an order, or the moment at which time changes the row.")             \
  X(lease, int8, yes, "The fencing token of the present or the last run.")                                       \
  X(finished_at, moment, yes, "The time of the end.")                                                            \
  X(paused_at, moment, yes, "The time since which the execution is paused; NULL: it is not.")                    \
  X(attempt, int4, no, "The number of the present or the last run.")                                             \
  X(lane, int4, yes, "The part of the queue that the row is in; NULL: not queued.")                              \
  X(state, int2, no, "0 pending, 1 ready, 2 running, 3 waiting, 4 completed, 5 failed, 6 skipped, 7 cancelled.") \
  X(error, text, yes, "The error of the last run that failed, or the reason of the end.")                        \
  X(output, json, yes,                                                                                           \
    "The patch of the task; in the row of a larger execution, its final context, or while it runs a context "    \
    "that it keeps.")                                                                                            \
  X(event, json, yes, "The event that the task was given.")                                                      \
  X(waits_for, name, yes, "The name of the event that the task waits for.")                                      \
  X(worker, text, yes, "The worker of the present or the last run.")                                             \
  X(idempotency_key, name, yes, "The idempotency key of the submission.")                                        \
  X(input, json, yes, "The input of an execution; the item of an element.")

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

#define INSULA_COLUMN(name, type, null, meaning) name,
enum class Column { INSULA_WORK_COLUMNS(INSULA_COLUMN) count };
#undef INSULA_COLUMN

inline constexpr AttrNumber number_of(Column column) { return static_cast<AttrNumber>(static_cast<int>(column) + 1); }

struct ColumnType {
  const char *name;
  SqlType type;
  Nullable nullable;
};

#define INSULA_COLUMN(name, type, null, ...) {#name, sql_types::type, Nullable::null},
inline constexpr ColumnType work_columns[] = {INSULA_WORK_COLUMNS(INSULA_COLUMN)};
inline constexpr ColumnType record_columns[] = {INSULA_RECORD_COLUMNS(INSULA_COLUMN)};
#undef INSULA_COLUMN

}  // namespace insula
