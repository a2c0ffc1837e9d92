// Reads of executions and tasks in `work`, over SPI.
#include <algorithm>

#include "storage/work.hpp"

namespace insula {

const char *state_name(State state) {
  switch (state) {
#define STATE_NAME(name, number) \
  case State::name:              \
    return #name;
    INSULA_STATES(STATE_NAME)
  }
  return nullptr;
}

bool read_execution(const Tenant &tenant, std::int64_t id, ExecutionRow *row) {
  static constexpr Statement read_execution = {
      "read_execution",
      R"(
        SELECT def, span, state, input, CASE WHEN state >= {state.completed} THEN output END, error, created_at,
          started_at, finished_at, attempt,
          paused_at IS NOT NULL, parent_head, worker, child, lease IS NOT NULL
        FROM {work}
        WHERE id = $1 AND head IS NULL)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(id));
  if (run(tenant, read_execution, arguments) == 0) return false;
  *row = {get_int32(0, 1),
          get_int32(0, 2),
          static_cast<State>(get_int16(0, 3)),
          get_jsonb(0, 4),
          get_jsonb(0, 5),
          get_text(0, 6),
          get_int64(0, 7),
          get_int64(0, 8),
          get_int64(0, 9),
          get_int32(0, 10),
          DatumGetBool(get_datum(0, 11)),
          get_int64(0, 12),
          get_text(0, 13),
          get_int64(0, 14),
          DatumGetBool(get_datum(0, 15))};
  return true;
}

TimestampTz first_start(const Tenant &tenant, std::int64_t execution, TimestampTz last_runs) {
  static constexpr Statement first_start = {
      "first_start",
      R"(
        SELECT {first_start}
        FROM (VALUES ($1)) w(id), (VALUES ($2)) t(started_at))",
      {INT8OID, TIMESTAMPTZOID},
  };
  if (!last_runs) return 0;
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(TimestampTzGetDatum(last_runs));
  (void)run(tenant, first_start, arguments);
  return get_int64(0, 1);
}

bool read_lineage(const Tenant &tenant, std::int64_t execution, Lineage *lineage) {
  static constexpr Statement read_lineage = {
      "read_lineage",
      R"(
        SELECT parent_head, priority
        FROM {work}
        WHERE id = $1 AND head IS NULL)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution));
  if (run(tenant, read_lineage, arguments) == 0) return false;
  *lineage = {get_int64(0, 1), get_int32(0, 2)};
  return true;
}

HeadProgress read_head(std::uint64_t row, std::int64_t id, int first_column) {
  return {id,
          get_int32(row, first_column),
          get_int32(row, first_column + 1),
          get_int32(row, first_column + 2),
          get_stored(row, first_column + 3),
          get_int64(row, first_column + 4),
          get_int64(row, first_column + 5)};
}

TaskResult read_result(std::uint64_t row, bool with_error) {
  return {get_int32(row, 1), static_cast<State>(get_int16(row, 2)),
          nullptr,           with_error ? get_text(row, 4) : nullptr,
          get_int32(row, 5), get_int64(row, 6),
          get_int64(row, 7), get_text(row, 8),
          get_int64(row, 9), DatumGetBool(get_datum(row, 10))};
}

// The texts of a result's errors take no more, and the last of them.
constexpr std::size_t most_errors = std::size_t{16} << 20;

TaskResults task_results(const Tenant &tenant, std::int64_t execution, std::int32_t span, std::size_t most) {
  static constexpr Statement task_results = {
      "task_results",
      R"(
        SELECT task, state, CASE WHEN state = {state.completed} THEN output END, error, attempt, started_at, finished_at,
          worker, child, lease IS NOT NULL
        FROM {work}
        WHERE id > $1 AND id <= $2
        ORDER BY id)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  const auto rows = run(tenant, task_results, arguments);
  TaskResults results = {palloc_array_of<TaskResult>(rows), static_cast<int>(rows), 0};
  for (std::uint64_t i = 0; i < rows; ++i) results.bytes += stored_size(get_datum(i, 3));
  std::size_t errors = 0;
  for (std::uint64_t i = 0; i < rows; ++i) {
    results.items[i] = read_result(i, errors <= most_errors);
    errors += stored_size(get_datum(i, 4));
  }
  for (std::uint64_t i = 0; i < rows && results.bytes <= most; ++i) results.items[i].output = get_jsonb(i, 3);
  return results;
}

TaskDetail read_detail(std::uint64_t row) {
  return {static_cast<State>(get_int16(row, 2)),
          get_int32(row, 3),
          get_int32(row, 4),
          get_int64(row, 5),
          DatumGetBool(get_datum(row, 6)),
          get_text(row, 7),
          get_text(row, 8),
          get_text(row, 9),
          get_int64(row, 10),
          get_int64(row, 11)};
}

TaskDetail *task_details(const Tenant &tenant, std::int64_t execution, std::int32_t span, int tasks) {
  static constexpr Statement task_details = {
      "task_details",
      R"(
        SELECT task, state, lane, attempt, due, paused_at IS NOT NULL, worker, error, waits_for, child, limit_key
        FROM {work}
        WHERE id >= $1 AND id <= $2 AND task >= 0)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  const auto rows = run(tenant, task_details, arguments);
  auto *details = static_cast<TaskDetail *>(palloc0(sizeof(TaskDetail) * static_cast<Size>(tasks)));
  for (std::uint64_t i = 0; i < rows; ++i) details[get_int32(i, 1)] = read_detail(i);
  return details;
}

State *task_states(const Tenant &tenant, const std::int64_t *ids, int count) {
  static constexpr Statement task_states = {
      "task_states",
      R"(
        SELECT id, state
        FROM {work}
        WHERE id = ANY ($1))",
      {INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  const auto rows = run(tenant, task_states, arguments);
  auto *states = static_cast<State *>(palloc0(sizeof(State) * static_cast<Size>(count + 1)));
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::int64_t *at = std::lower_bound(ids, ids + count, get_int64(row, 1));
    if (at != ids + count) states[at - ids] = static_cast<State>(get_int16(row, 2));
  }
  return states;
}

Jsonb **outputs_of(const Tenant &tenant, const std::int64_t *ids, int count, std::size_t most) {
  static constexpr Statement outputs_of = {
      "outputs_of",
      R"(
        SELECT id, CASE WHEN head IS NULL THEN input WHEN state = {state.completed} THEN output END
        FROM {work}
        WHERE id = ANY ($1))",
      {INT8ARRAYOID},
  };
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  const auto rows = run(tenant, outputs_of, arguments);
  std::size_t bytes = 0;
  for (std::uint64_t row = 0; row < rows; ++row) bytes += stored_size(get_datum(row, 2));
  if (bytes > most) return nullptr;
  auto **outputs = palloc_array_of<Jsonb *>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) outputs[i] = nullptr;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::int64_t id = get_int64(row, 1);
    int low = 0;
    for (int high = count; low < high;) {
      const int middle = (low + high) / 2;
      if (ids[middle] < id)
        low = middle + 1;
      else
        high = middle;
    }
    if (low < count && ids[low] == id) outputs[low] = get_jsonb(row, 2);
  }
  return outputs;
}

}  // namespace insula
