// SQL entry points of usage: what each workflow has done, by the hour, and the size of a context.
#include <algorithm>

#include "entry/answer.hpp"
#include "entry/each_tenant.hpp"
#include "storage/usage.hpp"

using namespace insula;

INSULA_FUNCTION(insula_usage);
INSULA_FUNCTION(insula_context_size);

namespace {

// From 1970 to the epoch of timestamps.
constexpr std::int64_t hours_to_epoch = std::int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * HOURS_PER_DAY;

// Before and after all times, as infinite ones are.
constexpr std::int64_t most_hours = std::int64_t{1} << 40;

// The number of the hour in which the time lies.
std::int64_t hour_of(TimestampTz time) {
  if (TIMESTAMP_IS_NOBEGIN(time)) return -most_hours;
  if (TIMESTAMP_IS_NOEND(time)) return most_hours;
  const std::int64_t hour = time / USECS_PER_HOUR - (time % USECS_PER_HOUR < 0 ? 1 : 0);
  return hour + hours_to_epoch;
}

TimestampTz beginning_of_hour(std::int64_t hour) { return (hour - hours_to_epoch) * USECS_PER_HOUR; }

struct Hours {
  std::int64_t first;
  std::int64_t end;
};

void put_usage(ReturnSetInfo *rows, const Tenant &tenant, const Hours &hours) {
  const BatchedQuery query = begin_usage(tenant, hours.first, hours.end);
  MemoryContext callers = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(callers, "insula usage", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  while (const std::uint64_t count = next_batch(query)) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const Usage usage = usage_row(i);
      put_row(rows, {text_field(tenant.name), text_field(usage.workflow), time_field(beginning_of_hour(usage.hour)),
                     int64_field(usage.started), int64_field(usage.completed), int64_field(usage.failed),
                     int64_field(usage.cancelled), int64_field(usage.runs), datum_field(usage.seconds),
                     int64_field(usage.bytes)});
    }
    MemoryContextReset(scratch);
  }
  MemoryContextSwitchTo(callers);
  MemoryContextDelete(scratch);
}

}  // namespace

Datum insula_usage(PG_FUNCTION_ARGS) {
  require_not_null(fcinfo, 1, "since");
  require_not_null(fcinfo, 2, "until");
  const TimestampTz until = PG_GETARG_TIMESTAMPTZ(2);
  const Hours hours = {hour_of(PG_GETARG_TIMESTAMPTZ(1)),
                       TIMESTAMP_NOT_FINITE(until) ? hour_of(until) : hour_of(until - 1) + 1};
  ReturnSetInfo *rows = begin_rows(fcinfo);
  one_or_each_tenant(
      fcinfo, 0, [](const TenantShare &) { return true; },
      [&](const Tenant &tenant) { put_usage(rows, tenant, hours); });
  return Datum{0};
}

Datum insula_context_size(PG_FUNCTION_ARGS) {
  if (PG_ARGISNULL(0)) PG_RETURN_NULL();
  PG_RETURN_INT32(static_cast<std::int32_t>(stored_size(PG_GETARG_DATUM(0))));
}
