-- Child executions: a task waits until the execution that it has submitted ends.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('children');
SET insula.tenant = 'children';
SELECT insula.register_workflow('{"name": "child", "tasks": [{"id": "work", "retry": {"max_attempts": 1}}]}');
SELECT insula.register_workflow('{"name": "pair", "tasks": [{"id": "left"}, {"id": "right", "depends_on": ["left"]}]}');
SELECT insula.register_workflow('{"name": "parent", "tasks": [{"id": "ask", "retry": {"max_attempts": 2, "initial_delay": "0 s"}}, {"id": "use", "depends_on": ["ask"]}]}');
SELECT insula.register_workflow('{"name": "only", "tasks": [{"id": "ask", "retry": {"max_attempts": 1}}]}');
CREATE VIEW stands AS SELECT workflow, status, final_context, error FROM tenant_children.workflow_executions ORDER BY execution_id;
CREATE VIEW tasks AS SELECT workflow, task, status, attempt, error FROM tenant_children.task_executions ORDER BY task_id;
CREATE FUNCTION ids_hidden(text) RETURNS text LANGUAGE sql AS $$SELECT regexp_replace($1, 'execution \d+', 'execution N')$$;

-- Refused: an unknown task, an unknown workflow, a context that is no object.
SELECT insula.submit_child(1, 1, 'child') AS unknown;
SELECT insula.submit('parent', '{"in": 1}', priority => 5) AS id \gset
SELECT task_id, lease FROM insula.claim('w') \gset
SELECT insula.submit_child(:task_id, 1, 'child') AS lost, try(format($$SELECT insula.submit_child(%s, %s, 'none')$$, :task_id, :lease)),
	try(format($$SELECT insula.submit_child(%s, %s, 'child', '[]')$$, :task_id, :lease)), try(format($$SELECT insula.submit_child(%s, %s, 'child', NULL)$$, :task_id, :lease));

-- The task waits without a lease; its result is the child's.
SELECT insula.submit_child(:task_id, :lease, 'child', '{"from": "ask"}') AS child \gset
SELECT insula.submit_child(:task_id, :lease, 'child') AS lost, insula.complete(:task_id, :lease) AS lost;
SELECT task, status, ids_hidden(why) FROM insula.explain_execution(:id);
SELECT parent_task_id = :task_id AS mine, priority FROM tenant_children.workflow_executions WHERE execution_id = :child;
SELECT insula.complete(task_id, lease, '{"sum": 7}'), workflow, context FROM insula.claim('w');
SELECT workflow, task, attempt, context, insula.complete(task_id, lease) FROM insula.claim('w');
TABLE stands;
SELECT event, detail - '{child,worker,started_at}'::text[] FROM tenant_children.execution_events WHERE execution_id = :id ORDER BY at, event_id;

-- A child that fails fails the run, which is tried again with another child; of two children each counts for itself.
TRUNCATE tenant_children.work;
SELECT insula.submit('parent') AS id \gset
SELECT insula.submit_child(task_id, lease, 'child') > 0 AS child FROM insula.claim('w');
SELECT insula.fail(task_id, lease, 'broken') FROM insula.claim('w');
SELECT task, status, attempt, ids_hidden(error) FROM tasks;
SELECT insula.submit_child(task_id, lease, 'pair') > 0 AS child, attempt FROM insula.claim('w');
SELECT insula.fail(task_id, lease, 'broken too', false) FROM insula.claim('w');
SELECT workflow, status, ids_hidden(error) FROM stands;
SELECT event, detail->>'attempt' AS attempt, ids_hidden(detail->>'error') AS error FROM tenant_children.execution_events WHERE execution_id = :id AND detail ? 'error' ORDER BY at, event_id;
-- The failed parent runs again, with a child of its own; retrying the old child changes nothing.
SELECT insula.retry(:id);
SELECT insula.submit_child(task_id, lease, 'child') AS child FROM insula.claim('w') \gset
SELECT insula.retry(execution_id) FROM tenant_children.workflow_executions WHERE workflow = 'pair';
SELECT workflow, task, insula.complete(task_id, lease, '{"late": true}') FROM insula.claim('w', ARRAY['pair.left']);
SELECT workflow, task, insula.complete(task_id, lease, '{"late": true}') FROM insula.claim('w', ARRAY['pair.right']);
SELECT workflow, status FROM stands;
SELECT workflow, task, insula.complete(task_id, lease, '{"now": true}') FROM insula.claim('w');
SELECT workflow, task, context, insula.complete(task_id, lease) FROM insula.claim('w');
SELECT workflow, status FROM stands;

