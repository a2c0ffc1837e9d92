// The state side of `work`: failures, graphs, cancels and reads; over SPI.
#include "storage/work.hpp"

#include <algorithm>

#include "shared/watermarks.hpp"

namespace insula {

const char *state_name(State state) {
  static const char *const names[] = {"pending",   "ready",  "running", "waiting",
                                      "completed", "failed", "skipped", "cancelled"};
  return names[static_cast<int>(state)];
}

static std::int64_t *ids_of_rows(std::uint64_t rows, int *count) {
  auto *ids = palloc_array_of<std::int64_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) ids[i] = get_int64(i, 1);
  *count = static_cast<int>(rows);
  return ids;
}

// Claims pass over what is locked here.
static void note_held(const Tenant &tenant, std::uint64_t rows) {
  for (std::uint64_t i = 0; i < rows; ++i)
    if (DatumGetBool(get_datum(i, 2))) return announce_held(tenant.number);
}

static std::uint64_t lock(const Tenant &tenant, Statement statement, const std::int64_t *ids, int count) {
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  const int before = begin_locking(tenant.number);
  const auto rows = run(tenant, statement, arguments);
  note_held(tenant, rows);
  end_locking(before);
  return rows;
}

std::int64_t *lock_executions(const Tenant &tenant, const std::int64_t *ids, int count, bool skip, int *locked) {
  return ids_of_rows(lock(tenant, skip ? Statement::lock_heads_skip : Statement::lock_heads, ids, count), locked);
}

void lock_rows(const Tenant &tenant, const std::int64_t *ids, int count) {
  (void)lock(tenant, Statement::lock_rows, ids, count);
}

// Of a lease that is lost the row may be claimable again, and is locked all the same.
static std::uint64_t run_on_leases(const Tenant &tenant, Statement statement, Arguments &arguments, int leases) {
  const int before = begin_locking(tenant.number);
  const auto rows = run(tenant, statement, arguments);
  if (rows < static_cast<std::uint64_t>(leases)) announce_held(tenant.number);
  end_locking(before);
  return rows;
}

bool fail_row(const Tenant &tenant, TimestampTz now, std::int64_t id, std::int64_t lease, const char *error) {
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(id)).add(Int64GetDatum(lease)).add_text(error);
  return run_on_leases(tenant, Statement::fail_row, arguments, 1) > 0;
}

bool retry_row(const Tenant &tenant, TimestampTz at, std::int64_t id, std::int64_t lease, const char *error) {
  Arguments arguments;
  arguments.add(Int64GetDatum(at)).add(TimestampTzGetDatum(at)).add(Int64GetDatum(id)).add(Int64GetDatum(lease));
  arguments.add_text(error);
  return run_on_leases(tenant, Statement::retry_row, arguments, 1) > 0;
}

// A task can be deferred any number of times, and hand over something each time.
static bool check_kept_output() {
  constexpr std::size_t most = std::size_t{16} << 20;
  if (!is_null(0, 2) && VARSIZE(get_jsonb(0, 2)) > most)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("what the deferred task has handed over would be too large"),
                    errdetail("At most 16 MB are kept.")));
  return true;
}

bool wait_row(const Tenant &tenant, TimestampTz until, std::int64_t id, std::int64_t lease, const char *event,
              Jsonb *patch) {
  Arguments arguments;
  arguments.add(Int64GetDatum(until)).add(TimestampTzGetDatum(until)).add(Int64GetDatum(id)).add(Int64GetDatum(lease));
  arguments.add_nullable(PointerGetDatum(patch), patch == nullptr).add_text(event);
  return run_on_leases(tenant, Statement::wait_row, arguments, 1) > 0 && check_kept_output();
}

bool hold_row(const Tenant &tenant, std::int64_t id, std::int64_t lease) {
  Arguments arguments;
  arguments.add(Int64GetDatum(id)).add(Int64GetDatum(lease));
  return run_on_leases(tenant, Statement::hold_row, arguments, 1) > 0;
}

void park_row(const Tenant &tenant, std::int64_t id, std::int64_t child) {
  Arguments arguments;
  arguments.add(Int64GetDatum(id)).add(Int64GetDatum(child));
  (void)run(tenant, Statement::park_row, arguments);
}

bool complete_parked(const Tenant &tenant, TimestampTz now, std::int64_t id, std::int64_t child, Jsonb *patch) {
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(id)).add(Int64GetDatum(child)).add(PointerGetDatum(patch));
  return run(tenant, Statement::complete_parked, arguments) > 0;
}

bool fail_parked(const Tenant &tenant, TimestampTz now, std::int64_t id, std::int64_t child, const char *error) {
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(id)).add(Int64GetDatum(child)).add_text(error);
  return run(tenant, Statement::fail_parked, arguments) > 0;
}

