// Schedules and fires in the table `record`, over SPI; see schedules.hpp.
#include "storage/schedules.hpp"

namespace insula {

namespace {

TimestampTz fire_or_none(std::uint64_t row, int column) {
  return is_null(row, column) ? DT_NOBEGIN : get_int64(row, column);
}

ScheduleRow row_at(std::uint64_t row) {
  return {get_text(row, 1), get_int64(row, 2), get_int64(row, 3), get_jsonb(row, 4), fire_or_none(row, 5)};
}

}  // namespace

ScheduleRow *all_schedules(const Tenant &tenant, int *count) {
  const auto rows = run(tenant, statement_of(TenantStatement::all_schedules));
  auto *schedules = palloc_array_of<ScheduleRow>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) schedules[i] = row_at(i);
  *count = static_cast<int>(rows);
  return schedules;
}

ListedSchedule *list_schedules(const Tenant &tenant, int *count) {
  const auto rows = run(tenant, statement_of(TenantStatement::list_schedules));
  auto *schedules = palloc_array_of<ListedSchedule>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) schedules[i] = {row_at(i), fire_or_none(i, 6)};
  *count = static_cast<int>(rows);
  return schedules;
}

bool find_schedule(const Tenant &tenant, const char *name, ScheduleRow *row) {
  Arguments arguments;
  arguments.add_text(name);
  if (run(tenant, statement_of(TenantStatement::find_schedule), arguments) == 0) return false;
  *row = {name, get_int64(0, 1), get_int64(0, 2), get_jsonb(0, 3), DT_NOBEGIN};
  return true;
}

bool is_schedule_number(const Tenant &tenant, std::int64_t number) {
  Arguments arguments;
  arguments.add(Int64GetDatum(number));
  return run(tenant, statement_of(TenantStatement::schedule_by_number), arguments) > 0;
}

std::int64_t store_schedule(const Tenant &tenant, const ScheduleRow &row) {
  Arguments arguments;
  arguments.add_text(row.name).add(Int64GetDatum(row.number)).add(TimestampTzGetDatum(row.since));
  arguments.add(JsonbPGetDatum(row.body));
  (void)run(tenant, statement_of(TenantStatement::put_schedule), arguments);
  return get_int64(0, 1);
}

void delete_schedule(const Tenant &tenant, const char *name, std::int64_t number) {
  Arguments by_name;
  by_name.add_text(name);
  (void)run(tenant, statement_of(TenantStatement::delete_schedule), by_name);
  prune_fires(tenant, number, 0);
}

bool insert_fire(const Tenant &tenant, std::int64_t schedule, TimestampTz fire, TimestampTz now,
                 std::int64_t execution) {
  Arguments arguments;
  arguments.add(Int64GetDatum(schedule)).add(Int64GetDatum(fire)).add(TimestampTzGetDatum(now));
  arguments.add_nullable(Int64GetDatum(execution), execution == 0);
  return run(tenant, statement_of(TenantStatement::insert_fire), arguments) > 0;
}

std::int64_t *newest_fired(const Tenant &tenant, std::int64_t schedule, int most, int *count) {
  Arguments arguments;
  arguments.add(Int64GetDatum(schedule)).add(Int64GetDatum(most));
  const auto rows = run(tenant, statement_of(TenantStatement::newest_fired), arguments);
  auto *executions = palloc_array_of<std::int64_t>(rows);
  *count = 0;
  for (std::uint64_t i = 0; i < rows; ++i)
    if (!is_null(i, 1)) executions[(*count)++] = get_int64(i, 1);
  return executions;
}

void prune_fires(const Tenant &tenant, std::int64_t schedule, int kept) {
  Arguments arguments;
  arguments.add(Int64GetDatum(schedule)).add(Int64GetDatum(kept));
  (void)run(tenant, statement_of(TenantStatement::prune_fires), arguments);
}

}  // namespace insula
