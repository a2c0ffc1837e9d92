-- Schedules: executions that the clock submits.

CREATE FUNCTION insula.next_fires(
	cron text,
	timezone text DEFAULT 'UTC',
	n integer DEFAULT 5,
	after timestamptz DEFAULT pg_catalog.now())
RETURNS SETOF timestamptz
AS 'MODULE_PATHNAME', 'insula_next_fires' LANGUAGE C STABLE PARALLEL SAFE ROWS 5;
COMMENT ON FUNCTION insula.next_fires IS
'The first n (1 to 1000) times after the given one at which a cron expression fires in a time zone (a name of pg_timezone_names), up to the year 9999.
cron, up to 1000 bytes: minute (0-59), hour (0-23), day of month (1-31), month (1-12 or JAN-DEC), day of week (0-7 or SUN-SAT, 0 and 7 are Sunday), or six fields with second (0-59) first.  A field is a list of * (all), a, a-b, */n, a-b/n and a/n (every n-th, a/n from a to the end); of L and L-n (the month''s last day, n days before it) among days of the month; of aL and a#n (the month''s last such day, its n-th) among days of the week.  Ranges do not run backwards, but a week may end with SUN.  ? stands for * as a field of days.  If neither field of days begins with * or ?, a day must fit one of them, else both.  Or one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly.
Where the zone''s clock is set: an expression whose hour or minute begins with * follows elapsed time, fires in both passes of a repeated hour and not in a skipped one.  Any other fires once for each local time, when the clock first reaches or passes it: right after a gap for all that the gap skipped, in the first pass of what comes twice.
Errors: 22023 no cron expression, or one that never fires, with the reason; no time zone; n.  22008 after is not finite.';

CREATE FUNCTION insula.schedule(
	name text,
	workflow text,
	cron text,
	timezone text DEFAULT 'UTC',
	context jsonb DEFAULT '{}',
	catch_up text DEFAULT 'skip',
	max_catch_up integer DEFAULT 100,
	starts_at timestamptz DEFAULT NULL,
	ends_at timestamptz DEFAULT NULL,
	overlap text DEFAULT 'allow',
	jitter interval DEFAULT NULL,
	tenant text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'insula_schedule' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.schedule IS
'Submits an execution of the workflow''s current version whenever a cron expression (see insula.next_fires) fires in the time zone; returns the schedule''s id.  A schedule of that name is given the new meaning, and stays paused if it was.  It fires after the moment it was made or last given another cron or time zone.  Each fire makes its execution once, whatever is killed.
context: the execution''s input, a JSON object, to which the fire adds scheduled_time (UTC), schedule_id, schedule_timezone and schedule_expression.
catch_up: what becomes of fires that are late by more than insula.fire_grace, as after a standstill: skip (they are dropped), run_once (the newest stands for all), run_all (each is made, oldest first, the newest max_catch_up (1 to 1000) of them).
starts_at, ends_at: no fires before and after; NULL: no bound.
overlap: what a fire does while an execution of an earlier one still runs: allow (it runs beside it), skip (the fire is dropped), queue (the fire waits for its end; the newest max_catch_up wait), cancel (it is cancelled first).
jitter (up to 1 day): each fire is made later by its own share of this time; scheduled_time stays.
Errors: IS001 no such tenant, IS002 no such workflow, IS007 the tenant is suspended, 22023 bad argument, 54000 more than 10000 schedules.';

CREATE FUNCTION insula.unschedule(name text, tenant text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_unschedule' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.unschedule IS
'Removes a schedule; the executions that it has made stay.  False: there is none of that name.';

CREATE FUNCTION insula.pause_schedule(name text, tenant text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_pause_schedule' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.pause_schedule IS
'Lets a schedule fire no more until insula.resume_schedule.  False: it was paused already.
Errors: IS003 no such schedule.';

CREATE FUNCTION insula.resume_schedule(name text, tenant text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'insula_resume_schedule' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.resume_schedule IS
'Lets a paused schedule fire again, from now on: fires that the pause held back were not missed.  False: it was not paused.
Errors: IS003 no such schedule.';

CREATE FUNCTION insula.schedules(
	tenant text DEFAULT NULL,
	with_context boolean DEFAULT true,
	OUT name text,
	OUT workflow text,
	OUT cron text,
	OUT timezone text,
	OUT status text,
	OUT next_fire_at timestamptz,
	OUT last_fire_at timestamptz,
	OUT last_execution bigint,
	OUT context jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_schedules' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.schedules IS
'The tenant''s schedules, by name; the view schedules in the tenant''s schema has all settings of each.
status: active, paused, or ended (it fires no more).  next_fire_at: without its jitter; NULL unless active.  last_fire_at: the newest fire that has made an execution; NULL: none yet.  last_execution: that execution, which may have been removed since.  context: the input of its executions; with_context false leaves it out and does not read it.';
