-- Trigger rules: which tasks run once what they wait for has ended.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('rules');
SET insula.tenant = 'rules';
-- Registers tasks, runs the execution with the given fates (task: what it completes with, or "fail"), and
-- returns each task's status.
CREATE FUNCTION run(tasks jsonb, fates jsonb DEFAULT '{}', input jsonb DEFAULT '{}', OUT status text, OUT tasks_ended text, OUT error text)
LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
	claimed insula.claimed_task;
BEGIN
	PERFORM insula.register_workflow(jsonb_build_object('name', 'r', 'tasks', tasks));
	id := insula.submit('r', input);
	LOOP
		SELECT * INTO claimed FROM insula.claim('w');
		EXIT WHEN claimed.task IS NULL;
		IF fates->claimed.task = '"fail"' THEN
			PERFORM insula.fail(claimed.task_id, claimed.lease, 'as told', false);
		ELSE
			PERFORM insula.complete(claimed.task_id, claimed.lease, coalesce(fates->claimed.task, '{}'));
		END IF;
	END LOOP;
	SELECT r.status, r.error, string_agg((t->>'task') || ' ' || (t->>'status'), ', ')
	INTO status, error, tasks_ended
	FROM insula.result(id) r, jsonb_array_elements(r.tasks) t GROUP BY 1, 2;
END
$$;

-- Every problem is named.
SELECT try($$SELECT run('[{"id": "a"}, {"id": "b", "depends_on": ["a"], "trigger_rule": {"any": [{"task_success": "c"}, {"task_failed": 5}, {"when": 1}, 7, {"all": []},
	{"context_value": {"op": "like", "value": 1}}, {"context_value": {"key": "$..a", "op": "exists"}}, {"context_value": {"key": "$.a", "op": "exists", "value": 1}},
	{"context_value": {"key": "a", "op": "equals", "extra": 1}}, {"task_success": "a", "task_failed": "a"}]}}, {"id": "c", "trigger_rule": "always"}]')$$);
SELECT try(format('SELECT run(%L)', '[{"id": "a"}, {"id": "b", "depends_on": ["a"], "trigger_rule": ' || repeat('{"all": [', 33) || '"always"' || repeat(']}', 33) || '}]'));

-- Without a rule: skipped when one was not completed, and the execution fails.
SELECT * FROM run('[{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "depends_on": ["b"]}, {"id": "d"}]', '{"a": "fail"}');
-- Always: also after a failure, which it handles.
SELECT * FROM run('[{"id": "a"}, {"id": "b", "depends_on": ["a"], "trigger_rule": "always"}]', '{"a": "fail"}');
-- A task that runs if the execution fails, which it does all the same; it sees what the others have handed over.
SELECT * FROM run('[{"id": "undo", "on_failure": true}, {"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "depends_on": ["b"]}, {"id": "d"}]', '{"b": "fail"}');
SELECT * FROM run('[{"id": "undo", "on_failure": true}, {"id": "a"}, {"id": "b", "depends_on": ["a"]}]', '{"undo": "fail"}');
SELECT * FROM run('[{"id": "undo", "on_failure": true}, {"id": "a"}]', '{"a": "fail", "undo": "fail"}');
-- A failure that another task has dealt with is none.
SELECT * FROM run('[{"id": "a"}, {"id": "b", "depends_on": ["a"], "trigger_rule": "always"}, {"id": "undo", "on_failure": true}]', '{"a": "fail"}');
SELECT * FROM run('[{"id": "a"}, {"id": "b", "depends_on": ["a"], "trigger_rule": "always"}, {"id": "undo", "on_failure": true}]', '{"a": "fail", "b": "fail"}');
SELECT * FROM run('[{"id": "g", "for_each": {"items": "l"}}, {"id": "undo", "on_failure": true}]', '{"g": "fail"}', '{"l": [1, 2]}');
-- A retry decides anew.
SELECT insula.register_workflow('{"name": "undone", "tasks": [{"id": "a", "retry": {"max_attempts": 1}}, {"id": "undo", "on_failure": true}]}');
SELECT insula.submit('undone') AS e \gset
SELECT task, insula.fail(task_id, lease, 'broken') FROM insula.claim('w');
SELECT task, insula.complete(task_id, lease, '{"undone": true}') FROM insula.claim('w');
SELECT status, final_context, error FROM insula.result(:e);
SELECT insula.retry(:e);
SELECT task, status FROM tenant_rules.task_executions WHERE execution_id = :e ORDER BY task;
SELECT task, insula.complete(task_id, lease) FROM insula.claim('w');
SELECT status, final_context, error FROM insula.result(:e);
SELECT task, why FROM insula.explain_execution(:e);
SELECT try($$SELECT run('[{"id": "a", "on_failure": true}]')$$), try($$SELECT run('[{"id": "a", "on_failure": 1}, {"id": "b", "on_failure": true}, {"id": "c", "on_failure": true, "depends_on": ["b"]}]')$$),
	try($$SELECT run('[{"id": "a", "on_failure": true}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "depends_on": ["a"]}]')$$);