bool retry_parked(const Tenant &tenant, TimestampTz at, std::int64_t id, std::int64_t child, const char *error) {
  Arguments arguments;
  arguments.add(Int64GetDatum(at)).add(TimestampTzGetDatum(at)).add(Int64GetDatum(id)).add(Int64GetDatum(child));
  arguments.add_text(error);
  return run(tenant, Statement::retry_parked, arguments) > 0;
}

bool read_lineage(const Tenant &tenant, std::int64_t execution, Lineage *lineage) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution));
  if (run(tenant, Statement::lineage, arguments) == 0) return false;
  *lineage = {get_int64(0, 1), get_int32(0, 2)};
  return true;
}

// The lock of the execution's row orders who sends and who waits, whatever they see of each other.
bool deliver_event(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now, const char *name,
                   Jsonb *event, std::int32_t *key) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(PointerGetDatum(event)).add(Int64GetDatum(execution));
  arguments.add(Int64GetDatum(execution + span)).add_text(name);
  announce_racing(tenant.number);
  bool delivered = run_on_latest(tenant, Statement::deliver_event, arguments) > 0;
  if (!delivered && span > 0) {
    Arguments elements;
    elements.add(Int64GetDatum(now)).add(PointerGetDatum(event)).add(Int64GetDatum(execution));
    elements.add(Int64GetDatum(execution + span)).add_text(name);
    delivered = run_on_latest(tenant, Statement::deliver_to_element, elements) > 0;
  }
  if (delivered) *key = get_int32(0, 1);
  count_moves(tenant, delivered ? 1 : 0, 2, Place::waiting);
  return delivered;
}

bool defer_row(const Tenant &tenant, TimestampTz until, std::int64_t id, std::int64_t lease, Jsonb *patch) {
  Arguments arguments;
  arguments.add(Int64GetDatum(until)).add(TimestampTzGetDatum(until)).add(Int64GetDatum(id)).add(Int64GetDatum(lease));
  arguments.add_nullable(PointerGetDatum(patch), patch == nullptr);
  return run_on_leases(tenant, Statement::defer_row, arguments, 1) > 0 && check_kept_output();
}

// Of rows of key, state, definition and lane, the keys of those that are ready.
static std::int32_t *keys_of_ready(const Tenant &tenant, std::uint64_t rows, int *ready) {
  auto *keys = palloc_array_of<std::int32_t>(rows);
  *ready = 0;
  for (std::uint64_t i = 0; i < rows; ++i) {
    if (static_cast<State>(get_int16(i, 2)) != State::ready) continue;
    keys[(*ready)++] = get_int32(i, 1);
    count_arrived({tenant.number, get_int32(i, 3)}, place_of(get_int32(i, 4)), 1);
  }
  return keys;
}

std::int32_t *count_down(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, const std::int32_t *counts,
                         int count, int *ready) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(int64_array(ids, count)).add(int32_array(counts, count));
  return keys_of_ready(tenant, run(tenant, Statement::count_down, arguments), ready);
}

static std::int32_t *first_column(std::uint64_t rows, int *count) {
  auto *values = palloc_array_of<std::int32_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) values[i] = get_int32(i, 1);
  *count = static_cast<int>(rows);
  return values;
}

std::int32_t *count_down_rules(const Tenant &tenant, const std::int64_t *ids, const std::int32_t *counts, int count,
                               int *open) {
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int32_array(counts, count));
  const auto rows = run(tenant, Statement::count_down_rules, arguments);
  auto *tasks = palloc_array_of<std::int32_t>(rows);
  *open = 0;
  for (std::uint64_t i = 0; i < rows; ++i)
    if (get_int32(i, 2) == 0) tasks[(*open)++] = get_int32(i, 1);
  return tasks;
}

std::int32_t *make_ready(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, int count, int *ready) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(int64_array(ids, count));
  const auto rows = run(tenant, Statement::make_ready, arguments);
  count_arrivals(tenant, rows, 2);
  return first_column(rows, ready);
}

std::int32_t *skip_rows(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, int count, int *skipped) {
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(int64_array(ids, count));
  return first_column(run(tenant, Statement::skip_rows, arguments), skipped);
}

State *task_states(const Tenant &tenant, const std::int64_t *ids, int count) {
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  const auto rows = run(tenant, Statement::task_states, arguments);
  auto *states = static_cast<State *>(palloc0(sizeof(State) * static_cast<Size>(count + 1)));
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::int64_t *at = std::lower_bound(ids, ids + count, get_int64(row, 1));
    if (at != ids + count) states[at - ids] = static_cast<State>(get_int16(row, 2));
  }
  return states;
}

