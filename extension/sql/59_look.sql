-- Looks at executions, tasks and workers: a tenant sees its own, an administrator who names no tenant all.

CREATE FUNCTION insula.executions(
	workflow text DEFAULT NULL,
	status text DEFAULT NULL,
	created_after timestamptz DEFAULT NULL,
	created_before timestamptz DEFAULT NULL,
	error text DEFAULT NULL,
	context jsonb DEFAULT NULL,
	before bigint DEFAULT NULL,
	max_executions integer DEFAULT 100,
	tenant text DEFAULT NULL,
	execution_ids bigint[] DEFAULT NULL,
	OUT execution_id bigint,
	OUT tenant_name text,
	OUT workflow_name text,
	OUT version integer,
	OUT execution_status text,
	OUT execution_error text,
	OUT priority integer,
	OUT created_at timestamptz,
	OUT started_at timestamptz,
	OUT finished_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_executions' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.executions IS
'Executions that fit, the newest first: of one tenant, or, for an administrator who names none, in the setting insula.tenant neither, of one tenant after another.  A page ends after max_executions (1 to 10000) of them; the next one is asked for with before, the last execution_id of this one.
workflow, status (pending, running, paused, completed, failed or cancelled): NULL for any.  created_after (included), created_before (not included): an execution of a transaction that was open for more than an hour may be missed.  error: a part of its error, as it is written.  context: what its input contains, as the operator @> has it.
execution_ids: those of these executions that fit, at most max_executions ids, without before; each costs a look at its row.
started_at: the first start of its tasks, also by runs that failed, lapsed or waited, so that finished_at - started_at is all that it took; NULL while no task''s row has a start, as after a retry of its only task.  Of the events that tell of these runs the first hundred of each kind are looked at.
A page reads the rows of its executions, and of those newer ones that do not fit; of all tenants, an index page or two of each that it passes.
Errors: 22023 bad argument, IS001 no such tenant, 42501.';

CREATE FUNCTION insula.read_failures(
	since interval,
	tenant text DEFAULT NULL,
	OUT tenant_name text,
	OUT workflow text,
	OUT task text,
	OUT error text,
	OUT failed bigint,
	OUT retrying bigint,
	OUT first_at timestamptz,
	OUT last_at timestamptz,
	OUT example bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_read_failures' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.read_failures IS 'What insula.failures() groups: it has each group once for each stretch of rows, of a hundred at first and then of twice as many, up to ten thousand.';

CREATE FUNCTION insula.failures(
	since interval DEFAULT '1 day',
	tenant text DEFAULT NULL,
	OUT tenant_name text,
	OUT workflow text,
	OUT task text,
	OUT error text,
	OUT failed bigint,
	OUT retrying bigint,
	OUT first_at timestamptz,
	OUT last_at timestamptz,
	OUT example bigint)
RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT f.tenant_name, f.workflow, f.task, f.error, pg_catalog.sum(f.failed)::bigint, pg_catalog.sum(f.retrying)::bigint,
		pg_catalog.min(f.first_at), pg_catalog.max(f.last_at), pg_catalog.max(f.example)
	FROM insula.read_failures(since, tenant) f
	GROUP BY f.tenant_name, f.workflow, f.task, f.error
	ORDER BY pg_catalog.sum(f.failed) + pg_catalog.sum(f.retrying) DESC, pg_catalog.max(f.last_at) DESC;
END;
COMMENT ON FUNCTION insula.failures IS
'What has failed since then, grouped by tenant, workflow, task and error, most often first.  In the error numbers and ids are left out (#), and 200 characters of it are kept.
failed: tasks that failed for good; where task is NULL, executions that failed by themselves, as by their timeout.  retrying: tasks whose last attempt failed and that run again.  first_at, last_at: the first and the last end of such an attempt, not its start; of an execution the newest hundred events of each kind tell of these ends, and behind them the start counts.  example: the id of the newest such execution.  Executions that were submitted up to a day before since are looked at, and of each tenant''s older rows a hundred, or a few times as many as there are of those.
For one tenant, or, for an administrator who names none, for all.
Errors: 22023 since is negative, IS001 no such tenant, 42501.';

CREATE FUNCTION insula.timeline(
	execution_id bigint,
	OUT at timestamptz,
	OUT task text,
	OUT event text,
	OUT attempt integer,
	OUT worker text,
	OUT detail jsonb,
	OUT changed jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_timeline' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.timeline IS
'What happened to an execution, in order: its submission, each task''s start and end, attempts that failed, waits, retries, its own end.  The events are those of the tenant''s view execution_events.
task: NULL of the execution itself; an element shows as id[n].  attempt, worker: of a start and an end those of the task''s last run, of other events what detail has.  detail: the error, or what else the event says.  changed: at the submission the input, at a task''s end the patch that it has handed over.
Errors: IS003 no such execution.';

CREATE FUNCTION insula.execution_source(
	execution_id bigint,
	OUT tenant_name text,
	OUT definition jsonb,
	OUT input jsonb,
	OUT parent bigint)
RETURNS record
AS 'MODULE_PATHNAME', 'insula_execution_source' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.execution_source IS
'From what an execution is made: its tenant, the definition of its version of the workflow, its input, and the execution that has submitted it and waits for it (parent; NULL: none).
Errors: IS003 no such execution.';

CREATE FUNCTION insula.leases(
	tenant text DEFAULT NULL,
	OUT tenant_name text,
	OUT task_id bigint,
	OUT execution_id bigint,
	OUT workflow text,
	OUT task text,
	OUT worker text,
	OUT attempt integer,
	OUT started_at timestamptz,
	OUT lease_expires timestamptz,
	OUT deadline timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_leases' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.leases IS
'The tasks that run, those whose lease ends first at the front: which worker has each, since when, until when its lease lasts without a heartbeat, and when the time limit of the attempt ends (NULL: it has none).  Of one tenant, or, for an administrator who names none, of all that have running tasks.  A tenant that shared memory, or the scheduler, knows to have none is not looked at.
Errors: IS001 no such tenant, 42501.';

CREATE FUNCTION insula.read_workers(
	OUT worker text,
	OUT role oid,
	OUT tenant_name text,
	OUT pid integer,
	OUT parked boolean,
	OUT died_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_read_workers' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.read_workers IS 'The workers that shared memory knows, for insula.workers().';

CREATE FUNCTION insula.workers(
	OUT worker text,
	OUT tenant_name text,
	OUT role_name text,
	OUT pid integer,
	OUT status text,
	OUT since timestamptz,
	OUT tasks bigint,
	OUT next_lease_expires timestamptz)
RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE SET insula.tenant = ''
BEGIN ATOMIC
	WITH held AS (
		SELECT l.worker, pg_catalog.count(*) AS tasks, pg_catalog.min(l.lease_expires) AS next_lease_expires
		FROM insula.leases() l GROUP BY l.worker),
	known AS (SELECT * FROM insula.read_workers())
	SELECT coalesce(k.worker, h.worker), k.tenant_name, pg_catalog.pg_get_userbyid(k.role)::text, k.pid,
		CASE WHEN k.worker IS NULL THEN 'unknown' WHEN k.died_at IS NOT NULL THEN 'dead' WHEN k.parked THEN 'parked'
			WHEN k.pid IS NULL THEN 'no life line' ELSE 'busy' END,
		coalesce(k.died_at, a.state_change), coalesce(h.tasks, 0), h.next_lease_expires
	FROM known k
	FULL JOIN held h ON h.worker = k.worker
	LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = k.pid
	ORDER BY 1;
END;
COMMENT ON FUNCTION insula.workers IS
'The workers of all tenants, whatever insula.tenant is, for administrators: their tenant (NULL: all, or not known), their role, the session that is their life line, and what they hold.
status: parked (it waits for work), busy, dead (its life line has ended, and its tasks are about to be given back), no life line (it claims without waiting), unknown (it holds tasks, and shared memory knows nothing of it; so is every worker without shared_preload_libraries).  since: when that session began to wait or ended its last statement, or the moment of death.  tasks: how many it has leases of; next_lease_expires: which of these ends first.';

CREATE FUNCTION insula.metrics(max_tenants integer DEFAULT 100) RETURNS text
AS 'MODULE_PATHNAME', 'insula_metrics' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.metrics IS
'The counters of this database as Prometheus text, from shared memory; no tenant''s table is read.  The max_tenants (0 to 10000) tenants with most tasks and events have series of their own, all others together have tenant="".  A tenant whose queue has not been counted since the server started has no insula_tasks; a look at insula.tenant_activity counts it.  Ready tasks of a suspended tenant have the state suspended.
Without shared_preload_libraries it has insula_tenants and insula_shared_memory alone.
Errors: 22023 bad argument.';

CREATE FUNCTION insula.usage(
	tenant text DEFAULT NULL,
	since timestamptz DEFAULT pg_catalog.date_trunc('month', pg_catalog.now(), 'UTC'),
	until timestamptz DEFAULT pg_catalog.now(),
	OUT tenant_name text,
	OUT workflow text,
	OUT hour timestamptz,
	OUT executions_started bigint,
	OUT executions_completed bigint,
	OUT executions_failed bigint,
	OUT executions_cancelled bigint,
	OUT tasks_run bigint,
	OUT seconds_run numeric,
	OUT context_bytes bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_usage' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.usage IS
'What each workflow has done, by the hour, for bills and plans: of one tenant, or, for an administrator who names none, of all.  It is a sum over the tenant''s rows, exact, and outlives them: retention and delete_executions store it before they remove an execution.  An hour that is over stays as it is: a retry adds what it does and takes nothing back.
since, until: the hours that begin from since, rounded down to its hour, until before until; hours are those of UTC, and so is the month whose beginning is the default of since, whatever TimeZone is.  An hour in which nothing happened has no row.
executions_started: submitted, also by schedules, triggers and tasks.  executions_completed, executions_failed, executions_cancelled: ended so; one that is retried ends again.
tasks_run: attempts that ended: completed, failed, timed out, lapsed with their lease, or cancelled while they ran; each element of a fan-out counts.  A task that is put off, that waits or that a worker gives back has not ended.
seconds_run: how long workers had these tasks, from each claim to its end, its lapse, or a wait, in whole microseconds; waits and retry delays are not in it.  It counts in the hour in which it ends.
context_bytes: of the contexts that were submitted, and of what tasks that completed have handed over, as context_size() has them.
Calls that were refused leave no rows, and are no part of it; insula.pg_stat_insula counts them.  It reads all executions that the tenant keeps, and of all tenants, an index page or two of each idle one.
Errors: 22004 since or until is NULL, IS001 no such tenant, 42501.';

CREATE FUNCTION insula.context_size(context jsonb) RETURNS integer
AS 'MODULE_PATHNAME', 'insula_context_size' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION insula.context_size IS
'The bytes of a context as PostgreSQL holds it in memory, whether or not it is stored compressed; NULL of NULL.  It reads no more than the value''s header.';

CREATE FUNCTION insula.workflows(
	tenant text DEFAULT NULL,
	OUT tenant_name text,
	OUT workflow text,
	OUT version integer,
	OUT status text,
	OUT registered_at timestamptz,
	OUT definition jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_workflows' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.workflows IS
'The current version of each workflow, by name: status is active or paused, registered_at when it became current, definition what was registered.  Of one tenant, or, for an administrator who names none, of all, whose records it reads.
Errors: IS001 no such tenant, 42501.';
