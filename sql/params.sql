-- Declared parameters, and how long an execution may take.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('params');
SET insula.tenant = 'params';
SELECT try($$SELECT insula.register_workflow('{"name": "x", "tasks": [{"id": "a"}], "timeout": "0", "params": {"a": 1, "b": {}, "c": {"type": "text"},
	"d": {"type": "integer", "default": 1.5}, "e": {"type": "array", "required": "yes", "colour": 1}, "f": {"type": "string", "default": null}}}')$$);
SELECT try($$SELECT insula.register_workflow('{"name": "x", "tasks": [{"id": "a"}], "timeout": 5, "params": []}')$$);
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}], "params": {"customer": {"type": "string", "required": true}, "n": {"type": "integer", "default": 7},
	"rate": {"type": "number", "required": true, "default": 0.5}, "flags": {"type": "object", "default": {"x": [1]}}, "list": {"type": "array"}, "dry": {"type": "boolean"}}}');
SELECT last_value AS before FROM tenant_params.id \gset
SELECT try($$SELECT insula.submit('w')$$);
SELECT try($$SELECT insula.submit('w', '{"customer": 5, "n": 1.5, "rate": "1", "flags": [], "list": {}, "dry": 0}')$$);
SELECT try($$SELECT insula.submit('w', '{"customer": null}')$$);
SELECT try($$SELECT insula.submit_many('w', ARRAY['{"customer": "a"}', '{}']::jsonb[])$$);
SELECT try($$SELECT insula.submit('w', '{"customer": null}', idempotency_key => 'refused')$$);
-- A refused submission has taken no numbers.
SELECT last_value = :before AS unmoved FROM tenant_params.id;
SELECT count(*) FROM tenant_params.workflow_executions;
SELECT insula.submit('w', '{"customer": "a", "n": 3.0, "other": 1}') > 0 AS one, array_length(insula.submit_many('w', ARRAY['{"customer": "b", "n": null}', '{"customer": "c", "rate": 2}']::jsonb[]), 1) AS many;
SELECT context FROM insula.claim('w', max_tasks => 10) ORDER BY context->>'customer';
SELECT context FROM tenant_params.workflow_executions ORDER BY execution_id;
-- A known key needs no valid input: it starts nothing.
SELECT insula.submit('w', '{"customer": "d"}', idempotency_key => 'k') = insula.submit('w', '{}', idempotency_key => 'k') AS known;
-- Nor has one whose key is known.
SELECT last_value AS before FROM tenant_params.id \gset
SELECT insula.submit('w', idempotency_key => 'k') = (insula.submit_many('w', ARRAY['{}', '{}']::jsonb[], idempotency_keys => ARRAY['k', 'k']))[2] AS known;
SELECT last_value = :before AS unmoved FROM tenant_params.id;
SELECT insula.leave('w');
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);

-- An execution past its timeout fails at once; a running handler learns of it, and changes nothing any more.
SELECT insula.register_workflow('{"name": "timed", "timeout": "1 h", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c"}]}');
SELECT insula.submit('timed', '{"in": 1}') AS id \gset
SELECT insula.complete(task_id, lease, '{"a": 1}') FROM insula.claim('w', ARRAY['timed.a']);
SELECT task_id, lease FROM insula.claim('w', ARRAY['timed.c']) \gset
SELECT count(*) FROM insula.claim('w', ARRAY['timed.c']);
SELECT status FROM insula.result(:id);
UPDATE tenant_params.work SET due = 0 WHERE lane = 100003;
CALL insula.wait_for_work('0 s');
SELECT status, error, final_context FROM insula.result(:id);
SELECT task, status FROM tenant_params.task_executions WHERE execution_id = :id ORDER BY task_id;
SELECT reason FROM insula.heartbeat(ARRAY[:task_id], ARRAY[:lease]);
SELECT insula.complete(:task_id, :lease);
-- A retry has all the time again, and only what had not been completed runs.
SELECT insula.retry(:id);
SELECT task, context, insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 10) ORDER BY task;
SELECT status, final_context FROM insula.result(:id);
-- One that ends in time is not touched afterwards, also where it has a single task.
SELECT insula.register_workflow('{"name": "brief", "timeout": "1 h", "tasks": [{"id": "a"}]}');
SELECT insula.submit('brief', '{"in": 1}') AS id \gset
SELECT context, insula.complete(task_id, lease, '{"out": 2}') FROM insula.claim('w');
SELECT count(*) FROM tenant_params.work WHERE lane IS NOT NULL;
SELECT status, final_context, tasks->0->>'status' AS task FROM insula.result(:id);
SELECT workflow, status, final_context FROM tenant_params.workflow_executions WHERE execution_id = :id;

-- A null within a default is a value; all defaults together are bounded.
SELECT insula.register_workflow('{"name": "nulls", "params": {"o": {"type": "object", "default": {"a": null, "b": [null]}}}, "tasks": [{"id": "a"}]}');
SELECT count(insula.submit('nulls', c)) FROM (VALUES ('{}'::jsonb), ('{"o": null, "x": null}')) v(c);
SELECT context FROM insula.claim('w', max_tasks => 9) ORDER BY 1;
SELECT try($$SELECT insula.register_workflow(jsonb_build_object('name', 'large', 'tasks', '[{"id": "a"}]'::jsonb, 'params', jsonb_build_object('s', jsonb_build_object('type', 'string', 'default', repeat('s', 1100000)))))$$);
SELECT try($$SELECT insula.register_workflow(jsonb_build_object('name', 'large', 'tasks', '[{"id": "a"}]'::jsonb, 'params', jsonb_build_object('s', jsonb_build_object('type', 'array', 'default', (SELECT jsonb_agg(1e131071) FROM generate_series(1, 9))))))$$);
RESET insula.tenant;
SELECT insula.drop_tenant('params', '0 s');
