// SQL entry points for schedules.
#include "schedule/schedules.hpp"

#include <algorithm>

#include "core/ids.hpp"
#include "core/names.hpp"
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "entry/prologue.hpp"
#include "errors.hpp"
#include "schedule/zone.hpp"
#include "shared/clock.hpp"

using namespace insula;

INSULA_FUNCTION(insula_schedule);
INSULA_FUNCTION(insula_unschedule);
INSULA_FUNCTION(insula_pause_schedule);
INSULA_FUNCTION(insula_resume_schedule);
INSULA_FUNCTION(insula_schedules);

namespace {

constexpr std::int32_t most_catch_up = 1000;
constexpr std::int64_t longest_jitter = USECS_PER_DAY;

const char *required_schedule(FunctionCallInfo fcinfo) {
  const char *name = required_text(fcinfo, 0, "name");
  if (!core::is_valid_name(name)) refuse_name("invalid schedule name");
  return name;
}

[[noreturn]] void require_one_of(const char *parameter, const char *words) {
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must be %s", parameter, words)));
  pg_unreachable();
}

// A bound of the window; NULL and infinity: none.
TimestampTz bound(FunctionCallInfo fcinfo, int argument, TimestampTz none, const char *name) {
  if (PG_ARGISNULL(argument)) return none;
  const TimestampTz time = PG_GETARG_TIMESTAMPTZ(argument);
  if (TIMESTAMP_NOT_FINITE(time) && time != none)
    ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("%s must be finite", name)));
  return time;
}

ScheduleSpec spec_of(FunctionCallInfo fcinfo) {
  ScheduleSpec spec = {};
  spec.workflow = required_text(fcinfo, 1, "workflow");
  spec.cron = required_text(fcinfo, 2, "cron");
  spec.timezone = required_text(fcinfo, 3, "timezone");
  if (!read_catch_up(required_text(fcinfo, 5, "catch_up"), &spec.catch_up))
    require_one_of("catch_up", "skip, run_once or run_all");
  spec.max_catch_up = required_int32(fcinfo, 6, "max_catch_up");
  if (spec.max_catch_up < 1 || spec.max_catch_up > most_catch_up)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_catch_up must be between 1 and %d", most_catch_up)));
  spec.starts_at = bound(fcinfo, 7, DT_NOBEGIN, "starts_at");
  spec.ends_at = bound(fcinfo, 8, DT_NOEND, "ends_at");
  if (spec.ends_at < spec.starts_at)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("ends_at must not be before starts_at")));
  if (!read_overlap(required_text(fcinfo, 9, "overlap"), &spec.overlap))
    require_one_of("overlap", "allow, skip, queue or cancel");
  spec.jitter = PG_ARGISNULL(10) ? 0 : required_duration(fcinfo, 10, "jitter");
  if (spec.jitter > longest_jitter)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("jitter must be at most one day")));
  spec.timezone = spelling_of(fire_rules(spec, 0).zone);
  return spec;
}

[[noreturn]] void no_such_schedule(const char *name) {
  ereport(ERROR, (errcode(INSULA_NO_EXECUTION), errmsg("schedule \"%s\" does not exist", name)));
  pg_unreachable();
}

bool change_pause(FunctionCallInfo fcinfo, bool paused) {
  const char *name = required_text(fcinfo, 0, "name");
  const Tenant *tenant = enter_named_tenant(fcinfo, 1);
  const PauseChange change = in_session([&] { return set_schedule_paused(*tenant, name, paused, clock_now()); });
  if (change == PauseChange::unknown) no_such_schedule(name);
  return change == PauseChange::done;
}

// The schedule's next fire by its cron expression, before jitter; DT_NOEND: none.
TimestampTz next_fire_of(const ScheduleRow &row, const ScheduleSpec &spec) {
  const std::int64_t next =
      core::next_allowed_fire(fire_rules(spec, row.number), seconds_of(std::max(row.since, row.last_fire)));
  return next > core::last_instant ? DT_NOEND : time_of(next);
}

void put_schedule_row(ReturnSetInfo *result, const Tenant &tenant, const ListedSchedule &schedule, bool with_context) {
  const ScheduleSpec spec = spec_from_json(schedule.row.body);
  const TimestampTz next = spec.paused ? DT_NOEND : next_fire_of(schedule.row, spec);
  const char *status = spec.paused ? "paused" : next == DT_NOEND ? "ended" : "active";
  put_row(result,
          {text_field(schedule.row.name), text_field(spec.workflow), text_field(spec.cron), text_field(spec.timezone),
           text_field(status), time_field(next, DT_NOEND), time_field(schedule.last_made, DT_NOBEGIN),
           schedule.last_execution ? int64_field(core::make_id(tenant.number, schedule.last_execution)) : null_field(),
           json_field(with_context ? listed_context(tenant, schedule.row.number) : nullptr)});
}

}  // namespace

Datum insula_schedule(PG_FUNCTION_ARGS) {
  require_writable("insula.schedule()");
  const char *name = required_schedule(fcinfo);
  require_not_null(fcinfo, 4, "context");
  Jsonb *context = context_argument(fcinfo, 4);
  const ScheduleSpec spec = spec_of(fcinfo);
  const Tenant *tenant = enter_named_tenant(fcinfo, 11);
  const std::int64_t number = in_session([&] { return put_schedule(*tenant, name, spec, context, clock_now()); });
  PG_RETURN_INT64(core::make_id(tenant->number, number));
}

Datum insula_unschedule(PG_FUNCTION_ARGS) {
  require_writable("insula.unschedule()");
  const char *name = required_text(fcinfo, 0, "name");
  const Tenant *tenant = enter_named_tenant(fcinfo, 1);
  PG_RETURN_BOOL(in_session([&] { return remove_schedule(*tenant, name); }));
}

Datum insula_pause_schedule(PG_FUNCTION_ARGS) {
  require_writable("insula.pause_schedule()");
  PG_RETURN_BOOL(change_pause(fcinfo, true));
}

Datum insula_resume_schedule(PG_FUNCTION_ARGS) {
  require_writable("insula.resume_schedule()");
  PG_RETURN_BOOL(change_pause(fcinfo, false));
}

Datum insula_schedules(PG_FUNCTION_ARGS) {
  const Tenant *tenant = open_named_tenant(fcinfo, 0, Access::read);
  const bool with_context = required_bool(fcinfo, 1, "with_context");
  ReturnSetInfo *result = begin_rows(fcinfo);
  in_session([&] {
    int count;
    const ListedSchedule *schedules = list_schedules(*tenant, &count);
    MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "insula schedule", ALLOCSET_DEFAULT_SIZES);
    for (int i = 0; i < count; ++i) {
      CHECK_FOR_INTERRUPTS();
      in_scratch(scratch, [&] { put_schedule_row(result, *tenant, schedules[i], with_context); });
    }
  });
  return Datum{0};
}
