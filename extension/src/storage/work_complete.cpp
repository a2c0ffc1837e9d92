// Completions, without SQL: rows are found by id and written where they were found.
#include "context/merge_patch.hpp"
#include "shared/watermarks.hpp"
#include "storage/rows.hpp"
#include "storage/tell.hpp"

extern "C" {
#include "utils/fmgroids.h"
}

namespace insula {

static void take_found(FoundTasks *found, int i) {
  const Rows &rows = *found->rows;
  found->tuples[i] = ExecCopySlotHeapTuple(rows.found);
  TaskRow &task = found->tasks[found->task_count++] = {};
  task.id = found->ids[i];
  task.head = found_int64(rows, Column::head);
  task.definition = found_int32(rows, Column::def);
  task.element = found_is_null(rows, Column::element) ? -1 : found_int32(rows, Column::element);
  task.parent_head = found_int64(rows, Column::parent_head);
}

// Looks for some of the ids, in ascending order, from the i-th on; returns where the next look begins.
// Rows claimed together mostly lie together, and are found in one walk over the index.
static int find_run(FoundTasks *found, IndexScanDesc scan, int i) {
  int end = i + 1;
  while (end < found->count && found->ids[end] - found->ids[end - 1] <= 1) ++end;
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(found->ids[i]));
  ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(found->ids[end - 1]));
  index_rescan(scan, keys, 2, nullptr, 0);
  while (next_row(*found->rows, scan)) {
    CHECK_FOR_INTERRUPTS();
    const std::int64_t id = found_int64(*found->rows, Column::id);
    while (i < end && found->ids[i] < id) ++i;
    for (; i < end && found->ids[i] == id; ++i) take_found(found, i);
  }
  return end;
}

FoundTasks find_tasks(const Tenant &tenant, const std::int64_t *ids, int count) {
  const auto room = static_cast<std::size_t>(count);
  FoundTasks found = {};
  found.rows = static_cast<Rows *>(palloc(sizeof(Rows)));
  *found.rows = open_rows(tenant, CMD_UPDATE);
  found.ids = ids;
  found.tuples = static_cast<HeapTuple *>(palloc0(room * sizeof(HeapTuple)));
  found.tasks = palloc_array_of<TaskRow>(room);
  found.count = count;
  IndexScanDesc scan = begin_row_scan(*found.rows, tenant.work_key, 2);
  for (int i = 0; i < count;) {
    CHECK_FOR_INTERRUPTS();
    i = find_run(&found, scan, i);
  }
  end_row_scan(scan);
  return found;
}

void close_found_tasks(const FoundTasks &found) { close_rows(*found.rows); }

static TaskRow complete_row(const Row &row, TimestampTz now, Jsonb *patch) {
  TaskRow task = {};
  task.id = row.get_int64(Column::id);
  task.head = row.get_int64(Column::head);
  task.definition = row.get_int32(Column::def);
  task.task = row.get_int32(Column::task);
  task.started_at = row.get_int64(Column::started_at);
  task.state = State::completed;
  task.parent = row.get_int64(Column::parent);
  task.parent_head = row.get_int64(Column::parent_head);
  task.element = row.is_null(Column::element) ? -1 : row.get_int32(Column::element);
  task.limited = !row.is_null(Column::limit_key);
  task.limit = row.get_int64(Column::limit_key);

  row.set(Column::state, Int16GetDatum(static_cast<std::int16_t>(State::completed)));
  row.set_null(Column::lane);
  row.set_null(Column::due);
  row.set_null(Column::lease);
  row.set_null(Column::error);
  row.set(Column::finished_at, TimestampTzGetDatum(now));
  if (!row.is_null(Column::output))
    patch = append_patch(datum_jsonb(row.get(Column::output)), patch ? patch : empty_object());
  row.set_nullable(Column::output, JsonbPGetDatum(patch), patch == nullptr);
  return task;
}

// Whatever has become of the row since it was found: the lease decides.
static Told complete_found(const Rows &rows, HeapTuple tuple, const Completing &how, int i, TaskRow *task) {
  for (;;) {
    read_row(rows, tuple);
    const Row &row = rows.row;
    if (row.get_int16(Column::state) != static_cast<int>(State::running) || row.is_null(Column::lease) ||
        row.get_int64(Column::lease) != how.leases[i])
      return Told::lost;
    *task = complete_row(row, how.now, how.patches[i]);
    switch (write_row(rows, tuple, how.wait)) {
      case Written::done:
        return Told::done;
      case Written::taken:
        return Told::later;
      case Written::gone:
        return Told::lost;
      case Written::moved:
        // A copy, since the next attempt may lock the row once more, in the same slot.
        tuple = ExecCopySlotHeapTuple(rows.found);
    }
  }
}

TaskRow *complete_rows(const Tenant &tenant, const FoundTasks &found, const Completing &how, int *written) {
  auto *tasks = palloc_array_of<TaskRow>(static_cast<std::size_t>(found.count));
  int count = 0;
  const int before = begin_locking(tenant.number);
  for (int i = 0; i < found.count; ++i) {
    CHECK_FOR_INTERRUPTS();
    if (!found.tuples[i]) continue;
    how.told[i] = complete_found(*found.rows, found.tuples[i], how, i, &tasks[count]);
    if (how.told[i] != Told::done) continue;
    const TaskRow &ended = tasks[count++];
    tell(tenant, end_of_run(ended, no_lane));
    tell_end_if_single(tenant, ended, State::completed);
  }
  // A lost lease leaves a row locked that may be claimable again.
  if (count < found.count) announce_locked(tenant.number);
  end_locking(before);
  *written = count;
  return tasks;
}

}  // namespace insula
