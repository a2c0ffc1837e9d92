-- Concurrency limits of workflows and of their keys.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('keyed');
SET insula.tenant = 'keyed';
SELECT try($$SELECT insula.register_workflow('{"name": "bad", "limit": 3, "tasks": [{"id": "a"}]}')$$), try($$SELECT insula.register_workflow('{"name": "bad", "limit": {"max": 0, "key": "$.", "other": 1}, "tasks": [{"id": "a"}]}')$$),
	try($$SELECT insula.register_workflow('{"name": "bad", "limit": {}, "tasks": [{"id": "a"}]}')$$);
SELECT insula.register_workflow('{"name": "two", "limit": {"max": 2}, "tasks": [{"id": "a"}]}');
SELECT insula.register_workflow('{"name": "each", "limit": {"max": 1, "key": "$.customer"}, "tasks": [{"id": "a", "retry": {"max_attempts": 2, "initial_delay": "0 s", "jitter": false}}]}');
SELECT insula.register_workflow('{"name": "steps", "limit": {"max": 1, "key": "customer"}, "tasks": [{"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a", "b"]}]}');
SELECT insula.register_workflow('{"name": "free", "tasks": [{"id": "a"}]}');

-- Never more than max of a workflow at once; a task that ends, in whatever way, lets the next run.
SELECT count(insula.submit('two')) FROM generate_series(1, 20);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT task, x.status, why FROM tenant_keyed.workflow_executions e, insula.explain_execution(execution_id) x WHERE x.status = 'ready' ORDER BY execution_id LIMIT 2;
CREATE VIEW held AS SELECT t.task_id, w.lease, t.execution_id, t.workflow, t.task, w.id FROM tenant_keyed.work w JOIN tenant_keyed.task_executions t ON t.task_id % (1::bigint << 36) = w.id WHERE w.lane = 100001;
SELECT insula.complete(task_id, lease) FROM held ORDER BY id LIMIT 1;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT insula.fail(task_id, lease, 'no', false) FROM held ORDER BY id LIMIT 1;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT insula.defer(task_id, lease, now() + '1 h') FROM held ORDER BY id LIMIT 1;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT insula.wait_event(task_id, lease, 'go') FROM held ORDER BY id LIMIT 1;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT insula.cancel(execution_id) FROM held ORDER BY id LIMIT 1;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
UPDATE tenant_keyed.work SET due = 0 WHERE id = (SELECT min(id) FROM held);
SELECT count(*) FROM insula.claim('w', max_tasks => 10), (SELECT count(*) FROM held) h(n);
SELECT insula.leave('w');
SELECT count(*) FROM held;
-- The whole of it, two at a time.
DO $$ BEGIN FOR i IN 1..20 LOOP PERFORM insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 10); END LOOP; END $$;
SELECT status, count(*) FROM tenant_keyed.workflow_executions GROUP BY 1 ORDER BY 1;

-- For each value of the key by itself; inputs without it have one limit together.  1 is 1.0.
TRUNCATE tenant_keyed.work;
-- Permits do not know rows that are written by hand.
SELECT insula.stat_reset() \gset
SELECT count(insula.submit('each', jsonb_build_object('customer', c))) FROM jsonb_array_elements('[1, 2, "b", null, {"x": 1}]') c, generate_series(1, 3);
SELECT insula.submit('each', '{"customer": 1.0}') > 0 AS submitted;
SELECT count(insula.submit('each')) FROM generate_series(1, 2);
SELECT context, count(*) FROM insula.claim('w', max_tasks => 100) GROUP BY 1 ORDER BY 1;
-- Higher priority first, for one key.
SELECT insula.submit('each', '{"customer": 2}', priority => 1) AS urgent \gset
SELECT insula.complete(task_id, lease) FROM held WHERE execution_id IN (SELECT execution_id FROM tenant_keyed.workflow_executions WHERE context = '{"customer": 2}');
SELECT context, execution_id = :urgent AS urgent FROM insula.claim('w', max_tasks => 100);
-- Neither those under limits nor the others hold the others up.
SELECT count(insula.submit('free')) FROM generate_series(1, 3);
SELECT workflow, count(*) FROM insula.claim('w', max_tasks => 100) GROUP BY 1;
SELECT insula.leave('w');
DO $$ BEGIN FOR i IN 1..20 LOOP PERFORM insula.complete(task_id, lease) FROM insula.claim('w', ARRAY['each.a'], max_tasks => 1); END LOOP; END $$;
SELECT workflow, status, count(*) FROM tenant_keyed.workflow_executions GROUP BY 1, 2 ORDER BY 1;

