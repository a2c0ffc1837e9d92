// The tenant's verbs on schedules, each in the caller's transaction.
#pragma once

#include "schedule/spec.hpp"
#include "storage/schedules.hpp"

namespace insula {

// Makes the schedule, or changes the one of that name; returns its number.
std::int64_t put_schedule(const Tenant &tenant, const char *name, ScheduleSpec spec, Jsonb *context, TimestampTz now);
// False: no schedule has the name.
bool remove_schedule(const Tenant &tenant, const char *name);
enum class PauseChange { done, already, unknown };
PauseChange set_schedule_paused(const Tenant &tenant, const char *name, bool paused, TimestampTz now);

}  // namespace insula
