// The columns of `work` and `record`, in order.  Direct heap access knows the columns of `work` by
// number, so a table with other columns is refused (tenant/shape.cpp).
#pragma once

#include <iterator>

#include "postgres.hpp"

extern "C" {
#include "catalog/pg_collation.h"
}

namespace insula {

enum class Column {
  id,
  head,
  parent,
  parent_head,
  time_limit,
  limit_key,
  created_at,
  def,
  task,
  key,
  priority,
  span,
  remaining,
  element,
  first_element,
  child,
  run_at,
  started_at,
  deadline,
  due,
  lease,
  finished_at,
  paused_at,
  attempt,
  lane,
  state,
  error,
  output,
  event,
  waits_for,
  worker,
  idempotency_key,
  input,
  count
};

inline constexpr AttrNumber number_of(Column column) { return static_cast<AttrNumber>(static_cast<int>(column) + 1); }

struct ColumnType {
  const char *name;
  Oid type;
  bool not_null;
  Oid collation;
};

inline constexpr ColumnType work_columns[] = {{"id", INT8OID, true, InvalidOid},
                                              {"head", INT8OID, false, InvalidOid},
                                              {"parent", INT8OID, false, InvalidOid},
                                              {"parent_head", INT8OID, false, InvalidOid},
                                              {"time_limit", INT8OID, false, InvalidOid},
                                              {"limit_key", INT8OID, false, InvalidOid},
                                              {"created_at", TIMESTAMPTZOID, false, InvalidOid},
                                              {"def", INT4OID, true, InvalidOid},
                                              {"task", INT4OID, true, InvalidOid},
                                              {"key", INT4OID, true, InvalidOid},
                                              {"priority", INT4OID, true, InvalidOid},
                                              {"span", INT4OID, true, InvalidOid},
                                              {"remaining", INT4OID, true, InvalidOid},
                                              {"element", INT4OID, false, InvalidOid},
                                              {"first_element", INT8OID, false, InvalidOid},
                                              {"child", INT8OID, false, InvalidOid},
                                              {"run_at", TIMESTAMPTZOID, false, InvalidOid},
                                              {"started_at", TIMESTAMPTZOID, false, InvalidOid},
                                              {"deadline", INT8OID, false, InvalidOid},
                                              {"due", INT8OID, false, InvalidOid},
                                              {"lease", INT8OID, false, InvalidOid},
                                              {"finished_at", TIMESTAMPTZOID, false, InvalidOid},
                                              {"paused_at", TIMESTAMPTZOID, false, InvalidOid},
                                              {"attempt", INT4OID, true, InvalidOid},
                                              {"lane", INT4OID, false, InvalidOid},
                                              {"state", INT2OID, true, InvalidOid},
                                              {"error", TEXTOID, false, DEFAULT_COLLATION_OID},
                                              {"output", JSONBOID, false, InvalidOid},
                                              {"event", JSONBOID, false, InvalidOid},
                                              {"waits_for", TEXTOID, false, C_COLLATION_OID},
                                              {"worker", TEXTOID, false, DEFAULT_COLLATION_OID},
                                              {"idempotency_key", TEXTOID, false, C_COLLATION_OID},
                                              {"input", JSONBOID, false, InvalidOid}};
static_assert(std::size(work_columns) == static_cast<std::size_t>(Column::count));

inline constexpr ColumnType record_columns[] = {
    {"kind", CHAROID, true, InvalidOid},      {"owner", INT8OID, true, InvalidOid},
    {"name", TEXTOID, true, C_COLLATION_OID}, {"seq", INT8OID, true, InvalidOid},
    {"at", TIMESTAMPTZOID, true, InvalidOid}, {"ref", INT8OID, false, InvalidOid},
    {"hash", BYTEAOID, false, InvalidOid},    {"body", JSONBOID, false, InvalidOid}};

}  // namespace insula
