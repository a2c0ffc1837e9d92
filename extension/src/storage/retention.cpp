// Finding executions by what they are, and removing them, over SPI.
#include "core/ids.hpp"
#include "shared/watermarks.hpp"
#include "storage/record.hpp"
#include "storage/work.hpp"

namespace insula {

std::int64_t end_of_stretch(const Tenant &tenant, std::int64_t after, std::int64_t last, int rows) {
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(rows)).add(Int64GetDatum(last));
  (void)run(tenant, statement_of(TenantStatement::end_of_stretch), arguments);
  return get_int64(0, 1);
}

std::int64_t *matching_executions(const Tenant &tenant, const ExecutionFilter &filter, std::int64_t after,
                                  std::int64_t last, int *count) {
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(last)).add_text(filter.workflow);
  arguments.add(filter.status ? text_array(&filter.status, 1)
                              : text_array(filter.statuses, filter.statuses[2] ? 3 : 2));
  arguments.add(TimestampTzGetDatum(filter.before));
  const auto rows = run(tenant, statement_of(TenantStatement::matching_executions), arguments);
  auto *ids = palloc_array_of<std::int64_t>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) ids[i] = get_int64(i, 1);
  *count = static_cast<int>(rows);
  return ids;
}

FinishedExecution *finished_executions(const Tenant &tenant, std::int64_t after, std::int64_t last, int *count) {
  Arguments arguments;
  arguments.add(Int64GetDatum(after)).add(Int64GetDatum(last));
  const auto rows = run(tenant, statement_of(TenantStatement::finished_executions), arguments);
  auto *finished = palloc_array_of<FinishedExecution>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) finished[i] = {get_int64(i, 1), get_int64(i, 2)};
  *count = static_cast<int>(rows);
  return finished;
}

static std::int64_t finished_but(const Tenant &tenant, std::int64_t count, std::int64_t after, std::int64_t last) {
  Arguments arguments;
  arguments.add(Int64GetDatum(count)).add(Int64GetDatum(after)).add(Int64GetDatum(last));
  return run(tenant, statement_of(TenantStatement::finished_beyond), arguments) > 0 ? get_int64(0, 1) : 0;
}

std::int64_t finished_beyond(const Tenant &tenant, std::int64_t newest, std::int64_t count) {
  const std::int64_t found = finished_but(tenant, count, 0, newest);
  if (found || newest == core::max_local_number) return found;
  Arguments arguments;
  arguments.add(Int64GetDatum(newest));
  (void)run(tenant, statement_of(TenantStatement::finished_up_to), arguments);
  return finished_but(tenant, count - get_int64(0, 1), newest, core::max_local_number);
}

int remove_executions(const Tenant &tenant, const std::int64_t *ids, int count) {
  Arguments heads;
  heads.add(int64_array(ids, count));
  announce_racing(tenant.number);
  const auto rows = run(tenant, statement_of(TenantStatement::remove_heads), heads);
  auto *removed = palloc_array_of<std::int64_t>(rows);
  auto *lasts = palloc_array_of<std::int64_t>(rows);
  auto **keys = palloc_array_of<const char *>(rows);
  int key_count = 0;
  for (std::uint64_t i = 0; i < rows; ++i) {
    removed[i] = get_int64(i, 1);
    lasts[i] = removed[i] + get_int32(i, 2);
    if (const char *key = get_text(i, 3)) keys[key_count++] = key;
  }
  const Datum gone = int64_array(removed, static_cast<int>(rows));
  const Datum last = int64_array(lasts, static_cast<int>(rows));
  Arguments tasks;
  tasks.add(gone).add(last);
  // Elements are found by their groups, so they go first.
  (void)run(tenant, statement_of(TenantStatement::remove_elements), tasks);
  (void)run(tenant, statement_of(TenantStatement::remove_tasks), tasks);
  Arguments records;
  records.add(gone);
  (void)run(tenant, statement_of(TenantStatement::remove_records), records);
  if (key_count == 0) return static_cast<int>(rows);
  Arguments names;
  names.add(text_array(keys, key_count));
  (void)run(tenant, statement_of(TenantStatement::remove_keys), names);
  return static_cast<int>(rows);
}

Sweep read_sweep(const Tenant &tenant) {
  if (run(tenant, statement_of(TenantStatement::read_sweep)) == 0) return {DT_NOBEGIN, 0, false};
  const std::int64_t packed = get_int64(0, 2);
  return {get_int64(0, 1), packed / 2, packed % 2 != 0};
}

void write_sweep(const Tenant &tenant, const Sweep &sweep) {
  Arguments arguments;
  arguments.add(TimestampTzGetDatum(sweep.next_at))
      .add(Int64GetDatum(sweep.after * 2 + (sweep.something_left ? 1 : 0)));
  (void)run(tenant, statement_of(TenantStatement::write_sweep), arguments);
}

}  // namespace insula
