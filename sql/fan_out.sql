-- Tasks that run once for each element of an array.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('fan_out');
SET insula.tenant = 'fan_out';
SELECT try($$SELECT insula.register_workflow('{"name": "bad", "tasks": [{"id": "a", "for_each": "$.list"}, {"id": "b", "for_each": {}},
	{"id": "c", "for_each": {"items": "$.", "as": "", "allow_failures": 1, "other": 2}}]}')$$);
SELECT insula.register_workflow('{"name": "sums", "tasks": [{"id": "list"}, {"id": "square", "depends_on": ["list"], "for_each": {"items": "$.list"}, "retry": {"max_attempts": 1}}, {"id": "sum", "depends_on": ["square"]}]}');
SELECT insula.register_workflow('{"name": "lenient", "tasks": [{"id": "each", "for_each": {"items": "$.in.list", "as": "thing", "allow_failures": true}, "retry": {"max_attempts": 1}}, {"id": "after", "depends_on": ["each"]}]}');
SELECT insula.register_workflow('{"name": "strict", "tasks": [{"id": "each", "for_each": {"items": "list"}, "retry": {"max_attempts": 1}}]}');
CREATE VIEW stands AS SELECT workflow, status, final_context, error FROM tenant_fan_out.workflow_executions ORDER BY execution_id;
CREATE VIEW tasks AS SELECT task, status, attempt, error FROM tenant_fan_out.task_executions ORDER BY task_id;

-- Each element sees its item; the task after them sees what they handed over, in element order.
SELECT insula.submit('sums', '{"from": 1}') AS id \gset
SELECT insula.complete(task_id, lease, '{"list": [3, {"n": 4}, null, "five", [6]]}') FROM insula.claim('w');
TABLE tasks;
SELECT task, status, why FROM insula.explain_execution(:id);
SELECT task, item, context, insula.complete(task_id, lease, jsonb_build_object('got', item)) FROM (SELECT * FROM insula.claim('w', max_tasks => 4) ORDER BY task_id DESC) c;
SELECT task, status, why FROM insula.explain_execution(:id);
SELECT item, insula.complete(task_id, lease) FROM insula.claim('w');
SELECT task, item, context->'square' AS square, insula.complete(task_id, lease) FROM insula.claim('w');
TABLE stands;
SELECT t->>'task' AS task, t->>'status' AS status, t->>'attempt' AS attempt FROM jsonb_array_elements((insula.result(:id)).tasks) t;
SELECT event, count(*) FROM tenant_fan_out.execution_events WHERE execution_id = :id GROUP BY 1 ORDER BY 1;

-- One that fails for good fails the group, once all have ended; a retry runs it alone.
TRUNCATE tenant_fan_out.work;
SELECT insula.submit('strict', '{"list": [10, 20, 30]}') AS id \gset
SELECT item, insula.fail(task_id, lease, 'no twenties') FROM insula.claim('w', max_tasks => 3) WHERE item = '20';
SELECT status, error FROM stands;
SELECT insula.complete(t.task_id, w.lease, jsonb_build_object('by', 'first')) FROM tenant_fan_out.work w JOIN tenant_fan_out.task_executions t ON t.task = 'each[' || w.element || ']' WHERE w.state = 2 AND t.status = 'running';
TABLE stands;
TABLE tasks;
SELECT insula.retry(:id);
TABLE tasks;
SELECT item, attempt, insula.complete(task_id, lease, '{"by": "second"}') FROM insula.claim('w', max_tasks => 3);
TABLE stands;
SELECT event, detail->>'error' AS error FROM tenant_fan_out.execution_events WHERE execution_id = :id AND event LIKE '%attempt%' ORDER BY event_id;

-- With allow_failures it leaves a hole.
TRUNCATE tenant_fan_out.work;
SELECT insula.submit('lenient', '{"in": {"list": ["a", "b"]}}', priority => 3) AS id \gset
SELECT context, item, CASE item WHEN '"a"' THEN insula.fail(task_id, lease, 'no a') ELSE insula.complete(task_id, lease, '{"ok": true, "gone": null}')::text END
	FROM (SELECT * FROM insula.claim('w', max_tasks => 2) ORDER BY task_id) c;
SELECT task, context, insula.complete(task_id, lease) FROM insula.claim('w');
TABLE stands;