-- Over all tasks of the workflow, and all of its versions; by what the worker can do, delayed, paused, retried.
TRUNCATE tenant_keyed.work;
SELECT insula.stat_reset() \gset
SELECT count(insula.submit('steps', jsonb_build_object('customer', n / 2))) FROM generate_series(0, 3) n;
SELECT context, count(*) FROM insula.claim('w', max_tasks => 100) GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM insula.claim('w', ARRAY['steps.b'], max_tasks => 100);
SELECT insula.leave('w');
SELECT count(*), min(task) FROM insula.claim('w', ARRAY['steps.b'], max_tasks => 100);
SELECT insula.register_workflow('{"name": "steps", "limit": {"max": 1, "key": "customer"}, "tasks": [{"id": "a"}, {"id": "other"}]}');
SELECT insula.submit('steps', '{"customer": 0}') > 0 AS submitted;
SELECT count(*) FROM insula.claim('w', max_tasks => 100);
SELECT insula.leave('w');
DO $$ BEGIN FOR i IN 1..20 LOOP PERFORM insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 100); END LOOP; END $$;
SELECT workflow, status, count(*) FROM tenant_keyed.workflow_executions GROUP BY 1, 2 ORDER BY 1;
TRUNCATE tenant_keyed.work;
SELECT insula.stat_reset() \gset
SELECT insula.submit('each', '{"customer": 1}', run_at => now() + interval '1 h') AS later \gset
SELECT insula.submit('each', '{"customer": 1}') AS now \gset
SELECT insula.pause(:now);
SELECT count(*) FROM insula.claim('w');
SELECT insula.resume(:now);
SELECT insula.fail(task_id, lease, 'once') FROM insula.claim('w');
SELECT execution_id = :now AS now, attempt, insula.fail(task_id, lease, 'twice') FROM insula.claim('w');
UPDATE tenant_keyed.work SET due = 0 WHERE lane = 100000;
SELECT insula.retry(:now);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
-- With the tenant's own limit, the smaller counts.
TRUNCATE tenant_keyed.work;
SELECT insula.stat_reset() \gset
SELECT insula.set_tenant_limits('keyed', max_running => 2);
SELECT count(insula.submit('each', jsonb_build_object('customer', n))) FROM generate_series(1, 5) n;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT ready, running FROM insula.tenant_activity WHERE tenant = 'keyed';
-- A fan-out under a limit.
TRUNCATE tenant_keyed.work;
SELECT insula.stat_reset() \gset
SELECT insula.set_tenant_limits('keyed', max_running => -1);
SELECT insula.register_workflow('{"name": "spread", "limit": {"max": 3}, "tasks": [{"id": "a", "for_each": {"items": "list"}}]}');
SELECT insula.submit('spread', '{"list": [1, 2, 3, 4, 5]}') AS id \gset
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT count(insula.complete(task_id, lease)) FROM held;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);
SELECT status FROM tenant_keyed.workflow_executions;