static HeadProgress read_head(std::uint64_t row, std::int64_t id, int first_column) {
  return {id,
          get_int32(row, first_column),
          get_int32(row, first_column + 1),
          get_int32(row, first_column + 2),
          get_jsonb(row, first_column + 3),
          get_int64(row, first_column + 4),
          get_int64(row, first_column + 5)};
}

HeadProgress *head_progress(const Tenant &tenant, const std::int64_t *ids, const std::int32_t *ended, int count,
                            int *found) {
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int32_array(ended, count));
  const auto rows = run(tenant, Statement::head_progress, arguments);
  auto *heads = palloc_array_of<HeadProgress>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) heads[i] = read_head(i, get_int64(i, 1), 2);
  *found = static_cast<int>(rows);
  return heads;
}

TaskResult read_result(std::uint64_t row) {
  return {get_int32(row, 1), static_cast<State>(get_int16(row, 2)),
          get_jsonb(row, 3), get_text(row, 4),
          get_int32(row, 5), get_int64(row, 6),
          get_int64(row, 7), get_text(row, 8)};
}

TaskResult *task_results(const Tenant &tenant, std::int64_t execution, std::int32_t span, int *count) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  const auto rows = run(tenant, Statement::task_rows, arguments);
  auto *results = palloc_array_of<TaskResult>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) results[i] = read_result(i);
  *count = static_cast<int>(rows);
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
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  const auto rows = run(tenant, Statement::task_details, arguments);
  auto *details = static_cast<TaskDetail *>(palloc0(sizeof(TaskDetail) * static_cast<Size>(tasks)));
  for (std::uint64_t i = 0; i < rows; ++i) details[get_int32(i, 1)] = read_detail(i);
  return details;
}

void end_execution(const Tenant &tenant, std::int64_t id, State state, TimestampTz now, Jsonb *final_context,
                   const char *error) {
  Arguments arguments;
  arguments.add(Int64GetDatum(id)).add(Int32GetDatum(static_cast<std::int32_t>(state))).add(TimestampTzGetDatum(now));
  arguments.add_nullable(PointerGetDatum(final_context), final_context == nullptr).add_text(error);
  (void)run(tenant, Statement::end_execution, arguments);
}

// A row of the last result, which has its former lane in this column and its limit in the next.
static void count_cancelled(const Tenant &tenant, std::uint64_t row, std::int32_t definition, int column) {
  if (is_null(row, column)) return;
  const std::int32_t lane = get_int32(row, column);
  count_left({tenant.number, definition}, place_of(lane), 1);
  if (lane == lane_running && !is_null(row, column + 1))
    note_started(tenant.number, get_int64(row, column + 1), -1);
}

bool cancel_execution_row(const Tenant &tenant, std::int64_t id, TimestampTz now, const char *reason,
                          HeadProgress *execution, std::int64_t *child) {
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(id)).add_text(reason);
  announce_held(tenant.number);
  if (run(tenant, Statement::cancel_single, arguments) == 0) return false;
  *execution = read_head(0, id, 1);
  *child = get_int64(0, 7);
  // The row of an execution of several tasks may stand in the queue for its timeout.
  if (execution->span == 0) count_cancelled(tenant, 0, execution->definition, 8);
  return true;
}

// Of rows that were cancelled, with what they waited for, definition, former lane and limit: the
// executions that they waited for.
static std::int64_t *children_of_cancelled(const Tenant &tenant, std::uint64_t rows, int *count) {
  auto *children = palloc_array_of<std::int64_t>(rows);
  *count = 0;
  for (std::uint64_t i = 0; i < rows; ++i) {
    if (!is_null(i, 1)) children[(*count)++] = get_int64(i, 1);
    count_cancelled(tenant, i, get_int32(i, 2), 3);
  }
  return children;
}

std::int64_t *cancel_task_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now,
                               int *children) {
  announce_held(tenant.number);
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  int direct;
  const std::int64_t *of_tasks =
      children_of_cancelled(tenant, run(tenant, Statement::cancel_tasks, arguments), &direct);
  Arguments elements;
  elements.add(TimestampTzGetDatum(now)).add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  int indirect;
  const std::int64_t *of_elements =
      children_of_cancelled(tenant, run(tenant, Statement::cancel_elements, elements), &indirect);
  auto *all = palloc_array_of<std::int64_t>(static_cast<std::size_t>(direct + indirect));
  std::merge(of_tasks, of_tasks + direct, of_elements, of_elements + indirect, all);
  *children = direct + indirect;
  return all;
}

