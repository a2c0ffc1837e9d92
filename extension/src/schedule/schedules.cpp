// Making, changing and removing schedules; see schedules.hpp.  A schedule fires only after the
// moment at which it was made, resumed, or last given other times: a fire that a new expression or
// window would have had before, or that a pause held back, was never missed.
#include "schedule/schedules.hpp"

#include <algorithm>

#include "definition/definition.hpp"
#include "storage/record.hpp"
#include "storage/work.hpp"

namespace insula {

namespace {

// When one schedule of a tenant is due, a scheduler looks at all of them.
constexpr int max_schedules = 10000;

void check_room(const Tenant &tenant) {
  if (count_schedules(tenant) < max_schedules) return;
  ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("tenant \"%s\" has too many schedules", tenant.name),
                  errdetail("A tenant can have %d.", max_schedules)));
}

// A number that no schedule has, nor a fire of a removed schedule.
std::int64_t take_schedule_number(const Tenant &tenant) {
  for (;;) {
    const std::int64_t number = take_numbers(tenant, 1);
    if (!is_schedule_number(tenant, number)) return number;
  }
}

bool same_times(const ScheduleSpec &a, const ScheduleSpec &b) {
  return strcmp(a.cron, b.cron) == 0 && strcmp(a.timezone, b.timezone) == 0 && a.starts_at == b.starts_at &&
         a.ends_at == b.ends_at;
}

}  // namespace

std::int64_t put_schedule(const Tenant &tenant, const char *name, ScheduleSpec spec, Jsonb *context, TimestampTz now) {
  (void)require_workflow(tenant, spec.workflow);
  ScheduleRow row;
  const bool known = find_schedule(tenant, name, &row);
  if (known) {
    const ScheduleSpec before = spec_from_json(row.body);
    spec.paused = before.paused;
    if (!same_times(before, spec)) row.since = now;
  } else {
    check_room(tenant);
    row = {name, take_schedule_number(tenant), now, nullptr, DT_NOBEGIN};
  }
  row.body = spec_as_json(spec);
  const std::int64_t number = store_schedule(tenant, row);
  store_schedule_context(tenant, number, now, context);
  return number;
}

bool remove_schedule(const Tenant &tenant, const char *name) {
  ScheduleRow row;
  if (!find_schedule(tenant, name, &row)) return false;
  delete_schedule(tenant, name, row.number);
  return true;
}

PauseChange set_schedule_paused(const Tenant &tenant, const char *name, bool paused, TimestampTz now) {
  ScheduleRow row;
  if (!find_schedule(tenant, name, &row)) return PauseChange::unknown;
  ScheduleSpec spec = spec_from_json(row.body);
  if (spec.paused == paused) return PauseChange::already;
  spec.paused = paused;
  row.body = spec_as_json(spec);
  if (!paused) row.since = now;
  (void)store_schedule(tenant, row);
  return PauseChange::done;
}

}  // namespace insula
