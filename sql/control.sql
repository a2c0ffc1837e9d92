-- Pausing, resuming and retrying executions.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('control');
SET insula.tenant = 'control';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}');
SELECT insula.register_workflow('{"name": "chain", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "depends_on": ["b"]}, {"id": "free"}]}');
CREATE VIEW statuses AS SELECT workflow, string_agg(task || ' ' || status, ', ' ORDER BY task_id) FROM tenant_control.task_executions GROUP BY execution_id, workflow;
SELECT try($$SELECT insula.pause(1)$$), try($$SELECT insula.resume(1)$$), try($$SELECT insula.retry(1)$$), try($$SELECT insula.pause(NULL)$$);

-- A single task: nothing of it starts while it is paused, retries and delays included.
SELECT insula.submit('one') AS id \gset
SELECT insula.resume(:id), insula.pause(:id, 'look first'), insula.pause(:id);
SELECT status FROM insula.result(:id);
SELECT status FROM tenant_control.workflow_executions;
SELECT count(*) FROM insula.claim('w');
CALL insula.wait_for_work('0 s');
SELECT insula.resume(:id), insula.resume(:id);
CALL insula.wait_for_work('0 s');
SELECT task_id, lease FROM insula.claim('w') \gset
SELECT insula.pause(:id);
SELECT reason FROM insula.heartbeat(ARRAY[:task_id], ARRAY[:lease]);
SELECT insula.fail(:task_id, :lease, 'try again');
UPDATE tenant_control.work SET due = 0 WHERE lane = 100000;
SELECT count(*) FROM insula.claim('w');
SELECT insula.resume(:id);
SELECT attempt, insula.complete(task_id, lease) FROM insula.claim('w');
SELECT insula.pause(:id), insula.resume(:id), insula.retry(:id);
SELECT event, detail FROM tenant_control.execution_events WHERE execution_id = :id AND event LIKE 'execution%' ORDER BY at, event_id;

-- A graph: what becomes ready while it is paused waits too; what runs may end.
SELECT insula.submit('chain') AS id \gset
SELECT task_id, lease FROM insula.claim('w', ARRAY['chain.a']) \gset
SELECT insula.pause(:id);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT insula.complete(:task_id, :lease);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT * FROM statuses WHERE workflow = 'chain';
SELECT insula.resume(:id);
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);
SELECT insula.pause(:id), insula.cancel(:id, 'after all');
SELECT status, error FROM insula.result(:id);
SELECT * FROM statuses WHERE workflow = 'chain';

-- Retry of what was cancelled, and of what failed: completed tasks stay.
SELECT insula.retry(:id), insula.retry(:id);
SELECT status FROM insula.result(:id);
SELECT task, insula.fail(task_id, lease, 'no', false) FROM insula.claim('w', max_tasks => 10);
SELECT status, error FROM insula.result(:id);
SELECT insula.submit('chain', '{"in": 1}') AS id \gset
SELECT task, insula.complete(task_id, lease, jsonb_build_object(task, 1)) FROM insula.claim('w', ARRAY['chain.free']);
SELECT task, insula.fail(task_id, lease, 'no', false) FROM insula.claim('w', ARRAY['chain.a']);
SELECT status, error, final_context FROM insula.result(:id);
SELECT insula.retry(:id, 'mended');
SELECT status, error, finished_at FROM insula.result(:id);
SELECT task, attempt, max_attempts, context, insula.complete(task_id, lease, jsonb_build_object(task, 2)) FROM insula.claim('w');
SELECT task, attempt, context, insula.complete(task_id, lease, jsonb_build_object(task, 2)) FROM insula.claim('w');
SELECT task, attempt, context, insula.complete(task_id, lease, jsonb_build_object(task, 2)) FROM insula.claim('w');
SELECT status, error, final_context FROM insula.result(:id);
SELECT event, detail - '{started_at,finished_at}'::text[] AS detail FROM tenant_control.execution_events WHERE execution_id = :id AND event ~ 'failed|retried' ORDER BY at, event_id;
SELECT insula.submit('one') AS id \gset
SELECT insula.fail(task_id, lease, 'no', false) FROM insula.claim('w');
SELECT insula.retry(:id);
SELECT attempt, insula.complete(task_id, lease) FROM insula.claim('w');
SELECT status, error FROM insula.result(:id);

-- With rules: what was handled, and what a rule has refused for good, stays.
SELECT insula.register_workflow('{"name": "ruled", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"], "trigger_rule": {"all": [{"task_failed": "a"}]}},
	{"id": "c", "depends_on": ["b"]}, {"id": "d", "depends_on": ["c"]}, {"id": "never", "depends_on": ["a"], "trigger_rule": {"all": [{"task_success": "a"}]}}]}');
SELECT insula.submit('ruled') AS id \gset
SELECT insula.fail(task_id, lease, 'handled', false) FROM insula.claim('w');
SELECT insula.complete(task_id, lease) FROM insula.claim('w');
SELECT insula.fail(task_id, lease, 'not handled', false) FROM insula.claim('w');
SELECT status, error FROM insula.result(:id);
SELECT insula.retry(:id);
SELECT * FROM statuses WHERE workflow = 'ruled';
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);
SELECT status, error FROM insula.result(:id);
SELECT * FROM statuses WHERE workflow = 'ruled';

-- A whole workflow: none of its tasks is claimed, by name or without, whatever version.
SELECT try($$SELECT insula.pause_workflow('nothing')$$), try($$SELECT insula.resume_workflow(NULL)$$);
SELECT insula.resume_workflow('one'), insula.pause_workflow('one'), insula.pause_workflow('one');
SELECT insula.submit('one') AS id \gset
CALL insula.wait_for_work('0 s');
SELECT count(*) FROM insula.claim('w');
SELECT count(*) FROM insula.claim('w', ARRAY['one.a', 'chain.a']);
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}, {"id": "b"}]}');
SELECT insula.submit('one') > 0 AS submitted, insula.submit('chain') > 0 AS other;
SELECT workflow, task FROM insula.claim('w', max_tasks => 10) ORDER BY 2;
SELECT * FROM insula.explain_execution(:id);
BEGIN;
SELECT insula.resume_workflow('one');
ROLLBACK;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT insula.resume_workflow('one'), insula.resume_workflow('one');
CALL insula.wait_for_work('0 s');
SELECT workflow, version, task FROM insula.claim('w', max_tasks => 10) ORDER BY 2, 3;
RESET insula.tenant;
DROP VIEW statuses;
SELECT insula.drop_tenant('control', '0 s');
