-- The scheduler: the background worker that advances tenants' queues and fires schedules.

CREATE FUNCTION insula.start_scheduler() RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_start_scheduler' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.start_scheduler IS
'Lets this database have a scheduler, which does what time makes due: fires of schedules, delayed and retried tasks, timeouts, lapsed leases, retention.  CREATE EXTENSION does the same.  With shared_preload_libraries = ''insula'' the launcher starts one whenever something is due; without, it is started here and runs until the server stops.  False: one runs already, insula.scheduler is off, or there can be none: then a WARNING says that there is no free slot among max_worker_processes, or no room beside insula.max_databases others.';

CREATE FUNCTION insula.stop_scheduler() RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_stop_scheduler' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.stop_scheduler IS
'Ends this database''s scheduler when the transaction commits, and lets none start until insula.start_scheduler().  Delays, timeouts and leases are then seen to by claims and waiting calls, each for its own tenant; schedules do not fire.  False: none was running.';

CREATE PROCEDURE insula.advance_clock(to_time timestamptz)
AS 'MODULE_PATHNAME', 'insula_advance_clock' LANGUAGE C;
COMMENT ON PROCEDURE insula.advance_clock IS
'For tests: moves the clock of this database''s tenants ahead to the given time, from one due moment to the next, each of which the scheduler deals with as if it had come; returns when the clock is there and all is done that was due by then.  The clock goes on from there, until the server is restarted.  Needs a superuser and shared_preload_libraries.
Errors: 22023 the time is not ahead, IS010 not a top-level CALL, 42501, 55000 no shared memory or no scheduler.';