-- Cancelling the parent cancels its children and theirs; cancelling a child fails the task for good.
TRUNCATE tenant_children.work;
SELECT insula.submit('parent') AS id \gset
SELECT insula.submit_child(task_id, lease, 'only') > 0 AS child FROM insula.claim('w');
SELECT insula.submit_child(task_id, lease, 'pair') > 0 AS child FROM insula.claim('w');
SELECT task_id, lease FROM insula.claim('w') \gset
SELECT insula.cancel(:id, 'no more');
SELECT workflow, status, final_context, error FROM stands;
SELECT reason, insula.complete(:task_id, :lease) AS late FROM insula.heartbeat(ARRAY[:task_id], ARRAY[:lease]::bigint[]);
TRUNCATE tenant_children.work;
SELECT insula.submit('parent') AS id \gset
SELECT insula.submit_child(task_id, lease, 'only') AS child FROM insula.claim('w') \gset
SELECT insula.cancel(:child, 'not this one');
SELECT workflow, status, ids_hidden(error) FROM stands;

-- A parent of one task, paused, goes on all the same; its timeout ends its child.
TRUNCATE tenant_children.work;
SELECT insula.submit('only') AS id \gset
SELECT insula.submit_child(task_id, lease, 'child') > 0 AS child FROM insula.claim('w');
SELECT insula.pause(:id);
SELECT insula.complete(task_id, lease, '{"n": 1}') FROM insula.claim('w');
TABLE stands;
SELECT insula.register_workflow('{"name": "timed", "timeout": "1 h", "tasks": [{"id": "ask"}]}');
TRUNCATE tenant_children.work;
SELECT insula.submit('timed') AS id \gset
SELECT insula.submit_child(task_id, lease, 'pair') > 0 AS child FROM insula.claim('w');
UPDATE tenant_children.work SET due = 0 WHERE lane = 100003;
SELECT count(*) FROM insula.claim('w');
TABLE stands;

-- Children of children, 32 deep and no deeper.
TRUNCATE tenant_children.work;
SELECT insula.submit('only') AS id \gset
SELECT count(*) FILTER (WHERE child LIKE '54000%') AS refused, count(*) FROM generate_series(1, 33) n, LATERAL (
	SELECT try(format($$SELECT insula.submit_child(%s, %s, 'only')$$, task_id, lease)) AS child FROM insula.claim('w' || n)) c;
SELECT insula.complete(t.task_id, w.lease, '{"deep": 33}') FROM tenant_children.work w, tenant_children.task_executions t WHERE w.state = 2 AND t.status = 'running';
SELECT count(*), count(*) FILTER (WHERE status = 'completed') AS completed, max(length(final_context::text)) FROM stands;

-- In one transaction with the parent's end, and as the tenant's own login.
TRUNCATE tenant_children.work;
SELECT insula.submit('only') AS id \gset
BEGIN;
SELECT insula.join_task(task_id, lease), insula.submit_child(task_id, lease, 'child') > 0 AS child FROM insula.claim('w');
COMMIT;
SET ROLE children_user;
SELECT insula.submit_child(task_id, lease, 'child') > 0 AS child FROM insula.claim('w');
SELECT insula.complete(task_id, lease, '{"by": "me"}') FROM insula.claim('w');
SELECT count(*) FROM tenant_children.workflow_executions WHERE status = 'completed';
RESET ROLE;
SELECT insula.submit('only') AS id \gset
SELECT task_id, lease FROM insula.claim('w') \gset
SELECT insula.suspend_tenant('children');
SELECT try(format($$SELECT insula.submit_child(%s, %s, 'child')$$, :task_id, :lease));
DROP FUNCTION ids_hidden;
DROP VIEW stands, tasks;
RESET insula.tenant;
SELECT insula.drop_tenant('children', '0');
