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
RESET insula.tenant;
DROP VIEW held;
DROP FUNCTION sweep;
SELECT insula.drop_tenant('kept', '0 s');
