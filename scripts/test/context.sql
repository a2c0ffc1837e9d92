-- Runs rows of the table in docs/context.md, which are in the variable `rows`: each becomes a
-- workflow and an execution of it, and must end as the row says.
CREATE EXTENSION insula;
SELECT tenant FROM insula.create_tenant('examples', login => false) \g /dev/null
SET insula.tenant = 'examples';
SELECT insula.register_workflow('{"name": "child", "tasks": [{"id": "work"}]}') \g /dev/null

-- One task as the table writes it: id, [items], (what it waits for), ? for a rule.
CREATE FUNCTION pg_temp.task(text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('id', part[1], 'retry', '{"max_attempts": 1}'::jsonb,
		'for_each', CASE WHEN part[2] <> '' THEN jsonb_build_object('items', part[2], 'allow_failures', true) END,
		'depends_on', to_jsonb(string_to_array(part[3], ' ')),
		'trigger_rule', CASE WHEN part[4] = '?' THEN 'always' END))
	FROM regexp_match($1, '^(\w+)(?:\[(\w+)\])?(?:\(([\w ]+)\))?(\??)$') part
$$;

CREATE FUNCTION pg_temp.run(workflow text, input jsonb, says jsonb, OUT id bigint, OUT seen jsonb) LANGUAGE plpgsql AS $$
DECLARE
	task record;
	words text[];
	deferred text[] := '{}';
BEGIN
	id := insula.submit(workflow, input);
	seen := '{}';
	WHILE (insula.result(id)).finished_at IS NULL LOOP
		FOR task IN SELECT * FROM (SELECT task_id, lease, context FROM insula.claim('w', max_tasks => 100) OFFSET 0) c
			JOIN tenant_examples.task_executions t USING (task_id) ORDER BY task_id DESC
		LOOP
			seen := seen || jsonb_build_object(task.task, task.context);
			words := regexp_match(says ->> task.task, '^(defers|starts)?(.*?)(?: then (.*))?$');
			IF task.workflow = 'child' THEN
				words[2] := '{"answer": 42}';
			ELSIF words[1] = 'starts' THEN
				PERFORM insula.submit_child(task.task_id, task.lease, 'child', words[2]::jsonb);
				CONTINUE;
			ELSIF words[1] = 'defers' AND task.task <> ALL (deferred) THEN
				PERFORM insula.defer(task.task_id, task.lease, now(), words[2]::jsonb);
				deferred := deferred || task.task;
				CONTINUE;
			ELSIF words[1] = 'defers' THEN
				words[2] := words[3];
			END IF;
			IF words[2] = 'fails' THEN
				PERFORM insula.fail(task.task_id, task.lease, 'as the table says');
			ELSE
				PERFORM insula.complete(task.task_id, task.lease, words[2]::jsonb);
			END IF;
		END LOOP;
	END LOOP;
END
$$;

CREATE TEMP TABLE examples AS
SELECT n, trim(part[1]) AS tasks, part[2]::jsonb AS input, trim(part[3]) AS hand_over, trim(part[4]) AS sees,
	part[5]::jsonb AS final_context, trim(part[6]) AS conflicts
FROM regexp_split_to_table(:'rows', E'\n') WITH ORDINALITY line(text, n), string_to_array(trim(line.text, '| ') || ' |', '|') part;

DO $$
DECLARE
	example examples;
	says jsonb;
	ran record;
	ended insula.execution_result;
	conflicts text;
	sees text[];
BEGIN
	FOR example IN SELECT * FROM examples ORDER BY n LOOP
		PERFORM insula.register_workflow(jsonb_build_object('name', 'example' || example.n, 'tasks',
			(SELECT jsonb_agg(pg_temp.task(t.text) ORDER BY n) FROM regexp_split_to_table(example.tasks, ', ') WITH ORDINALITY t(text, n))));
		SELECT jsonb_object_agg(split_part(t, ' ', 1), substr(t, strpos(t, ' ') + 1)) INTO says FROM regexp_split_to_table(example.hand_over, '; ') t;
		ran := pg_temp.run('example' || example.n, example.input, says);
		ended := insula.result(ran.id);
		SELECT coalesce(string_agg(format('%s: %s over %s', detail ->> 'path', detail ->> 'kept', detail ->> 'replaced'), ', ' ORDER BY event_id), '')
		INTO conflicts FROM tenant_examples.execution_events WHERE execution_id = ran.id AND event = 'context_conflict';
		sees := regexp_match(example.sees, '^(\S+) (.*)$');
		IF ended.final_context IS DISTINCT FROM example.final_context OR conflicts <> example.conflicts OR
			ran.seen -> sees[1] IS DISTINCT FROM sees[2]::jsonb THEN
			RAISE EXCEPTION 'example % is wrong: %', example.n, example
				USING DETAIL = format('sees %s, final context %s, conflicts %s', ran.seen, ended.final_context, conflicts);
		END IF;
	END LOOP;
	IF (SELECT count(*) < 15 FROM examples) THEN
		RAISE EXCEPTION 'the table was not read';
	END IF;
END
$$;