bool lock_open_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span, std::int64_t **children,
                    int *child_count) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  *children = nullptr;
  *child_count = 0;
  std::int64_t locked = 0;
  announce_held(tenant.number);
  for (Statement statement : {Statement::lock_open_tasks, Statement::lock_open_elements}) {
    const auto rows = run(tenant, statement, arguments);
    auto *waited_for = palloc_array_of<std::int64_t>(static_cast<std::size_t>(*child_count) + rows);
    std::copy(*children, *children + *child_count, waited_for);
    *children = waited_for;
    for (std::uint64_t i = 0; i < rows; ++i)
      if (const std::int64_t child = get_int64(i, 2)) waited_for[(*child_count)++] = child;
    locked += static_cast<std::int64_t>(rows);
  }
  (void)run(tenant, Statement::count_open, arguments);
  return locked == get_int64(0, 1);
}

Jsonb **outputs_of(const Tenant &tenant, const std::int64_t *ids, int count) {
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  const auto rows = run(tenant, Statement::inputs_and_outputs, arguments);
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

// Of rows of definition and lane those that are in the lanes that paused or resumed rows go to.
static void count_paused(const Tenant &tenant, std::uint64_t rows, bool paused) {
  const Place from = paused ? Place::ready : Place::paused;
  const Place to = paused ? Place::paused : Place::ready;
  for (std::uint64_t i = 0; i < rows; ++i)
    if (!is_null(i, 2) && is_queued(get_int32(i, 2)) && place_of(get_int32(i, 2)) == to)
      count_moved({tenant.number, get_int32(i, 1)}, from, to, 1);
}

void pause_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now) {
  announce_held(tenant.number);
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(now)).add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  count_paused(tenant, run(tenant, Statement::pause_rows, arguments), true);
  if (span > 0) count_paused(tenant, run(tenant, Statement::pause_elements, arguments), true);
}

void resume_rows(const Tenant &tenant, std::int64_t execution, std::int32_t span, TimestampTz now) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  count_paused(tenant, run(tenant, Statement::resume_rows, arguments), false);
  if (span > 0) count_paused(tenant, run(tenant, Statement::resume_elements, arguments), false);
}

std::int32_t *reopen_rows(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, const std::int32_t *remaining,
                          int count, int *ready) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(int64_array(ids, count)).add(int32_array(remaining, count));
  return keys_of_ready(tenant, run(tenant, Statement::reopen_rows, arguments), ready);
}

HeadProgress *timed_out_executions(const Tenant &tenant, TimestampTz now, int *count) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now));
  const auto rows = run(tenant, Statement::timed_out_executions, arguments);
  auto *heads = palloc_array_of<HeadProgress>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) heads[i] = read_head(i, get_int64(i, 1), 2);
  *count = static_cast<int>(rows);
  return heads;
}

void reopen_execution(const Tenant &tenant, std::int64_t execution, std::int32_t remaining, TimestampTz due) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int32GetDatum(remaining));
  arguments.add_nullable(Int32GetDatum(lane_timeout), due == 0).add_nullable(Int64GetDatum(due), due == 0);
  (void)run(tenant, Statement::reopen_execution, arguments);
}

ExtendedLease *extend_leases(const Tenant &tenant, TimestampTz now, TimestampTz expires, const std::int64_t *ids,
                             const std::int64_t *leases, int count, int *extended) {
  Arguments arguments;
  arguments.add(Int64GetDatum(expires)).add(int64_array(ids, count)).add(int64_array(leases, count));
  arguments.add(Int64GetDatum(now));
  const auto rows = run_on_leases(tenant, Statement::extend_leases, arguments, count);
  auto *kept = palloc_array_of<ExtendedLease>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) kept[i] = {get_int64(i, 1), DatumGetBool(get_datum(i, 2))};
  std::sort(kept, kept + rows, [](const ExtendedLease &a, const ExtendedLease &b) { return a.id < b.id; });
  *extended = static_cast<int>(rows);
  return kept;
}

StoppedLease *stopped_leases(const Tenant &tenant, TimestampTz now, const std::int64_t *ids, const std::int64_t *leases,
                             int count, int *stopped) {
  Arguments arguments;
  arguments.add(int64_array(ids, count)).add(int64_array(leases, count)).add(Int64GetDatum(now));
  const auto rows = run(tenant, Statement::stopped_leases, arguments);
  auto *leases_found = palloc_array_of<StoppedLease>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) leases_found[i] = {get_int64(i, 1), DatumGetBool(get_datum(i, 2))};
  *stopped = static_cast<int>(rows);
  return leases_found;
}

std::int64_t *live_executions(const Tenant &tenant, const std::int64_t *ids, int count, int *live) {
  Arguments arguments;
  arguments.add(int64_array(ids, count));
  return ids_of_rows(run(tenant, Statement::live_executions, arguments), live);
}

bool read_execution(const Tenant &tenant, std::int64_t id, ExecutionRow *row) {
  Arguments arguments;
  arguments.add(Int64GetDatum(id));
  if (run(tenant, Statement::execution_row, arguments) == 0) return false;
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
          get_text(0, 13)};
  return true;
}

}  // namespace insula
