// The traces of tasks' runs, over SPI; see progress.hpp.
#include "storage/progress.hpp"

#include "spi/session.hpp"
#include "storage/codes.hpp"

namespace insula {

void write_progress(const Tenant &tenant, std::int64_t execution, std::int64_t task, TimestampTz now,
                    const Progress &progress) {
  static constexpr Statement write_progress = {
      "write_progress",
      R"(
        INSERT INTO {record} AS r (kind, owner, name, seq, at, body)
        SELECT {kind.progress}, $1, m.name, $2, $3, m.body
        FROM (VALUES ('', nullif(jsonb_strip_nulls(jsonb_build_object('progress', $5, 'note', $6)), '{}')),
          ('checkpoint', $4)) m(name, body)
        WHERE m.body IS NOT NULL
        ON CONFLICT (kind, owner, name, seq) DO UPDATE SET at = EXCLUDED.at,
          body = CASE WHEN r.name = '' THEN r.body || EXCLUDED.body ELSE EXCLUDED.body END)",
      {INT8OID, INT8OID, TIMESTAMPTZOID, JSONBOID, FLOAT8OID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(task)).add(TimestampTzGetDatum(now));
  arguments.add_nullable(PointerGetDatum(progress.checkpoint), !progress.checkpoint);
  if (progress.reached)
    arguments.add(Float8GetDatum(*progress.reached));
  else
    arguments.add_null();
  arguments.add_text(progress.note);
  (void)run(tenant, write_progress, arguments);
}

Jsonb *read_checkpoint(const Tenant &tenant, std::int64_t task, std::int64_t lease) {
  static constexpr Statement read_checkpoint = {
      "read_checkpoint",
      R"(
        SELECT r.body
        FROM {work} w, {record} r
        WHERE w.id = $1 AND w.lease = $2 AND w.state = {state.running}
          AND r.kind = {kind.progress} AND r.owner = coalesce(w.head, w.id) AND r.name = 'checkpoint'
          AND r.seq = w.id)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(task)).add(Int64GetDatum(lease));
  return run(tenant, read_checkpoint, arguments) > 0 ? get_jsonb(0, 1) : nullptr;
}

bool has_failed_so(const Tenant &tenant, std::int64_t task, std::int64_t lease, const char *error) {
  static constexpr Statement has_failed_so = {
      "has_failed_so",
      R"(
        SELECT id
        FROM {work}
        WHERE id = $1 AND lease = $2 AND state = {state.failed} AND error = $3)",
      {INT8OID, INT8OID, TEXTOID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(task)).add(Int64GetDatum(lease)).add_text(error);
  return run(tenant, has_failed_so, arguments) > 0;
}

ShownProgress *read_progress(const Tenant &tenant, std::int64_t execution, int *count) {
  static constexpr Statement read_progress = {
      "read_progress",
      R"(
        SELECT seq, body
        FROM {record}
        WHERE kind = {kind.progress} AND owner = $1 AND name = ''
        ORDER BY seq)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution));
  const auto rows = run(tenant, read_progress, arguments);
  auto *progress = palloc_array_of<ShownProgress>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) progress[i] = {get_int64(i, 1), get_jsonb(i, 2)};
  *count = static_cast<int>(rows);
  return progress;
}

void forget_progress(const Tenant &tenant, std::int64_t execution, std::int64_t task) {
  static constexpr Statement forget_progress = {
      "forget_progress",
      R"(
        DELETE FROM {record}
        WHERE kind = {kind.progress} AND owner = $1 AND name IN ('', 'checkpoint') AND seq = $2)",
      {INT8OID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(task));
  (void)run(tenant, forget_progress, arguments);
}

namespace {

struct Tally {
  const char *name;
  bool in_a_row;  // counted from the last time that the task was put off
};
constexpr Tally lapses = {"lapses", true};
constexpr Tally free_retries = {"free_retries", false};

// Ids of the tasks, then of their executions, and which tally.
Arguments tally_arguments(const TaskOfExecution *tasks, int count, const Tally &tally) {
  auto *ids = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  auto *executions = palloc_array_of<std::int64_t>(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    ids[i] = tasks[i].task;
    executions[i] = tasks[i].execution;
  }
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int64_array(executions, count));
  arguments.add_text(tally.name).add(BoolGetDatum(tally.in_a_row));
  return arguments;
}

