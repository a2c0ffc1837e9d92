-- Finished executions go by age and by count, with all that hangs on them.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('kept');
SET insula.tenant = 'kept';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}');
-- A claim does what time has made due; looking goes by stretches.
CREATE FUNCTION sweep() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE tenant_kept.record SET at = '-infinity' WHERE kind = 's';
	FOR i IN 1..3 LOOP
		PERFORM insula.claim('sweeper', ARRAY['no.such_task']);
	END LOOP;
END
$$;
CREATE VIEW held AS SELECT (SELECT count(*) FROM tenant_kept.work) AS rows, (SELECT count(*) FROM tenant_kept.record WHERE kind IN ('h', 'e')) AS events,
	(SELECT count(*) FROM tenant_kept.record WHERE kind = 'k') AS keys;

SELECT insula.submit('one', '{"n": 1}', idempotency_key => 'first') AS first \gset
SELECT insula.submit('two', '{"n": 2}', idempotency_key => 'second') AS second \gset
SELECT insula.submit('one', '{"n": 3}') AS third \gset
SELECT insula.send_event(:first, 'e'), insula.send_event(:second, 'e');
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 2);
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', ARRAY['two.b']);
SELECT execution_id = :third AS third, status FROM tenant_kept.workflow_executions WHERE status <> 'completed';
SELECT * FROM held;
-- Without limits, and while it is young, everything stays.
SELECT sweep();
SELECT insula.set_tenant_limits('kept', retain => '1 day');
SELECT sweep();
SELECT * FROM held;
-- By age: executions that ended long ago, never unfinished ones.
UPDATE tenant_kept.work SET finished_at = now() - interval '25 hours' WHERE finished_at IS NOT NULL;
UPDATE tenant_kept.work SET created_at = now() - interval '10 years';
SELECT sweep();
SELECT * FROM held;
SELECT execution_id = :third AS third, status FROM tenant_kept.workflow_executions;
-- A key whose execution has gone is free again.
SELECT insula.submit('one', idempotency_key => 'first') > :first AS anew;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);

