// PostgreSQL's time zones, as core/cron.hpp wants them.
#pragma once

#include "core/cron.hpp"
#include "postgres.hpp"

namespace insula {

// The zone of a name that SET TimeZone takes, upper and lower case alike; 22023 where there
// is none.  Lasts as long as the backend.
core::Zone require_zone(const char *name);
// As it is written in the database of zones.
const char *spelling_of(const core::Zone &zone);

// Seconds since 1970, rounded down, and back.
std::int64_t seconds_of(TimestampTz time);
TimestampTz time_of(std::int64_t seconds);

}  // namespace insula
