// Sleeping on the backend's latch.
#pragma once

#include "postgres.hpp"

namespace insula {

// Whether a sleep counts for the time that a statement may take.
enum class Timed { yes, no };

// Sleeps until the latch is set or the time has come.  Ends the session if the client has
// gone.  The caller holds no snapshot.  `event` names the wait in pg_stat_activity, from
// PostgreSQL 17 on.
void park(TimestampTz until, const char *event, Timed timed = Timed::yes);

// For a signal handler: whether the session sleeps here, and when it last woke, in passing time.
extern volatile sig_atomic_t is_parked;
extern volatile std::int64_t woke_at;

}  // namespace insula