// A task that is put off, by whatever call, gets another run_at.
void add_to_tally(const Tenant &tenant, const TaskOfExecution *tasks, int count, const Tally &tally) {
  static constexpr Statement add_to_tally = {
      "add_to_tally",
      R"(
        INSERT INTO {record} AS r (kind, owner, name, seq, ref, at)
        SELECT {kind.tally}, u.execution, $3, u.task, 1,
          CASE WHEN $4 THEN coalesce(w.run_at, '-infinity') ELSE '-infinity' END
        FROM unnest($1, $2) u(task, execution), {work} w
        WHERE w.id = ANY (ARRAY[u.task])
        ON CONFLICT (kind, owner, name, seq) DO UPDATE SET
          ref = CASE WHEN r.at = EXCLUDED.at THEN r.ref + 1 ELSE 1 END, at = EXCLUDED.at)",
      {INT8ARRAYOID, INT8ARRAYOID, TEXTOID, BOOLOID},
  };
  if (count == 0) return;
  Arguments arguments = tally_arguments(tasks, count, tally);
  (void)run(tenant, add_to_tally, arguments);
}

std::int64_t *read_tally(const Tenant &tenant, const TaskOfExecution *tasks, int count, const Tally &tally) {
  static constexpr Statement read_tally = {
      "read_tally",
      R"(
        SELECT (
          SELECT r.ref
          FROM {record} r, {work} w
          WHERE r.kind = {kind.tally} AND r.owner = ANY (ARRAY[u.execution]) AND r.name = ANY (ARRAY[$3])
            AND r.seq = ANY (ARRAY[u.task]) AND w.id = ANY (ARRAY[u.task])
            AND r.at = CASE WHEN $4 THEN coalesce(w.run_at, '-infinity') ELSE '-infinity' END)
        FROM unnest($1, $2) WITH ORDINALITY u(task, execution, n)
        ORDER BY u.n)",
      {INT8ARRAYOID, INT8ARRAYOID, TEXTOID, BOOLOID},
  };
  Arguments arguments = tally_arguments(tasks, count, tally);
  const auto rows = run(tenant, read_tally, arguments);
  auto *counts = palloc_array_of<std::int64_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) counts[i] = get_int64(i, 1);
  return counts;
}

}  // namespace

void add_lapses(const Tenant &tenant, const TaskOfExecution *tasks, int count) {
  add_to_tally(tenant, tasks, count, lapses);
}

std::int64_t *count_lapses(const Tenant &tenant, const TaskOfExecution *tasks, int count) {
  return read_tally(tenant, tasks, count, lapses);
}

void forget_lapses(const Tenant &tenant, const TaskOfExecution &task) {
  static constexpr Statement forget_lapses = {
      "forget_lapses",
      R"(
        DELETE FROM {record}
        WHERE kind = {kind.tally} AND owner = $1 AND name = $2 AND seq = $3)",
      {INT8OID, TEXTOID, INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(task.execution)).add_text(lapses.name).add(Int64GetDatum(task.task));
  (void)run(tenant, forget_lapses, arguments);
}

void add_free_retry(const Tenant &tenant, const TaskOfExecution &task) { add_to_tally(tenant, &task, 1, free_retries); }

std::int64_t count_free_retries(const Tenant &tenant, const TaskOfExecution &task) {
  return *read_tally(tenant, &task, 1, free_retries);
}

void forget_tallies(const Tenant &tenant, std::int64_t execution) {
  static constexpr Statement forget_tallies = {
      "forget_tallies",
      R"(
        DELETE FROM {record}
        WHERE kind = {kind.tally} AND owner = $1)",
      {INT8OID},
  };
  Arguments arguments;
  arguments.add(Int64GetDatum(execution));
  (void)run(tenant, forget_tallies, arguments);
}

}  // namespace insula
