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
cron: minute (0-59), hour (0-23), day of month (1-31), month (1-12 or JAN-DEC), day of week (0-7 or SUN-SAT, 0 and 7 are Sunday), or six fields with second (0-59) first.  A field is a list of * (all), a, a-b, */n, a-b/n and a/n (every n-th, a/n from a to the end); of L and L-n (the month''s last day, n days before it) among days of the month; of aL and a#n (the month''s last such day, its n-th) among days of the week.  Ranges do not run backwards, but a week may end with SUN.  ? stands for * as a field of days.  If neither field of days begins with * or ?, a day must fit one of them, else both.  Or one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly.
Where the zone''s clock is set: an expression whose hour or minute begins with * follows elapsed time, fires in both passes of a repeated hour and not in a skipped one.  Any other fires once for each local time, when the clock first reaches or passes it: right after a gap for all that the gap skipped, in the first pass of what comes twice.
Errors: 22023 no cron expression, or one that never fires, with the reason; no time zone; n.  22008 after is not finite.';