-- No element at all, and arrays that are none; a retry reads the array again.
TRUNCATE tenant_fan_out.work;
SELECT insula.submit('lenient', '{"in": {"list": []}}'), insula.submit('strict', '{"list": []}'), insula.submit('strict'), insula.submit('strict', '{"list": {"a": 1}}') IS NOT NULL AS submitted \gset ignored_
SELECT count(*) AS all, count(DISTINCT insula.submit('strict', jsonb_build_object('list', (SELECT jsonb_agg(n) FROM generate_series(1, 10001) n)))) FROM generate_series(1, 2);
SELECT task, context, insula.complete(task_id, lease) FROM insula.claim('w');
SELECT workflow, status, CASE WHEN length(final_context::text) < 100 THEN final_context END AS final_context, error FROM stands;
SELECT insula.retry(execution_id) FROM tenant_fan_out.workflow_executions WHERE error LIKE '%not an array%';
SELECT workflow, status, error FROM stands WHERE error LIKE '%not an array%';
TRUNCATE tenant_fan_out.work;
SELECT insula.submit('sums') AS id \gset
SELECT insula.complete(task_id, lease, '{"list": []}') FROM insula.claim('w');
SELECT task, context, insula.complete(task_id, lease) FROM insula.claim('w');
TABLE stands;
-- A parent whose child has nothing to do.
SELECT insula.submit('sums') AS id \gset
SELECT insula.submit_child(task_id, lease, 'strict', '{"list": []}') > 0 AS child FROM insula.claim('w');
SELECT task, context->'list' AS list FROM insula.claim('w');

-- Later, paused, with events, deferred, cancelled.
TRUNCATE tenant_fan_out.work;
SELECT insula.submit('strict', '{"list": [1, 2, 3]}', run_at => now() + interval '1 h') AS id \gset
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
UPDATE tenant_fan_out.work SET due = 0 WHERE lane = 100000;
SELECT insula.pause(:id), (SELECT count(*) FROM insula.claim('w', max_tasks => 10)) AS claimed;
SELECT DISTINCT status, why FROM insula.explain_execution(:id) ORDER BY 1;
SELECT insula.resume(:id);
SELECT item, CASE item WHEN '1' THEN insula.wait_event(task_id, lease, 'go') WHEN '2' THEN insula.defer(task_id, lease, now() - interval '1 s') ELSE insula.complete(task_id, lease) END AS done
	FROM (SELECT * FROM insula.claim('w', max_tasks => 10) ORDER BY task_id) c;
SELECT insula.send_event(:id, 'go', '"now"');
SELECT item, event FROM insula.claim('w', max_tasks => 10) ORDER BY item;
SELECT insula.cancel(:id, 'enough');
TABLE tasks;
SELECT insula.retry(:id);
TABLE tasks;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);
TABLE stands;

-- Ten thousand, and what is left of them when they go.
TRUNCATE tenant_fan_out.work;
SELECT insula.register_workflow('{"name": "many", "tasks": [{"id": "each", "for_each": {"items": "list"}}, {"id": "after", "depends_on": ["each"]}]}');
SELECT insula.submit('many', jsonb_build_object('list', (SELECT jsonb_agg(n) FROM generate_series(0, 9999) n))) AS id \gset
SELECT count(*) FILTER (WHERE done) FROM (SELECT unnest(insula.complete_many(array_agg(task_id), array_agg(lease), array_agg(jsonb_build_object('n', item)))) AS done FROM insula.claim('w', max_tasks => 10000)) c;
SELECT task, jsonb_array_length(context->'each') AS length, context->'each'->4321 AS one, insula.complete(task_id, lease) FROM insula.claim('w');
SELECT status, jsonb_array_length(final_context->'each') AS length FROM stands;
SELECT insula.set_tenant_limits('fan_out', retain => '0 s', max_queued => 5);
SELECT count(*) FROM insula.claim('w');
SELECT count(*) FROM tenant_fan_out.work;
-- A fan-out cannot take more than max_queued.
SELECT insula.submit('many', '{"list": [1, 2, 3, 4, 5, 6]}') AS id \gset
SELECT status, error FROM stands;
DROP VIEW stands, tasks;
RESET insula.tenant;
SELECT insula.drop_tenant('fan_out', '0');