-- By count: the newest stay.
SELECT insula.set_tenant_limits('kept', retain => '-1', retain_count => 3);
SELECT count(insula.submit(CASE g % 2 WHEN 0 THEN 'one' ELSE 'two' END, jsonb_build_object('n', g))) FROM generate_series(1, 10) g;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 100);
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 100);
SELECT insula.submit('one', '{"n": 11}') > 0 AS submitted;
SELECT sweep();
SELECT context, status FROM tenant_kept.workflow_executions ORDER BY execution_id;
SELECT count(*) FROM tenant_kept.task_executions;
SELECT insula.set_tenant_limits('kept', retain_count => 0);
SELECT sweep();
SELECT context, status FROM tenant_kept.workflow_executions ORDER BY execution_id;
-- Both, and none.
SELECT insula.set_tenant_limits('kept', retain => '0 s', retain_count => 1000);
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 100);
SELECT sweep();
SELECT * FROM held;
-- By rules: for the workflow and the status, for the workflow, for the status, else the limits.
SELECT insula.set_tenant_limits('kept', retain => '10 days', retain_count => -1);
SELECT insula.set_retention('kept', '1 day', status => 'failed');
SELECT insula.set_retention('kept', '-1', workflow => 'two');
SELECT insula.set_retention('kept', '20 days', 'two', 'cancelled');
SELECT * FROM insula.retention ORDER BY 1, 2, 3;
-- What the view above tells of each column.
SELECT a.attname, col_description(a.attrelid, a.attnum) FROM pg_attribute a WHERE a.attrelid = 'insula.retention'::regclass AND a.attnum > 0 ORDER BY a.attnum;
CREATE VIEW ended AS SELECT workflow, status, context, date_trunc('day', now() - finished_at) AS age FROM tenant_kept.workflow_executions ORDER BY execution_id;
SELECT count(insula.submit(w, jsonb_build_object('n', n))) FROM unnest(ARRAY['one', 'two']) w, generate_series(1, 3) n;
SELECT insula.cancel(execution_id) FROM tenant_kept.workflow_executions WHERE context = '{"n": 3}';
SELECT insula.fail(task_id, lease, 'no', false) FROM insula.claim('w', max_tasks => 10) WHERE context = '{"n": 2}';
SELECT count(insula.complete(c.id, w.lease)) FROM tenant_kept.work w, LATERAL (SELECT t.task_id AS id FROM tenant_kept.task_executions t WHERE t.task_id & 68719476735 = w.id) c WHERE w.state = 2;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);
UPDATE tenant_kept.work SET finished_at = now() - interval '2 days' WHERE finished_at IS NOT NULL;
SELECT sweep();
SELECT workflow, status, context FROM ended;
UPDATE tenant_kept.work SET finished_at = now() - interval '15 days' WHERE finished_at IS NOT NULL;
SELECT sweep();
SELECT workflow, status, context FROM ended;
UPDATE tenant_kept.work SET finished_at = now() - interval '90 years' WHERE finished_at IS NOT NULL;
-- Limits by number take nothing that a rule keeps.
SELECT insula.set_tenant_limits('kept', retain_count => 0);
SELECT sweep();
SELECT workflow, status, context FROM ended;
-- Without the rule the limits count again.
SELECT insula.set_retention('kept', NULL, 'two');
SELECT detail FROM insula.admin_log WHERE tenant = 'kept' AND act = 'set_retention' ORDER BY log_id;
SELECT * FROM insula.retention ORDER BY 1, 2, 3;
SELECT sweep();
SELECT workflow, status, context FROM ended;
-- A rule alone is enough.
SELECT insula.set_tenant_limits('kept', retain => '-1', retain_count => -1);
SELECT insula.set_retention('kept', '0 s', 'one', 'completed');
SELECT insula.submit('one') > 0 AS one, insula.submit('two') > 0 AS two;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);
SELECT sweep();
SELECT workflow, status FROM ended;
-- What stays for ever asks for no sweep, and what stays for long for none before its time.
SELECT insula.submit('one') > 0 AS one;
SELECT insula.fail(task_id, lease, 'no', false) FROM insula.claim('w', ARRAY['one.a']);
SELECT insula.set_retention('kept', '-1', status => 'failed'), insula.set_retention('kept', '-1', status => 'completed');
SELECT sweep();
SELECT ref, body::bigint = 9223372036854775807 AS never FROM tenant_kept.record WHERE kind = 's';
SELECT insula.set_retention('kept', '20 years', status => 'failed');
SELECT sweep();
SELECT ref, '2000-01-01 00:00Z'::timestamptz + make_interval(secs => body::bigint / 1000000) > now() + interval '19 years' AS in_time FROM tenant_kept.record WHERE kind = 's';
SELECT try($$SELECT insula.set_retention('kept', '1 day')$$);
SELECT try($$SELECT insula.set_retention('kept', '1 day', 'no name')$$);
SELECT try($$SELECT insula.set_retention('kept', '1 day', status => 'running')$$);
SELECT try($$SELECT insula.set_retention('kept', '1000 years', status => 'failed')$$);
SELECT try($$SELECT insula.set_retention('nobody', '1 day', status => 'failed')$$);
GRANT EXECUTE ON FUNCTION try TO PUBLIC;
SET ROLE kept_user;
SELECT try($$SELECT insula.set_retention('kept', '1 day', status => 'failed')$$);
RESET ROLE;
RESET insula.tenant;
DROP VIEW ended;
DROP VIEW held;
DROP FUNCTION sweep;
-- Where no foreign key acts, too.
SET session_replication_role = replica;
SELECT insula.drop_tenant('kept', '0 s');
RESET session_replication_role;
SELECT count(*) AS rules_left FROM insula.retention_rule;
