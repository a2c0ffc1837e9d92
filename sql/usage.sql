-- Usage agrees with a recount of the history, and no removal changes it.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('billed');
SELECT tenant FROM insula.create_tenant('billed_too');
SET insula.tenant = 'billed';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a", "timeout": "1 h", "retry": {"max_attempts": 3, "initial_delay": "0 s"}}]}');
SELECT insula.register_workflow('{"name": "once", "tasks": [{"id": "a", "retry": {"max_attempts": 1}}]}');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}');
SELECT insula.register_workflow('{"name": "ask", "tasks": [{"id": "a", "retry": {"max_attempts": 2, "initial_delay": "0 s"}}, {"id": "b", "depends_on": ["a"]}]}');
SELECT insula.register_workflow('{"name": "each", "tasks": [{"id": "a", "for_each": {"items": "$.list", "as": "i"}, "retry": {"max_attempts": 1}}]}');
SELECT insula.register_workflow('{"name": "again", "tasks": [{"id": "x", "retry": {"max_attempts": 1}}, {"id": "a", "depends_on": ["x"], "trigger_rule": {"any": [{"task_success": "x"}, {"task_failed": "x"}]}, "for_each": {"items": "$.list", "as": "i"}}]}');

CREATE FUNCTION finish(n int, tasks text[] DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
SELECT count(insula.complete(task_id, lease, jsonb_build_object('done', repeat('x', 3000), 'by', task))) FROM insula.claim('w', tasks, n) $$;
CREATE FUNCTION fail(workflow text) RETURNS text LANGUAGE sql AS $$
SELECT insula.fail(task_id, lease, 'no') FROM insula.claim('w', ARRAY[workflow]) $$;
CREATE FUNCTION used() RETURNS TABLE (workflow text, hour timestamptz, started bigint, completed bigint, failed bigint, cancelled bigint, runs bigint, seconds numeric, bytes bigint)
LANGUAGE sql AS $$
SELECT u.workflow, u.hour, executions_started, executions_completed, executions_failed, executions_cancelled, tasks_run, seconds_run, context_bytes
FROM insula.usage('billed', '-infinity', 'infinity') u $$;

-- The same from the views alone.
CREATE VIEW recount AS
WITH groups AS (
	SELECT t.task_id FROM tenant_billed.task_executions t
	WHERE EXISTS (SELECT FROM tenant_billed.task_executions e WHERE e.execution_id = t.execution_id AND e.task LIKE t.task || '[%')),
happened AS (
	SELECT e.*, (e.detail->>'started_at')::timestamptz AS began, w.workflow
	FROM tenant_billed.execution_events e JOIN tenant_billed.workflow_executions w USING (execution_id)),
last_runs AS (
	SELECT t.*, EXISTS (SELECT FROM happened h WHERE h.task_id = t.task_id AND h.began = t.started_at) AS left_before
	FROM tenant_billed.task_executions t
	WHERE started_at IS NOT NULL AND finished_at IS NOT NULL AND NOT EXISTS (SELECT FROM groups g WHERE g.task_id = t.task_id)),
lines AS (
	SELECT workflow, at, event AS what, 0 AS runs, interval '0' AS ran, 0 AS bytes FROM happened WHERE task_id IS NULL
	UNION ALL
	SELECT workflow, (detail->>'finished_at')::timestamptz, 'execution_' || (detail->>'status'), 0, '0', 0 FROM happened WHERE event = 'execution_retried'
	UNION ALL
	SELECT workflow, finished_at, '', 1, CASE WHEN left_before THEN '0' ELSE finished_at - started_at END, 0 FROM last_runs
	WHERE NOT (status = 'cancelled' AND left_before)
	UNION ALL
	SELECT workflow, at, '', (event IN ('task_attempt_failed', 'task_attempt_cancelled', 'task_lease_lapsed'))::int,
		CASE WHEN event = 'task_attempt_failed' AND EXISTS (SELECT FROM happened w WHERE w.task_id = h.task_id AND w.event = 'task_waiting' AND w.began = h.began)
			THEN '0' ELSE at - began END, 0
	FROM happened h WHERE began IS NOT NULL
	UNION ALL
	SELECT w.workflow, t.at, '', 0, '0', insula.context_size(t.changed)
	FROM tenant_billed.workflow_executions w, insula.timeline(w.execution_id) t
	WHERE t.event = 'execution_submitted' OR (t.event = 'task_completed' AND t.worker IS NOT NULL))
SELECT workflow, date_trunc('hour', at, 'UTC') AS hour, count(*) FILTER (WHERE what = 'execution_submitted') AS started,
	count(*) FILTER (WHERE what = 'execution_completed') AS completed, count(*) FILTER (WHERE what = 'execution_failed') AS failed,
	count(*) FILTER (WHERE what = 'execution_cancelled') AS cancelled, sum(runs) AS runs, round(extract(epoch FROM sum(ran)), 6) AS seconds,
	coalesce(sum(bytes), 0) AS bytes
FROM lines GROUP BY 1, 2;
CREATE FUNCTION differs(other text) RETURNS TABLE (place text, line text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('(SELECT ''usage''::text, u::text FROM used() u EXCEPT SELECT ''usage'', r::text FROM %1$I r) UNION ALL
		(SELECT ''other'', r::text FROM %1$I r EXCEPT SELECT ''other'', u::text FROM used() u)', other);
END
$$;

-- Success, and a retry.
SELECT count(insula.submit('one', jsonb_build_object('n', n))) FROM generate_series(1, 3) n;
SELECT finish(2);
-- No setting of a session makes an event that cannot be read.
SET timezone = '-167';
SELECT fail('one.a'), finish(1);
RESET timezone;
-- A lapse; the last one; a timeout.
SELECT insula.submit('one') > 0, insula.submit('once') > 0;
SELECT count(*) FROM insula.claim('v', max_tasks => 2);
UPDATE tenant_billed.work SET due = 0 WHERE lane = 100001;
SELECT count(*) FROM insula.claim('v', max_tasks => 2);
UPDATE tenant_billed.work SET due = 0, deadline = 0 WHERE lane = 100001;
SELECT finish(1);
SELECT workflow, status, error FROM tenant_billed.workflow_executions WHERE status <> 'completed' ORDER BY execution_id;
-- Put off, waiting for an event, given back; waiting while it is cancelled.
SELECT insula.submit('one') AS id \gset
SELECT insula.defer(task_id, lease, now(), '{"so": "far"}') FROM insula.claim('w');
SELECT insula.wait_event(task_id, lease, 'go') FROM insula.claim('w');
SELECT insula.send_event(:id, 'go');
SELECT count(*) FROM insula.claim('v');
SELECT insula.leave('v');
SELECT finish(1);
SELECT insula.submit('one') AS id \gset
SELECT insula.wait_event(task_id, lease, 'go') FROM insula.claim('w');
SELECT insula.cancel(:id);
-- Cancelled while it runs, and never claimed; run again.
SELECT insula.submit('two') AS two, insula.submit('one') AS id \gset
SELECT finish(1, '{two.a}');
SELECT count(*) FROM insula.claim('w', max_tasks => 2);
SELECT insula.cancel(:two), insula.cancel(:id);
SELECT insula.retry(:two), insula.retry(:id);
SELECT finish(2);
SELECT insula.submit('one') AS id \gset
SELECT insula.cancel(:id);
-- A failed task and what depends on it, run again.
SELECT insula.submit('two') AS two \gset
SELECT insula.fail(task_id, lease, 'no', false) FROM insula.claim('w');
SELECT insula.retry(:two);
SELECT finish(1), finish(1);
-- Children: one that succeeds; two that fail, and the task runs again by hand.
SELECT insula.submit('ask') AS id \gset
SELECT insula.submit_child(task_id, lease, 'once', '{"for": "ask"}') > 0 AS child FROM insula.claim('w');
SELECT fail('once.a');
SELECT insula.submit_child(task_id, lease, 'once') > 0 AS child FROM insula.claim('w');
SELECT fail('once.a');
SELECT insula.retry(:id);
SELECT insula.submit_child(task_id, lease, 'once') > 0 AS child FROM insula.claim('w');
SELECT finish(1, '{once.a}');
SELECT finish(1);
SELECT insula.submit('ask') AS id \gset
SELECT insula.submit_child(task_id, lease, 'once') > 0 AS child FROM insula.claim('w');
SELECT insula.cancel(:id);
-- A fan-out of which an element fails and runs again; one without elements.
SELECT insula.submit('each', '{"list": [1, 2, 3]}') AS id \gset
SELECT fail('each.a'), finish(2);
SELECT insula.retry(:id);
SELECT finish(1);
SELECT insula.submit('each', '{"list": []}') > 0 AS empty;
SELECT workflow, status, count(*) FROM tenant_billed.workflow_executions GROUP BY workflow, status ORDER BY workflow, status;
SELECT workflow, sum(started) AS started, sum(completed) AS completed, sum(failed) AS failed, sum(cancelled) AS cancelled, sum(runs) AS runs,
	sum(bytes) AS bytes, bool_and(seconds >= 0) AS not_negative FROM used() GROUP BY workflow ORDER BY workflow;
SELECT event, count(*) FROM tenant_billed.execution_events WHERE detail ? 'started_at' GROUP BY event ORDER BY event;
SELECT * FROM differs('recount');
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'sql_standard';
SET timezone = '-167';
SELECT * FROM differs('recount');
RESET datestyle;
RESET intervalstyle;
RESET timezone;

-- Elements that a retry removes have been used; here the history has them no longer.
SELECT insula.submit('again', '{"list": [1, 2, 3]}') AS id \gset
SELECT fail('again.x'), finish(1);
SELECT count(*) FROM insula.claim('w');
SELECT insula.cancel(:id);
CREATE TEMPORARY TABLE before AS SELECT * FROM used();
SELECT insula.retry(:id);
SELECT task, status FROM tenant_billed.task_executions WHERE execution_id = :id ORDER BY task_id;
SELECT * FROM differs('before');
SELECT finish(1, '{again.x}'), finish(9);
-- Years ago.
UPDATE tenant_billed.work SET created_at = created_at - interval '2 years 1 hour', started_at = started_at - interval '2 years 1 hour', finished_at = finished_at - interval '2 years'
WHERE id IN (SELECT id FROM tenant_billed.work WHERE head IS NULL AND state = 4 ORDER BY id LIMIT 2);
SELECT insula.submit('two') > 0 AS open;
DROP TABLE before;
CREATE TEMPORARY TABLE before AS SELECT * FROM used();
SELECT count(DISTINCT hour) >= 3 AS some FROM before;

-- No removal changes it: some, in transactions that end one way and the other; a retention; all.
BEGIN;
SELECT count(*) AS gone FROM insula.delete_executions('one', max_executions => 3, dry_run => false);
SELECT * FROM differs('before');
SAVEPOINT s;
SELECT count(*) AS gone FROM insula.delete_executions(dry_run => false);
SELECT * FROM differs('before');
ROLLBACK TO s;
SELECT * FROM differs('before');
SELECT count(*) AS gone FROM insula.delete_executions('one', max_executions => 3, dry_run => false);
SELECT * FROM differs('before');
ROLLBACK;
SELECT * FROM differs('before');
SELECT count(*) > 0 AS stored FROM tenant_billed.record WHERE kind IN ('a', 'u');
SELECT count(*) AS gone FROM insula.delete_executions('one', max_executions => 3, dry_run => false);
SELECT * FROM differs('before');
SELECT count(*) AS gone FROM insula.delete_executions('again', dry_run => false);
SELECT * FROM differs('before');
CREATE FUNCTION sweep() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE tenant_billed.record SET at = '-infinity' WHERE kind = 's';
	FOR i IN 1..3 LOOP
		PERFORM insula.claim('sweeper', ARRAY['no.such_task']);
	END LOOP;
END
$$;
SELECT insula.set_tenant_limits('billed', retain_count => 7);
SELECT sweep();
SELECT count(*) FROM tenant_billed.workflow_executions;
SELECT * FROM differs('before');
SELECT kind, count(*) = count(DISTINCT (owner, name)) AS merged, max(seq) FROM tenant_billed.record WHERE kind IN ('a', 'u') GROUP BY kind;
SELECT insula.set_tenant_limits('billed', retain_count => 0);
SELECT sweep();
SELECT workflow, status FROM tenant_billed.workflow_executions;
SELECT count(*) FROM tenant_billed.work;
SELECT * FROM differs('before');
-- Numbers begin again, so a record can be there: it is added to.
SELECT insula.set_tenant_limits('billed', retain_count => -1);
DELETE FROM tenant_billed.record WHERE kind IN ('a', 'u');
SELECT finish(1), finish(1);
SELECT insula.submit('two') > 0 AS submitted;
SELECT finish(1), finish(1);
DROP TABLE before;
CREATE TEMPORARY TABLE before AS SELECT * FROM used();
SELECT count(*) AS gone FROM insula.delete_executions('two', max_executions => 1, dry_run => false);
UPDATE tenant_billed.record SET seq = (SELECT id FROM tenant_billed.work WHERE head IS NULL) WHERE kind = 'a';
SELECT count(*) AS gone FROM insula.delete_executions('two', dry_run => false);
SELECT sum(started), sum(completed), sum(runs) FROM used();
SELECT * FROM differs('before');

-- Hours begin at since, rounded down, and end before until; versions of a workflow are one.
SET insula.tenant = 'billed_too';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}');
SELECT insula.submit('one') > 0 AS submitted;
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}], "description": "anew"}');
SELECT insula.submit('one') > 0 AS submitted;
SELECT finish(2);
UPDATE tenant_billed_too.work SET created_at = '2024-02-29 10:59:59.999999+00', started_at = '2024-02-29 10:59:59.999999+00', finished_at = '2024-02-29 11:00:00+00';
SET timezone = 'Asia/Kolkata';
SELECT * FROM insula.usage(since => '2024-02-29 10:59+00', until => '2024-02-29 11:00+00');
SELECT * FROM insula.usage(since => '2024-02-29 10:59+00', until => '2024-02-29 11:00:00.000001+00');
SELECT * FROM insula.usage(since => '2024-02-29 11:00+00', until => 'infinity');
SELECT * FROM insula.usage(since => '2024-02-29 12:00+00', until => '2024-02-29 10:00+00');
SELECT * FROM insula.usage();
RESET timezone;
-- The default is the month of UTC, whatever the session's zone.
SELECT pg_get_function_arguments('insula.usage'::regproc) LIKE '%since timestamp with time zone DEFAULT date_trunc(''month''::text, now(), ''UTC''::text)%' AS of_utc;
SELECT try('SELECT insula.usage(since => NULL)'), try('SELECT insula.usage(until => NULL)'), try('SELECT insula.usage(tenant => ''nobody'')');
SELECT insula.context_size(NULL), insula.context_size('{}'), insula.context_size('{"a": 1}') = pg_column_size('{"a": 1}'::jsonb) AS same;
-- What is stored compressed counts as what it is.
SELECT insula.submit('one', jsonb_build_object('x', repeat('x', 100000))) > 0 AS submitted;
SELECT insula.context_size(input) = insula.context_size(jsonb_build_object('x', repeat('x', 100000))) AS same, pg_column_size(input) < 10000 AS compressed
FROM tenant_billed_too.work WHERE finished_at IS NULL;

-- A tenant sees its own; an administrator who names none, all.
RESET insula.tenant;
SELECT tenant_name, sum(executions_started) > 0 AS some FROM insula.usage(since => '-infinity', until => 'infinity') GROUP BY tenant_name ORDER BY tenant_name;
SET ROLE billed_too_user;
SELECT DISTINCT tenant_name FROM insula.usage(since => '-infinity');
SELECT count(*) FROM insula.usage('billed');
RESET ROLE;
DROP VIEW recount;
DROP FUNCTION sweep, differs, used, fail, finish;
SELECT insula.drop_tenant('billed', '0 s'), insula.drop_tenant('billed_too', '0 s');
