// The one clock: the database's, as the engine sees it.  It is the server's own, unless a
// superuser has moved it ahead for a test (insula.advance_clock).
#pragma once

#include "postgres.hpp"

namespace insula {

TimestampTz clock_now();
// From when leases and time limits of what begins now are counted: where a test moves the clock, from
// where it will stop, or they would be over before any worker could do a thing.
TimestampTz count_from(TimestampTz now);

// Microseconds that only ever pass, whatever is done to any clock: timeouts of calls and
// pauses between attempts are counted in them.  The same for all processes of a machine.
std::int64_t passing_time();

// Microseconds for which processors have worked for this process.
std::int64_t processor_time();

// When the server's own clock will show what ours shows at `at`.
TimestampTz on_wall(TimestampTz at);

}  // namespace insula
