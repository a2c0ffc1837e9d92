-- Workflow definitions: what is accepted, and every problem of what is not.
SELECT tenant FROM insula.create_tenant('defs', login => false);
SET insula.tenant = 'defs';

SELECT insula.register_workflow('{"name": "one", "description": "a single task", "tasks": [{"id": "a"}]}');
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}');
-- A known definition keeps its version, whatever the order of its keys, and becomes
-- current only if asked to.
SELECT insula.register_workflow('{"tasks": [{"id": "a"}], "description": "a single task", "name": "one"}');
SELECT insula.submit('one') AS second \gset
SELECT insula.register_workflow('{"name": "one", "description": "a single task", "tasks": [{"id": "a"}]}', activate => true);
SELECT insula.submit('one') AS first \gset
SELECT version, jsonb_array_length(tasks) FROM insula.result(:second);
SELECT version, jsonb_array_length(tasks) FROM insula.result(:first);

-- Every problem of a definition at once.
SELECT try($$SELECT insula.register_workflow('[]')$$);
SELECT try($$SELECT insula.register_workflow('"one"')$$);
SELECT try($$SELECT insula.register_workflow('{}')$$);
SELECT try($$SELECT insula.register_workflow('{"name": "x", "tasks": []}')$$);
SELECT try($$SELECT insula.register_workflow('{"name": "x", "tasks": {}}')$$);
SELECT try($$SELECT insula.register_workflow('{"name": "a.b", "tasks": [5, {"depends_on": []}, {"id": "1"}, {"id": null}]}')$$);
SELECT try($$SELECT insula.register_workflow('{"name": "x", "retries": 3, "tasks": [
	{"id": "a", "depends_on": "b"}, {"id": "a"}, {"id": "c", "depends_on": ["a", "a", "nope", 7], "after": []}]}')$$);
SELECT try($$SELECT insula.register_workflow('{"name": "x", "tasks": [{"id": "a", "depends_on": ["a"]}]}')$$);
SELECT try($$SELECT insula.register_workflow('{"name": "x", "tasks": [
	{"id": "a", "depends_on": ["c"]}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "depends_on": ["b"]}, {"id": "d"}]}')$$);
SELECT try($$SELECT insula.register_workflow(jsonb_build_object('name', repeat('n', 64), 'tasks', '[{"id": "a"}]'::jsonb))$$);
SELECT try($$SELECT insula.register_workflow(NULL)$$);
SELECT try($$SELECT insula.register_workflow('{"name": "x", "tasks": [{"id": "a"}]}', NULL)$$);
SELECT try($$SELECT insula.register_workflow('{"name": "x", "limit": {}, "tasks": [{"id": "a", "for_each": {}, "foo": 1}]}')$$);

-- Nothing of this was registered.
SELECT insula.submit('x');

-- The largest definition, and one task more.
SELECT insula.register_workflow(jsonb_build_object('name', 'wide', 'tasks',
	(SELECT jsonb_agg(jsonb_build_object('id', 't' || i)) FROM generate_series(1, 10000) i)));
SELECT insula.register_workflow(jsonb_build_object('name', 'wide', 'tasks',
	(SELECT jsonb_agg(jsonb_build_object('id', 't' || i)) FROM generate_series(1, 10001) i)));
SELECT insula.register_workflow(jsonb_build_object('name', 'deep', 'tasks',
	(SELECT jsonb_agg(jsonb_build_object('id', 't' || i, 'depends_on', CASE WHEN i > 1 THEN jsonb_build_array('t' || i - 1) ELSE '[]' END))
	FROM generate_series(1, 10000) i)));

-- A registration that is rolled back leaves no trace in the backend's caches.
BEGIN;
SELECT insula.register_workflow('{"name": "gone", "tasks": [{"id": "old"}]}');
SELECT insula.submit('gone') > 0 AS submitted;
SELECT task FROM insula.claim('w', tasks => '{gone.old}');
ROLLBACK;
SELECT insula.submit('gone');
SELECT insula.register_workflow('{"name": "gone", "tasks": [{"id": "new"}, {"id": "newer"}]}');
SELECT insula.submit('gone') > 0 AS submitted;
SELECT task FROM insula.claim('w', tasks => '{gone.new,gone.newer,gone.old}', max_tasks => 9) ORDER BY 1;

-- A backend's cache of definitions is bounded, however large they are.
SELECT count(insula.submit(name)) FROM (
	SELECT jsonb_build_object('name', 'large' || n, 'tasks', '[{"id": "t"}]' || (
		SELECT jsonb_agg(jsonb_build_object('id', 'r' || t, 'depends_on', '["t"]'::jsonb, 'trigger_rule', jsonb_build_object('any', (
			SELECT jsonb_agg('{"context_value": {"key": "$.a.b.c", "op": "exists"}}'::jsonb) FROM generate_series(1, 1000))))) FROM generate_series(1, 15) t)) AS definition,
		'large' || n AS name FROM generate_series(1, 9) n OFFSET 0) d, insula.register_workflow(definition);
SELECT count(*) > 1 AS several, sum(total_bytes) < 20000000 AS bounded FROM pg_backend_memory_contexts WHERE name = 'insula definition';

-- Neither a definition nor what a tenant registers in all grows without bound.
SELECT try($$SELECT insula.register_workflow(jsonb_build_object('name', 'x', 'tasks', '[{"id": "a"}]'::jsonb, 'description', repeat('d', 40000000)))$$);
UPDATE tenant_defs.record SET ref = 199999 WHERE kind = 'n' AND name = 'task';
SELECT try($$SELECT insula.register_workflow('{"name": "many", "tasks": [{"id": "a"}, {"id": "b"}]}')$$);
SELECT insula.register_workflow('{"name": "many", "tasks": [{"id": "a"}]}');
SELECT try($$SELECT insula.register_workflow('{"name": "many", "tasks": [{"id": "b"}]}')$$);

RESET insula.tenant;
SELECT insula.drop_tenant('defs', drain => '0 s');
