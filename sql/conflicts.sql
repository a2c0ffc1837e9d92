-- Tasks of which none waits for the other hand over different values for one key: the declared
-- order decides, and the history says so.
SELECT tenant FROM insula.create_tenant('conflicts', login => false);
SET insula.tenant = 'conflicts';
SET timezone = 'UTC';
CREATE VIEW conflicts AS
SELECT execution_id, event_id, detail->>'path' AS path, detail->>'kept' AS kept, detail->>'replaced' AS replaced, task
FROM tenant_conflicts.execution_events LEFT JOIN tenant_conflicts.task_executions USING (execution_id, task_id) WHERE event = 'context_conflict';
-- Runs an execution; each task completes with the value of the input's key of its name.
CREATE FUNCTION run(workflow text, outputs jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	id bigint := insula.submit(workflow, '{"free": 0}');
BEGIN
	LOOP
		PERFORM insula.complete(task_id, lease, coalesce(outputs -> task, '{}'))
		FROM insula.claim('w', max_tasks => 100);
		EXIT WHEN (insula.result(id)).finished_at IS NOT NULL;
	END LOOP;
	RETURN id;
END
$$;

SELECT insula.register_workflow('{"name": "diamond", "tasks": [{"id": "first"}, {"id": "left", "depends_on": ["first"]},
	{"id": "right", "depends_on": ["first"]}, {"id": "last", "depends_on": ["right", "left"]}]}');
-- The input, and what a task has seen, may be replaced.
SELECT run('diamond', '{"first": {"free": 1, "a": 1}, "left": {"a": 2}, "right": {"b": 2}, "last": {"a": 3, "b": null}}') AS id \gset
SELECT path, kept, replaced FROM conflicts WHERE execution_id = :id;
-- Two that stand side by side may not disagree unseen, even if a third one settles it.
SELECT run('diamond', '{"left": {"a": 1, "b": "x", "c": 1, "same": [1, {"x": 1.0}]}, "right": {"a": 2, "b": null, "d": 1, "same": [1, {"x": 1}]}, "last": {"a": 7}}') AS id \gset
SELECT path, kept, replaced, task FROM conflicts WHERE execution_id = :id ORDER BY event_id;
SELECT final_context FROM insula.result(:id);
SELECT event FROM tenant_conflicts.execution_events WHERE execution_id = :id ORDER BY at, event_id OFFSET 8;
-- Objects merge: the conflict is where one of the values is none.
SELECT run('diamond', '{"left": {"o": {"a": 1, "b": {"x": 1}, "odd key": 1, "it''s": 1}, "p": {"a": 1}}, "right": {"o": {"b": {"x": 2, "y": 1}, "odd key": 2, "it''s": 2}, "p": 5}}') AS id \gset
SELECT path, kept, replaced FROM conflicts WHERE execution_id = :id ORDER BY path COLLATE "C";

-- Each value that gives way counts once, against the one that takes its place.
SELECT insula.register_workflow('{"name": "wide", "tasks": [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "d", "depends_on": ["b"]}]}');
SELECT run('wide', '{"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 2}, "d": {"k": 3}}') AS id \gset
SELECT path, kept, replaced FROM conflicts WHERE execution_id = :id ORDER BY event_id;
-- A task that knew a replaced value replaces it without a conflict, but not another task's equal value.
SELECT run('wide', '{"a": {"k": 1}, "b": {"k": 1}, "d": {"k": 3}}') AS id \gset
SELECT path, kept, replaced FROM conflicts WHERE execution_id = :id ORDER BY event_id;
-- A replaced object may hold a conflict of its own.
SELECT run('wide', '{"a": {"k": {"x": 1}}, "b": {"k": {"x": 2}}, "c": {"k": 1}}') AS id \gset
SELECT path, kept, replaced FROM conflicts WHERE execution_id = :id ORDER BY event_id;

-- The last of a task's own values counts.
SELECT insula.submit('wide') AS id \gset
SELECT count(insula.defer(task_id, lease, now(), '{"k": 1, "o": {"x": 1}}')) FROM insula.claim('w', ARRAY['wide.a']);
SELECT count(insula.complete(task_id, lease, '{"k": {"y": 1}, "o": {"y": 1}}')) FROM insula.claim('w', ARRAY['wide.a']);
SELECT count(insula.complete(task_id, lease, '{"k": {"z": 1}, "o": {"x": 1, "y": 1}}')) FROM insula.claim('w', max_tasks => 10);
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);
SELECT final_context FROM insula.result(:id);
SELECT path, kept, replaced FROM conflicts WHERE execution_id = :id ORDER BY event_id;

-- Failed, skipped and cancelled tasks have handed nothing over; a cancelled execution has a final context too.
SELECT insula.submit('wide') AS id \gset
SELECT count(insula.complete(task_id, lease, jsonb_build_object('k', task))) FROM insula.claim('w', max_tasks => 2);
SELECT count(insula.defer(task_id, lease, now() + '1 h', '{"k": 9}')) FROM insula.claim('w', max_tasks => 1);
SELECT insula.cancel(:id);
SELECT path, kept, replaced FROM conflicts WHERE execution_id = :id ORDER BY event_id;

-- At most 100 conflicts are recorded.
SELECT insula.register_workflow(jsonb_build_object('name', 'fan', 'tasks', (SELECT jsonb_agg(jsonb_build_object('id', 't' || n)) FROM generate_series(1, 300) n)));
SELECT insula.submit('fan') AS id \gset
SELECT count(insula.complete(task_id, lease, jsonb_build_object('k', task))) FROM insula.claim('w', max_tasks => 1000);
SELECT count(*), min(path) FROM conflicts WHERE execution_id = :id;
RESET insula.tenant;
DROP VIEW conflicts;
DROP FUNCTION run(text, jsonb);
SELECT insula.drop_tenant('conflicts', drain => '0 s');
