-- Activity: queues and counters.

CREATE FUNCTION insula.read_activity(OUT tenant text, OUT ready bigint, OUT delayed bigint, OUT running bigint, OUT waiting bigint, OUT paused bigint, OUT oldest_ready_at timestamptz,
	OUT overhead_seconds double precision)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_read_activity' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.read_activity IS 'What the view insula.tenant_activity shows.';

CREATE VIEW insula.tenant_activity WITH (security_invoker = true) AS
	SELECT t.tenant, t.status, a.ready, a.delayed, a.running, a.waiting, a.oldest_ready_at,
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity s WHERE s.usesysid = t.role_oid) AS sessions, a.paused,
		a.overhead_seconds
	FROM insula.tenant t LEFT JOIN insula.read_activity() a ON a.tenant = t.tenant;
COMMENT ON VIEW insula.tenant_activity IS
'What each tenant''s queue holds: tasks that are ready (a worker could claim them now, unless the tenant is suspended or their workflow is paused, which insula.explain_tenant() tells), delayed (a start or a retry to come), running, waiting (deferred, or for an event) and paused, since when the oldest is ready (of the 32 highest and the 32 lowest priorities in use, of tasks under a limit and of the others each), how many sessions the tenant''s role has, and how many seconds schedulers and calls for several tenants have spent on it since the server''s start or insula.stat_reset().  What has been committed counts.  With shared_preload_libraries the numbers are kept in shared memory, and a queue is counted once after a start of the server; without, each time, and overhead_seconds is NULL.';

CREATE FUNCTION insula.read_counters(of_tenant text DEFAULT NULL, OUT tenant text, OUT workflow text, OUT version int,
	OUT ready bigint, OUT delayed bigint, OUT running bigint, OUT waiting bigint, OUT paused bigint,
	OUT submitted bigint, OUT completed bigint, OUT failed bigint, OUT cancelled bigint,
	OUT started bigint, OUT retried bigint, OUT lapsed bigint,
	OUT wait_p50 interval, OUT wait_p99 interval, OUT wait_histogram bigint[], OUT since timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_read_counters' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.read_counters IS 'What the view insula.pg_stat_insula shows; of_tenant: of this tenant alone, with nothing read of others (no rows: no such tenant, or nothing counted).';

CREATE VIEW insula.pg_stat_insula AS SELECT * FROM insula.read_counters();
COMMENT ON VIEW insula.pg_stat_insula IS
'Counters of each version of a workflow with something counted, in shared memory: its tasks that are ready, delayed, running, waiting and paused now (NULL where that is not known); executions submitted, completed, failed and cancelled, runs of tasks started, retried and lapsed (their lease ended) since the time in since; and how long tasks were ready before they were claimed: bounds of the median and of 99 in a hundred, and a histogram, whose first number counts waits below 1 ms, each next one those below twice as much, the last all others.  A restart of the server and insula.stat_reset() begin anew.  Empty without shared_preload_libraries; insula.max_counted_workflows bounds how many are counted, and a tenant has counters for 128 versions; all others of its have one row, with workflow NULL.';

CREATE FUNCTION insula.read_tenant_counters(OUT tenant text, OUT workflow text, OUT version int,
	OUT ready bigint, OUT delayed bigint, OUT running bigint, OUT waiting bigint, OUT paused bigint,
	OUT submitted bigint, OUT completed bigint, OUT failed bigint, OUT cancelled bigint,
	OUT started bigint, OUT retried bigint, OUT lapsed bigint,
	OUT wait_p50 interval, OUT wait_p99 interval, OUT wait_histogram bigint[], OUT since timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_read_tenant_counters' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.read_tenant_counters IS 'What the view insula.tenant_counters shows.';

CREATE VIEW insula.tenant_counters AS
	SELECT c.tenant, c.ready, c.delayed, c.running, c.waiting, c.paused, c.submitted, c.completed, c.failed, c.cancelled,
		c.started, c.retried, c.lapsed, c.wait_p50, c.wait_p99, c.wait_histogram, c.since
	FROM insula.read_tenant_counters() c;
COMMENT ON VIEW insula.tenant_counters IS
'The counters of insula.pg_stat_insula by tenant, of each that has any: the sums over its workflows, and the waits of all its tasks.  It reads no tenant''s tables, so that ten thousand tenants take it some milliseconds; numbers of tasks are NULL until insula.tenant_activity or insula.pg_stat_insula has counted the tenant''s queue.';

CREATE FUNCTION insula.stat_reset() RETURNS void
AS 'MODULE_PATHNAME', 'insula_stat_reset' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.stat_reset IS
'Begins the counters of this database in insula.pg_stat_insula anew, at once and whatever becomes of the transaction.';

CREATE FUNCTION insula.explain_tenant(tenant text DEFAULT NULL, OUT question text, OUT item text, OUT value double precision, OUT says text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_explain_tenant' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.explain_tenant IS
'How a tenant fares.  waiting: its tasks by their places in the queue, and how many seconds those claimed in the last five to ten minutes had been ready, as bounds of the median and of 99 in a hundred.  share: its weight and its tasks claimed in those minutes; for an administrator also its part of all claims, beside its part of the weights of the tenants that had any.  held back: the ready tasks that a suspension of the tenant, or a pause of their workflow, keeps; seconds for which each of its limits, or one of its workflows'' limits, held ready tasks back, as far as claims and waits met it; of max_queued the part that is used; and for how many seconds more schedulers, or calls for all tenants, put the tenant''s work off, 0 if they did in the last five minutes (insula.max_overhead).  used: executions, runs of tasks and the seconds that these took, since the counters began, and the seconds that schedulers and calls for several tenants have spent on it.  failing: executions failed, runs retried and leases lapsed, and the errors that most of its thousand newest tasks have; insula.failures() has more of them.
A session of a caller that is no administrator may look once a second, and waits for that.
Without shared_preload_libraries what counters tell is NULL, and says says so.
Errors: IS001 no such tenant, 42501 not the caller''s.';
