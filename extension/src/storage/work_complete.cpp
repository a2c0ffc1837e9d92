// Completions, without SQL: rows are found by id and written where they were found.
#include "context/merge_patch.hpp"
#include "shared/lows.hpp"
#include "storage/rows.hpp"
#include "storage/work.hpp"

namespace insula {

FoundTasks find_tasks(const Tenant &tenant, const std::int64_t *ids, int count) {
  FoundTasks found = {};
  const Rows rows = open_rows(tenant, CMD_UPDATE);
  found.rows = static_cast<Rows *>(palloc(sizeof(Rows)));
  *found.rows = rows;
  found.ids = ids;
  found.tuples = palloc_array_of<HeapTuple>(static_cast<std::size_t>(count));
  found.tasks = palloc_array_of<TaskRow>(static_cast<std::size_t>(count));
  found.count = count;
  IndexScanDesc scan = begin_row_scan(rows, tenant.work_key, 1);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    found.tuples[i] = nullptr;
    if (!find_row(rows, scan, ids[i])) continue;
    found.tuples[i] = ExecCopySlotHeapTuple(rows.found);
    TaskRow &task = found.tasks[found.task_count++] = {};
    task.id = ids[i];
    task.head = found_int64(rows, Column::head);
    task.parent_head = found_int64(rows, Column::parent_head);
  }
  end_row_scan(scan);
  return found;
}

void end_tasks(const FoundTasks &found) { close_rows(*found.rows); }

static TaskRow complete_row(const Row &row, TimestampTz now, Jsonb *patch) {
  TaskRow task = {};
  task.id = row.get_int64(Column::id);
  task.head = row.get_int64(Column::head);
  task.definition = row.get_int32(Column::def);
  task.task = row.get_int32(Column::task);
  task.state = State::completed;
  task.parent = row.get_int64(Column::parent);
  task.parent_head = row.get_int64(Column::parent_head);
  task.element = row.is_null(Column::element) ? -1 : row.get_int32(Column::element);
  task.limited = !row.is_null(Column::limit_key);

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
static bool complete_found(const Rows &rows, HeapTuple tuple, TimestampTz now, std::int64_t lease, Jsonb *patch,
                           TaskRow *task) {
  for (;;) {
    read_row(rows, tuple);
    const Row &row = rows.row;
    if (row.get_int16(Column::state) != static_cast<int>(State::running) || row.is_null(Column::lease) ||
        row.get_int64(Column::lease) != lease)
      return false;
    *task = complete_row(row, now, patch);
    switch (write_row(rows, tuple)) {
      case Written::done:
        return true;
      case Written::gone:
        return false;
      case Written::moved:
        tuple = found_tuple(rows);
    }
  }
}

TaskRow *complete_rows(const Tenant &tenant, const FoundTasks &found, TimestampTz now, const std::int64_t *leases,
                       Jsonb *const *patches, int *entries, int *written) {
  auto *tasks = palloc_array_of<TaskRow>(static_cast<std::size_t>(found.count));
  int count = 0;
  const int before = begin_locking(tenant.number);
  for (int i = 0; i < found.count; ++i) {
    CHECK_FOR_INTERRUPTS();
    if (!found.tuples[i] || !complete_found(*found.rows, found.tuples[i], now, leases[i], patches[i], &tasks[count]))
      continue;
    entries[count++] = i;
  }
  // Of a lease that is lost the row may be claimable again, and is locked all the same.
  if (count < found.count) mark_held(tenant.number);
  end_locking(before);
  *written = count;
  return tasks;
}

}  // namespace insula