-- It waits for tasks that run while others are skipped already, and is decided when all have ended.
CREATE TEMPORARY TABLE held (task text, task_id bigint, lease bigint);
CREATE FUNCTION begin_run(tasks jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	PERFORM insula.register_workflow(jsonb_build_object('name', 'undone', 'tasks', '[{"id": "undo", "on_failure": true}]' || tasks), true);
	RETURN insula.submit('undone');
END
$$;
-- The fates of tasks that are claimed already; then what is claimed next.
CREATE FUNCTION step(VARIADIC fates text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	fate text;
	claimed text;
BEGIN
	FOREACH fate IN ARRAY fates LOOP
		IF fate LIKE '-%' THEN
			PERFORM insula.fail(task_id, lease, 'broken', false) FROM held WHERE task = substr(fate, 2);
		ELSE
			PERFORM insula.complete(task_id, lease, jsonb_build_object(fate, 1)) FROM held WHERE task = fate;
		END IF;
	END LOOP;
	DELETE FROM held WHERE task = ANY (fates) OR '-' || task = ANY (fates);
	WITH new AS (INSERT INTO held SELECT task, task_id, lease FROM insula.claim('w', max_tasks => 10) RETURNING task)
	SELECT string_agg(task, ' ' ORDER BY task) INTO claimed FROM new;
	RETURN claimed;
END
$$;
SELECT begin_run('[{"id": "a"}, {"id": "c"}, {"id": "b", "depends_on": ["a", "c"]}]') AS e \gset
SELECT step(), step('-a'), step('c'), step('undo');
SELECT status, final_context, error FROM insula.result(:e);
SELECT begin_run('[{"id": "s"}, {"id": "r", "depends_on": ["s"], "trigger_rule": {"all": [{"task_failed": "s"}]}}, {"id": "c"}, {"id": "b", "depends_on": ["r", "c"]}]') AS e \gset
SELECT step(), step('s'), step('-c'), step('undo');
SELECT status, final_context, error FROM insula.result(:e);
SELECT begin_run('[{"id": "a"}, {"id": "c"}, {"id": "h", "depends_on": ["a", "c"], "trigger_rule": "always"}, {"id": "k", "depends_on": ["a", "h"]}]') AS e \gset
SELECT step(), step('-a'), step('c'), step('h');
SELECT status, final_context, error FROM insula.result(:e);
-- After a retry it waits again, whatever of the others runs again, and begins anew.
SELECT begin_run('[{"id": "a"}, {"id": "c"}, {"id": "d", "depends_on": ["c"], "trigger_rule": "always"}, {"id": "b", "depends_on": ["a", "c"]}]') AS e \gset
SELECT step(), step('-a', '-c'), step('d');
SELECT insula.save_progress(task_id, lease, '{"step": 3}', 0.5) FROM held;
SELECT step('undo');
SELECT status, final_context, error FROM insula.result(:e);
SELECT insula.retry(:e);
SELECT task, checkpoint, progress FROM tenant_rules.task_executions WHERE execution_id = :e AND task = 'undo';
SELECT step(), step('a');
SELECT status, final_context, error FROM insula.result(:e);
DROP FUNCTION begin_run, step;
DROP TABLE held;
-- A fallback runs only where it is needed.
SELECT * FROM run('[{"id": "a"}, {"id": "fallback", "depends_on": ["a"], "trigger_rule": {"all": [{"task_failed": "a"}]}}, {"id": "join", "depends_on": ["a", "fallback"], "trigger_rule": {"any": [{"task_success": "a"}, {"task_success": "fallback"}]}}]', '{"a": "fail"}');
SELECT * FROM run('[{"id": "a"}, {"id": "fallback", "depends_on": ["a"], "trigger_rule": {"all": [{"task_failed": "a"}]}}, {"id": "join", "depends_on": ["a", "fallback"], "trigger_rule": {"any": [{"task_success": "a"}, {"task_success": "fallback"}]}}]');
-- A fallback that fails itself, and one that does not run, handle nothing.
SELECT * FROM run('[{"id": "a"}, {"id": "fallback", "depends_on": ["a"], "trigger_rule": {"all": [{"task_failed": "a"}]}}]', '{"a": "fail", "fallback": "fail"}');
SELECT * FROM run('[{"id": "a"}, {"id": "b", "depends_on": ["a"], "trigger_rule": {"all": [{"task_skipped": "a"}]}}]', '{"a": "fail"}');
-- All, any, none, nested.
SELECT * FROM run('[{"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a", "b"], "trigger_rule": {"all": [{"task_success": "a"}, {"task_success": "b"}]}}]', '{"b": "fail"}');
SELECT * FROM run('[{"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a", "b"], "trigger_rule": {"none": [{"task_failed": "a"}, {"task_failed": "b"}]}}]');
SELECT * FROM run('[{"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a", "b"], "trigger_rule": {"all": [{"any": [{"task_failed": "a"}, {"task_failed": "b"}]}, {"none": [{"all": [{"task_failed": "a"}, {"task_failed": "b"}]}]}]}}]', '{"b": "fail"}');
SELECT * FROM run('[{"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a", "b"], "trigger_rule": {"all": [{"any": [{"task_failed": "a"}, {"task_failed": "b"}]}, {"none": [{"all": [{"task_failed": "a"}, {"task_failed": "b"}]}]}]}}]', '{"a": "fail", "b": "fail"}');
-- Skips reach a rule through tasks that have none.
SELECT * FROM run('[{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "depends_on": ["b"]}, {"id": "d", "depends_on": ["c"], "trigger_rule": {"all": [{"task_skipped": "c"}]}}, {"id": "e", "depends_on": ["d"]}]', '{"a": "fail"}');
-- A rule waits for all that its task waits for.
SELECT * FROM run('[{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "depends_on": ["a", "b"], "trigger_rule": {"all": [{"task_success": "a"}]}}]', '{"b": "fail"}');
-- Long chains of rules that say no.
SELECT status, length(tasks_ended) > 5000 AS all_ended FROM run((SELECT '[{"id": "t0"}]' || jsonb_agg(jsonb_build_object('id', 't' || g, 'depends_on', jsonb_build_array('t' || g - 1),
	'trigger_rule', jsonb_build_object('all', jsonb_build_array(jsonb_build_object('task_success', 't' || g - 1))))) FROM generate_series(1, 400) g), '{"t0": "fail"}');

-- Conditions on the context, which is what the task would see.
CREATE FUNCTION holds(context jsonb, key text, op text, value jsonb DEFAULT NULL) RETURNS boolean LANGUAGE sql AS $$
	SELECT tasks_ended = 'a completed, b completed' FROM run(jsonb_build_array('{"id": "a"}'::jsonb, jsonb_build_object('id', 'b', 'depends_on', jsonb_build_array('a'),
		'trigger_rule', jsonb_build_object('all', jsonb_build_array(jsonb_build_object('context_value',
			jsonb_build_object('key', key, 'op', op) || CASE WHEN value IS NULL THEN '{}' ELSE jsonb_build_object('value', value) END))))),
		jsonb_build_object('a', context))
$$;
\a
SELECT left(c.context::text, 40) AS context, key, op, left(value::text, 40) AS value, holds(c.context, c.key, c.op, c.value) FROM (VALUES
	('{"n": 5}'::jsonb, 'n', 'equals', '5.0'::jsonb), ('{"n": 5}', 'n', 'equals', '"5"'), ('{"n": null}', 'n', 'equals', 'null'), ('{}', 'n', 'equals', 'null'),
	('{"n": [1, {"a": 2}]}', '$.n', 'equals', '[1, {"a": 2}]'), ('{"n": {"a": [1]}}', '$.n.a[0]', 'equals', '1'), ('{"n": {"a b": {"c": true}}}', '$.n[''a b''].c', 'equals', 'true'),
	('{"$": 1}', '$', 'equals', '{"$": 1}'), ('{"a.b": 1}', 'a.b', 'equals', '1'), ('{"n": [1]}', '$.n[1]', 'exists', NULL), ('{"n": "text"}', '$.n.x', 'exists', NULL),
	('{}', 'n', 'not_equals', '5'), ('{"n": 5}', 'n', 'not_equals', '5'),
	('{"n": 5}', 'n', 'greater_than', '4.99'), ('{"n": 5}', 'n', 'greater_than', '5'), ('{"n": 5}', 'n', 'greater_or_equal', '5'), ('{"n": 5}', 'n', 'less_than', '5'), ('{"n": 5}', 'n', 'less_or_equal', '5'),
	('{"n": "b"}', 'n', 'greater_than', '"a"'), ('{"n": "5"}', 'n', 'greater_than', '4'), ('{}', 'n', 'less_than', '4'), ('{"n": 1e300}', 'n', 'greater_than', '1e299'),
	('{"n": "hello"}', 'n', 'contains', '"ell"'), ('{"n": [1, 2]}', 'n', 'contains', '2'), ('{"n": [1, 2]}', 'n', 'contains', '"2"'), ('{"n": {"k": 1}}', 'n', 'contains', '"k"'), ('{}', 'n', 'contains', '"k"'),
	('{}', 'n', 'not_contains', '"k"'), ('{"n": "hello"}', 'n', 'not_contains', '"ell"'),
	('{"n": null}', 'n', 'exists', NULL), ('{}', 'n', 'exists', NULL), ('{}', 'n', 'not_exists', NULL), ('{"n": false}', 'n', 'not_exists', NULL)
) c(context, key, op, value);
\a
-- Earlier patches of a failed task are not seen.
SELECT insula.register_workflow('{"name": "partial", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"], "trigger_rule": "always"}]}');
SELECT insula.submit('partial', '{"in": 1}') AS id \gset
SELECT insula.defer(task_id, lease, now(), '{"partial": true}') FROM insula.claim('w');
SELECT context, insula.fail(task_id, lease, 'no', false) FROM insula.claim('w');
SELECT task, context, insula.complete(task_id, lease, '{"out": 2}') FROM insula.claim('w');
SELECT status, final_context FROM insula.result(:id);
RESET insula.tenant;
DROP FUNCTION holds;
DROP FUNCTION run;
SELECT insula.drop_tenant('rules', '0 s');