-- A claim reads no more for a long backlog of used-up limits: buffers are counted, not time.
CREATE FUNCTION buffers_of(call text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || call INTO plan;
	RETURN (plan->0->'Plan'->>'Shared Hit Blocks')::bigint + (plan->0->'Plan'->>'Shared Read Blocks')::bigint;
END $$;
TRUNCATE tenant_keyed.work;
SELECT insula.stat_reset() \gset
SELECT array_length(insula.submit_many('each', array_agg(jsonb_build_object('customer', n % 5))), 1) FROM generate_series(1, 2000) n;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT buffers_of($$SELECT * FROM insula.claim('w', max_tasks => 10)$$) AS short \gset
SELECT array_length(insula.submit_many('each', array_agg(jsonb_build_object('customer', n % 5))), 1) FROM generate_series(1, 40000) n;
SELECT buffers_of($$SELECT * FROM insula.claim('w', max_tasks => 10)$$) AS long \gset
SELECT :long <= :short * 1.5 + 10 AS flat;
-- Nor for many limits that are used up.
SELECT insula.register_workflow('{"name": "single", "limit": {"key": "k", "max": 1}, "tasks": [{"id": "a"}]}');
TRUNCATE tenant_keyed.work;
SELECT insula.stat_reset() \gset
SELECT cardinality(insula.submit_many('single', array_agg(jsonb_build_object('k', n % 2000)))) FROM generate_series(1, 4000) n;
SELECT count(*) FROM insula.claim('w', max_tasks => 10000);
SELECT buffers_of($$SELECT * FROM insula.claim('w')$$) AS short \gset
SELECT cardinality(insula.submit_many('single', array_agg(jsonb_build_object('k', n % 6000 + 2000)))) FROM generate_series(1, 12000) n;
DO $$
BEGIN
	FOR i IN 1..100 LOOP
		EXIT WHEN (SELECT count(*) = 8000 FROM tenant_keyed.task_executions WHERE status = 'running');
		PERFORM count(*) FROM insula.claim('w', max_tasks => 10000);
	END LOOP;
END
$$;
SELECT count(*) FROM tenant_keyed.task_executions WHERE status = 'running';
SELECT buffers_of($$SELECT * FROM insula.claim('w')$$) AS long \gset
SELECT :long <= :short * 1.5 + 10 AS flat;
-- Each claim goes on where the last one has stopped, so none is passed over for ever.
SELECT count(insula.fail(task_id, lease, 'not now', false)) FROM (SELECT t.task_id, w.lease FROM tenant_keyed.work w JOIN tenant_keyed.task_executions t ON t.task_id & (1::bigint << 36) - 1 = w.id WHERE w.state = 2 ORDER BY w.id LIMIT 1) r;
SELECT bool_or(n > 0) AS comes_to_it FROM generate_series(1, 12) i, LATERAL (SELECT count(*) AS n FROM insula.claim(repeat('w', i))) c;
-- A claim that waits looks at all of them, and the next claim takes the task that it found.
SELECT count(insula.fail(task_id, lease, 'not now', false)) FROM (SELECT t.task_id, w.lease FROM tenant_keyed.work w JOIN tenant_keyed.task_executions t ON t.task_id & (1::bigint << 36) - 1 = w.id WHERE w.state = 2 ORDER BY w.id LIMIT 1) r;
CALL insula.wait_for_work('0 s');
SELECT count(*) FROM insula.claim('w');
CALL insula.wait_for_work('0 s');
DROP FUNCTION buffers_of;
DROP VIEW held;

-- A paused workflow holds up no other one's limits.
TRUNCATE tenant_keyed.work;
SELECT insula.stat_reset() \gset
SELECT count(insula.register_workflow(jsonb_build_object('name', 'limited' || n, 'limit', '{"max": 1}'::jsonb, 'tasks', '[{"id": "a"}]'::jsonb))) FROM generate_series(1, 20) n;
SELECT count(insula.submit('limited' || n)) FROM generate_series(1, 20) n;
SELECT insula.pause_workflow('each');
SELECT count(*) FROM insula.claim('w', max_tasks => 100);
-- Nor does it those without a limit, however many tasks there are to choose from.
SELECT insula.register_workflow(jsonb_build_object('name', 'plain', 'tasks', (SELECT jsonb_agg(jsonb_build_object('id', 't' || n)) FROM generate_series(1, 40) n)));
SELECT insula.submit('plain') > 0 AS submitted;
CALL insula.wait_for_work('0 s');
SELECT count(*) FROM insula.claim('w', max_tasks => 100);
CALL insula.wait_for_work('0 s');

-- No priority is too high or too low to be claimed, and the highest comes first.
TRUNCATE tenant_keyed.work;
SELECT insula.stat_reset() \gset
SELECT insula.register_workflow('{"name": "ends", "limit": {"max": 10}, "tasks": [{"id": "high", "priority": 32767}, {"id": "low", "priority": -32767}]}');
SELECT count(insula.submit('ends', priority => p)) FROM unnest(ARRAY[-32767, 32767]) p;
SELECT task, priority FROM (SELECT task, task_id, row_number() OVER () AS place FROM insula.claim('w', max_tasks => 10)) c JOIN tenant_keyed.workflow_executions e ON e.execution_id = c.task_id - CASE task WHEN 'high' THEN 1 ELSE 2 END ORDER BY place;
RESET insula.tenant;
SELECT insula.drop_tenant('keyed', '0');
