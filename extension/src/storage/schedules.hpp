// Schedules and their fires, as rows of `record` (storage/codes.hpp says what they hold).  A fire is inserted and
// nothing else is written, so that its key makes it the only one.  A schedule's context, which can be large, is a row
// of its own, so that a scheduler reads it for a fire alone.
#pragma once

#include "spi/session.hpp"
#include "tenant/tenant.hpp"

namespace insula {

struct ScheduleRow {
  const char *name;
  std::int64_t number;
  TimestampTz since;
  Jsonb *body;
  TimestampTz last_fire;  // DT_NOBEGIN: none yet
};

// The next ones in the order of their names.
ScheduleRow *schedules_after(const Tenant &tenant, const char *name, int most, int *count);
// All of them, to be shown; their contexts one by one, since they can be large.
struct ListedSchedule {
  ScheduleRow row;
  TimestampTz last_made;        // the newest fire that has made an execution; DT_NOBEGIN: none yet
  std::int64_t last_execution;  // that it has made; 0: none yet
};
ListedSchedule *list_schedules(const Tenant &tenant, int *count);
// nullptr: the schedule has gone.
Jsonb *listed_context(const Tenant &tenant, std::int64_t number);
int count_schedules(const Tenant &tenant);
// Its last fire is not looked up.
bool find_schedule(const Tenant &tenant, const char *name, ScheduleRow *row);
// nullptr: the schedule has gone or is another one now.
Jsonb *schedule_context(const Tenant &tenant, const ScheduleRow &schedule);
// Whether a schedule has the number, or a fire.
bool is_schedule_number(const Tenant &tenant, std::int64_t number);
// Puts it in the place of the one of that name; returns the number, which that one keeps.
std::int64_t store_schedule(const Tenant &tenant, const ScheduleRow &row);
void store_schedule_context(const Tenant &tenant, std::int64_t number, TimestampTz now, Jsonb *context);
// With its context and its fires.
void delete_schedule(const Tenant &tenant, const char *name, std::int64_t number);

// `execution` 0: it and all before it are passed over.  False: it has been made already.
bool insert_fire(const Tenant &tenant, std::int64_t schedule, TimestampTz fire, TimestampTz now,
                 std::int64_t execution);
// The executions of the newest fires, newest first.
std::int64_t *newest_fired(const Tenant &tenant, std::int64_t schedule, int most, int *count);
// Keeps the newest `kept`.
void prune_fires(const Tenant &tenant, std::int64_t schedule, int kept);

}  // namespace insula
