// PostgreSQL's time zones in the form of core/cron.hpp.
#pragma once

#include "core/cron.hpp"
#include "postgres.hpp"

namespace insula {

// The zone of a name that SET TimeZone takes, in any case; raises 22023 if there is none.  It lasts
// as long as the backend.
core::Zone require_zone(const char *name);
// The name as the time zone database spells it.
const char *spelling_of(const core::Zone &zone);

// Seconds since 1970, rounded down, and back.
std::int64_t seconds_of(TimestampTz time);
TimestampTz time_of(std::int64_t seconds);

}  // namespace insula
