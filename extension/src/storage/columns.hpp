// The columns of `work`, in their order: who reads and writes rows without SQL knows them by
// number, so a table whose columns are not these is none of ours (tenant/tenant.cpp).
#pragma once

#include <iterator>

#include "postgres.hpp"

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
};

inline constexpr ColumnType work_columns[] = {{"id", INT8OID},
                                              {"head", INT8OID},
                                              {"parent", INT8OID},
                                              {"parent_head", INT8OID},
                                              {"time_limit", INT8OID},
                                              {"limit_key", INT8OID},
                                              {"created_at", TIMESTAMPTZOID},
                                              {"def", INT4OID},
                                              {"task", INT4OID},
                                              {"key", INT4OID},
                                              {"priority", INT4OID},
                                              {"span", INT4OID},
                                              {"remaining", INT4OID},
                                              {"element", INT4OID},
                                              {"first_element", INT8OID},
                                              {"child", INT8OID},
                                              {"run_at", TIMESTAMPTZOID},
                                              {"started_at", TIMESTAMPTZOID},
                                              {"deadline", INT8OID},
                                              {"due", INT8OID},
                                              {"lease", INT8OID},
                                              {"finished_at", TIMESTAMPTZOID},
                                              {"paused_at", TIMESTAMPTZOID},
                                              {"attempt", INT4OID},
                                              {"lane", INT4OID},
                                              {"state", INT2OID},
                                              {"error", TEXTOID},
                                              {"output", JSONBOID},
                                              {"event", JSONBOID},
                                              {"waits_for", TEXTOID},
                                              {"worker", TEXTOID},
                                              {"idempotency_key", TEXTOID},
                                              {"input", JSONBOID}};
static_assert(std::size(work_columns) == static_cast<std::size_t>(Column::count));

}  // namespace insula
