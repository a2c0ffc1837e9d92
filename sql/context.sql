-- Merge patches: the examples of RFC 7396, and composition.
SELECT target, patch, insula.merge_patch(target, patch) = expected AS ok, insula.merge_patch(target, patch) AS result
FROM (VALUES
	('{"a":"b"}'::jsonb, '{"a":"c"}'::jsonb, '{"a":"c"}'::jsonb),
	('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
	('{"a":"b"}', '{"a":null}', '{}'),
	('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
	('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
	('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
	('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
	('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
	('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
	('{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
	('{"a":1}', '{"a":{"b":null,"c":2}}', '{"a":{"c":2}}'),
	('{"a":{"x":1}}', '{}', '{"a":{"x":1}}'),
	('{}', '{}', '{}'),
	(NULL, '{"a":1,"b":null}', '{"a":1}'),
	('{"a":1}', NULL, '{"a":1}')) v(target, patch, expected);
SELECT insula.merge_patch('[1]', '{}');
SELECT insula.merge_patch('{}', '"x"');

-- Two patches, one after the other, are one where that can be said.
SELECT insula.append_patch('{"a":1,"b":{"c":null}}', '{"a":null,"b":{"d":2},"e":{"f":null}}');
-- A merge patch cannot say "whatever a was, it is now this object": then there are two.
SELECT insula.append_patch('{"a":null}', '{"a":{"b":5}}');
SELECT insula.append_patch(insula.append_patch('{"a":null}', '{"a":{"b":5}}'), '{"a":7}');
SELECT insula.append_patch('[{"a":1}, 5]', '{}');
SELECT bool_and(insula.merge_patch(insula.merge_patch(t, p), q) = insula.merge_patch(t, insula.append_patch(p, q))) AS lawful
FROM (VALUES ('{}'::jsonb), ('{"a":1}'), ('{"a":{"b":1,"c":{"d":2}}}'), ('{"a":[1],"b":null}')) t(t),
	(VALUES ('{}'::jsonb), ('{"a":null}'), ('{"a":{"b":null}}'), ('{"a":{"c":{"d":null,"e":1}}}'), ('{"b":2}')) p(p),
	(VALUES ('{}'::jsonb), ('{"a":null}'), ('{"a":{"b":5}}'), ('{"a":{"c":{"d":3}}}'), ('{"b":null,"c":{"x":null}}')) q(q);
SELECT bool_and(insula.merge_patch(insula.merge_patch(insula.merge_patch(t, p), q), r) = insula.merge_patch(t, insula.append_patch(insula.append_patch(p, q), r))) AS lawful
FROM (VALUES ('{}'::jsonb), ('{"a":1}'), ('{"a":{"b":1,"c":{"d":2}}}')) t(t),
	(VALUES ('{}'::jsonb), ('{"a":null}'), ('{"a":{"b":null}}'), ('{"a":{"c":{"d":null,"e":1}}}')) p(p),
	(VALUES ('{}'::jsonb), ('{"a":null}'), ('{"a":{"b":5}}'), ('{"a":{"c":3}}')) q(q),
	(VALUES ('{}'::jsonb), ('{"a":null}'), ('{"a":{"b":{"c":5}}}'), ('{"a":{"c":{"d":3}}}')) r(r);

-- Depth ends in the server's own error, not in a crash.
DO $$
BEGIN
	PERFORM insula.merge_patch('{}', (repeat('{"a":', 6000) || '1' || repeat('}', 6000))::jsonb);
	PERFORM insula.merge_patch('{}', (repeat('{"a":', 3000000) || '1' || repeat('}', 3000000))::jsonb);
EXCEPTION WHEN statement_too_complex THEN
	RAISE NOTICE 'too deep';
END
$$;

-- Contexts are bounded in memory: one claim hands out 32 MB of them at most, in order, and
-- tasks that are decided at the same time have their contexts one after the other.
SELECT tenant FROM insula.create_tenant('contexts', login => false);
SET insula.tenant = 'contexts';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}');
SELECT cardinality(insula.submit_many('one', array_fill(jsonb_build_object('x', repeat('x', 4000000)), ARRAY[20])));
SELECT count(*) AS first FROM insula.claim('w', max_tasks => 100);
SELECT status, count(*), count(worker) AS workers, count(started_at) AS starts, max(attempt) AS attempt
FROM tenant_contexts.task_executions GROUP BY status ORDER BY status DESC;
SELECT max(task_id) FILTER (WHERE status = 'running') < min(task_id) FILTER (WHERE status = 'ready') AS in_order FROM tenant_contexts.task_executions;
SELECT count(*) AS next, max(attempt) AS attempt FROM insula.claim('w', max_tasks => 100);
SELECT count(*) AS rest, max(attempt) AS attempt FROM insula.claim('w', max_tasks => 100);
SELECT insula.register_workflow(jsonb_build_object('name', 'decided', 'tasks', '[{"id": "a"}]' || (
	SELECT jsonb_agg(jsonb_build_object('id', 'b' || n, 'depends_on', '["a"]'::jsonb,
		'trigger_rule', '{"context_value": {"key": "x", "op": "exists"}}'::jsonb)) FROM generate_series(1, 100) n)));
SELECT insula.submit('decided', jsonb_build_object('x', repeat('x', 4000000))) > 0 AS submitted;
SELECT cardinality(insula.submit_many('one', array_fill(jsonb_build_object('x', repeat('x', 4000000)), ARRAY[100])));
\c -
SET insula.tenant = 'contexts';
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', ARRAY['decided.a']);
SELECT count(*) AS first FROM insula.claim('w', ARRAY['one.a'], max_tasks => 100);
SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+)'))[1]::int < 400000 AS bounded;
RESET insula.tenant;
SELECT insula.drop_tenant('contexts', drain => '0 s');
