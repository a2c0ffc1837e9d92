-- Decisions, and ends of executions, that do not fit the budget of a call are put off; calls of the tenant take
-- them up.  A budget of a kilobyte is spent by the first one.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('undecided');
SET insula.tenant = 'undecided';
SET insula.visit_time = '1 min';
CREATE VIEW stands AS SELECT workflow, status, length(final_context::text) AS length, error FROM tenant_undecided.workflow_executions ORDER BY execution_id;
CREATE VIEW tasks AS SELECT task, status FROM tenant_undecided.task_executions ORDER BY task_id;
CREATE FUNCTION explain(id bigint) RETURNS TABLE (task text, status text, why text) LANGUAGE sql AS $$
	SELECT e.task, e.status, regexp_replace(e.why, '(until|at) [^;,]*$', '\1 ...') FROM insula.explain_execution(id) e
$$;
-- Completes all that it is given, as often as there is something; returns how many.
CREATE FUNCTION drain() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	done int := 0; now_done int;
BEGIN
	LOOP
		SELECT count(insula.complete(task_id, lease, jsonb_build_object('by_' || task, 1))) INTO now_done FROM insula.claim('w', max_tasks => 100);
		EXIT WHEN now_done = 0;
		done := done + now_done;
	END LOOP;
	RETURN done;
END
$$;
SELECT insula.register_workflow('{"name": "fans", "tasks": [{"id": "list"}, {"id": "f", "depends_on": ["list"], "for_each": {"items": "$.list"}},
	{"id": "g", "depends_on": ["list"], "for_each": {"items": "$.list"}}, {"id": "h", "depends_on": ["list"], "for_each": {"items": "$.none"}},
	{"id": "after", "depends_on": ["f", "g"]}]}');
SELECT insula.register_workflow('{"name": "rules", "tasks": [{"id": "a"},
	{"id": "b", "depends_on": ["a"], "trigger_rule": {"context_value": {"key": "x", "op": "exists"}}},
	{"id": "c", "depends_on": ["a"], "trigger_rule": {"context_value": {"key": "x", "op": "not_exists"}}},
	{"id": "d", "depends_on": ["a"], "trigger_rule": {"context_value": {"key": "x", "op": "contains", "value": "x"}}},
	{"id": "e", "depends_on": ["c", "d"], "trigger_rule": "always"}]}');
SELECT jsonb_build_object('list', '[1, 2]'::jsonb, 'x', repeat('x', 2000)) AS big \gset

-- The budget is the administrator's.
SET ROLE undecided_user;
SELECT try('SET insula.visit_time = 1'), try('SET insula.visit_bytes = 1');
RESET ROLE;
SET insula.visit_bytes = '1kB';

-- Fan-outs.
SELECT insula.submit('fans') AS id \gset
SELECT insula.complete(task_id, lease, :'big') FROM insula.claim('w');
SELECT * FROM explain(:id);
SELECT count(*) FROM insula.claim('w', max_tasks => 100);
SELECT * FROM explain(:id);
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 100);
TABLE tasks;
SELECT drain();
SELECT insula.complete(t.task_id, w.lease) FROM tenant_undecided.work w JOIN tenant_undecided.task_executions t ON t.task = 'f[' || w.element || ']' WHERE w.state = 2 AND t.status = 'running';
SELECT drain();
TABLE stands;

-- Trigger rules; an execution that is paused decides on.
TRUNCATE tenant_undecided.work;
SELECT insula.submit('rules') AS id \gset
SELECT insula.complete(task_id, lease, :'big') FROM insula.claim('w');
SELECT * FROM explain(:id);
SELECT insula.pause(:id);
SELECT count(*) FROM insula.claim('w', max_tasks => 100), generate_series(1, 3);
SELECT task, status FROM explain(:id);
SELECT count(*) FROM insula.claim('w', max_tasks => 100);
SELECT * FROM explain(:id);
SELECT insula.resume(:id);
SELECT drain();
TABLE tasks;
TABLE stands;

-- What is put off can be cancelled, and counts for no limit.
TRUNCATE tenant_undecided.work;
SELECT insula.submit('rules') AS id \gset
SELECT insula.set_tenant_limits('undecided', max_queued => 1);
SELECT insula.complete(task_id, lease, :'big') FROM insula.claim('w');
SELECT try($$SELECT insula.submit('rules')$$);
SELECT insula.set_tenant_limits('undecided', max_queued => -1);
SELECT insula.cancel(:id);
TABLE tasks;
SELECT ready, delayed, running, waiting, paused FROM insula.tenant_activity WHERE tenant = 'undecided';
SELECT drain();

-- Fan-outs that wait for nothing are part of the submission, as far as they fit its budget.
TRUNCATE tenant_undecided.work;
SELECT insula.register_workflow('{"name": "roots", "tasks": [{"id": "f", "for_each": {"items": "$.list"}}, {"id": "g", "for_each": {"items": "$.list"}}, {"id": "h", "for_each": {"items": "$.list"}}]}');
SELECT insula.submit('roots', :'big') AS id \gset
TABLE tasks;
SELECT drain();
SELECT insula.submit('roots', :'big', run_at => 'tomorrow') AS id \gset
SELECT task, status FROM explain(:id);
SELECT drain();
TABLE stands;

-- Executions that end together.
TRUNCATE tenant_undecided.work;
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}');
SET insula.visit_bytes = '1MB';
SELECT cardinality(insula.submit_many('two', array_fill(:'big'::jsonb, ARRAY[3])));
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 100);
CREATE TEMP TABLE claimed AS SELECT task_id, lease FROM insula.claim('w', max_tasks => 100);
SET insula.visit_bytes = '1kB';
SELECT insula.complete_many(array_agg(task_id), array_agg(lease), array_agg('{}'::jsonb)) FROM claimed;
TABLE stands;
SELECT count(*) FROM insula.claim('w'), generate_series(1, 2);
SELECT count(*) FROM insula.claim('w');
TABLE stands;
DROP TABLE claimed;

-- A batch for several tenants does of each what fits, and asks for the rest again.
SELECT tenant FROM insula.create_tenant('undecided_too');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}', tenant => 'undecided_too');
SET insula.visit_bytes = '1MB';
TRUNCATE tenant_undecided.work;
SELECT cardinality(insula.submit_many('two', array_fill(:'big'::jsonb, ARRAY[100])));
SELECT insula.submit('two', '{}', tenant => 'undecided_too') > 0 AS submitted;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 1000, tenant => 'undecided');
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 100, tenant => 'undecided_too');
CREATE TEMP TABLE claimed AS SELECT t.tenant, c.task_id, c.lease FROM (VALUES ('undecided'), ('undecided_too')) t(tenant), insula.claim('w', max_tasks => 100, tenant => t.tenant) c;
SET insula.visit_bytes = '1kB';
RESET insula.tenant;
CREATE TEMP TABLE answers AS SELECT (row_number() OVER ())::int AS place, completed
FROM unnest((SELECT insula.complete_many(array_agg(task_id ORDER BY task_id), array_agg(lease ORDER BY task_id), NULL) FROM claimed)) completed;
SELECT c.tenant, a.completed, count(*) FROM answers a JOIN (SELECT tenant, row_number() OVER (ORDER BY task_id) AS place FROM claimed) c USING (place) GROUP BY 1, 2 ORDER BY 1, 2;
DROP TABLE claimed, answers;
SELECT insula.drop_tenant('undecided_too', '0 s');
SET insula.tenant = 'undecided';
RESET insula.visit_bytes;

-- A rule has a budget of its own: one that asks for more fails its task.
TRUNCATE tenant_undecided.work;
SELECT insula.register_workflow(jsonb_build_object('name', 'costly', 'tasks', jsonb_build_array('{"id": "a"}'::jsonb,
	jsonb_build_object('id', 'texts', 'depends_on', '["a"]'::jsonb, 'trigger_rule', jsonb_build_object('any',
		(SELECT jsonb_agg(jsonb_build_object('context_value', jsonb_build_object('key', 'text', 'op', 'contains', 'value', 'no ' || n))) FROM generate_series(1, 1000) n))),
	jsonb_build_object('id', 'elements', 'depends_on', '["a"]'::jsonb, 'trigger_rule', jsonb_build_object('any',
		(SELECT jsonb_agg(jsonb_build_object('context_value', jsonb_build_object('key', 'list', 'op', 'contains', 'value', 'no ' || n))) FROM generate_series(1, 50) n)
		|| '[{"context_value": {"key": "list", "op": "contains", "value": 200000}}]')))));
SELECT insula.submit('costly') AS id \gset
SELECT insula.complete(task_id, lease, jsonb_build_object('text', repeat('x', 1000000), 'list', (SELECT jsonb_agg(n) FROM generate_series(1, 200000) n))) FROM insula.claim('w');
SELECT * FROM explain(:id);
SELECT drain();
TABLE stands;

-- The context of a task with many ancestors is kept, for those that see more than it, and is the same as a merge of all.
TRUNCATE tenant_undecided.work;
SELECT insula.register_workflow(jsonb_build_object('name', 'wide', 'tasks',
	(SELECT jsonb_agg(jsonb_build_object('id', 'a' || n)) FROM generate_series(1, 300) n)
	|| jsonb_build_object('id', 'join', 'depends_on', (SELECT jsonb_agg('a' || n) FROM generate_series(1, 300) n))
	|| '[{"id": "b", "depends_on": ["join"]}, {"id": "c", "depends_on": ["b"]}, {"id": "d", "depends_on": ["a7", "c"]}, {"id": "late", "depends_on": ["e"]}, {"id": "e"}, {"id": "f", "depends_on": ["c", "late"]}]'));
SELECT insula.submit('wide', '{"keep": null, "n": 0}') AS id \gset
SELECT count(insula.complete(task_id, lease, jsonb_build_object('n', substr(task, 2)::int, 'o', jsonb_build_object(task, 1, 'a5', NULL)))) FROM insula.claim('w', max_tasks => 300);
SELECT element, length(output::text) AS length FROM tenant_undecided.work WHERE head IS NULL;
SELECT task, insula.complete(task_id, lease, '{"late": true}') FROM insula.claim('w', ARRAY['wide.e']);
CREATE TEMP TABLE seen (task text, kept jsonb, merged jsonb);
CREATE FUNCTION see() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		UPDATE tenant_undecided.work SET element = NULL, output = NULL WHERE head IS NULL;
		INSERT INTO seen SELECT task, NULL, context FROM insula.claim('w', max_tasks => 100);
		RAISE EXCEPTION USING MESSAGE = coalesce((SELECT jsonb_object_agg(task, merged) FROM seen WHERE kept IS NULL), '{}')::text;
	EXCEPTION WHEN raise_exception THEN
		INSERT INTO seen SELECT task, context, SQLERRM::jsonb -> task FROM (SELECT c.*, insula.complete(task_id, lease, jsonb_build_object(task, 1)) FROM insula.claim('w', max_tasks => 100) c) c;
	END;
END
$$;
SELECT count(see()) FROM generate_series(1, 6);
SELECT task, kept = merged AS same, kept->'n' AS n, kept ? 'keep' AS keep, kept->'o'->'a300' AS o, kept->'late' AS late FROM seen ORDER BY task;
SELECT element FROM tenant_undecided.work WHERE head IS NULL;
TABLE stands;
-- A retry decides anew on tasks that were cancelled before they were decided; what is put off again stays so.
TRUNCATE tenant_undecided.work;
SET insula.visit_bytes = '1kB';
SELECT insula.submit('rules') AS id \gset
SELECT insula.complete(task_id, lease, :'big') FROM insula.claim('w');
SELECT * FROM explain(:id);
SELECT insula.cancel(:id);
SELECT insula.retry(:id);
SELECT * FROM explain(:id);
RESET insula.visit_bytes;
SELECT drain();
TABLE tasks;
TABLE stands;
TRUNCATE tenant_undecided.work;
SET insula.visit_bytes = '1kB';
SELECT insula.submit('fans') AS id \gset
SELECT insula.complete(task_id, lease, :'big') FROM insula.claim('w');
SELECT insula.cancel(:id), insula.retry(:id);
SELECT * FROM explain(:id);
SELECT drain();
TABLE stands;

-- A rule that asks for too much does so again.
TRUNCATE tenant_undecided.work;
RESET insula.visit_bytes;
SELECT insula.submit('costly') AS id \gset
SELECT insula.complete(task_id, lease, jsonb_build_object('text', repeat('x', 1000000), 'list', (SELECT jsonb_agg(n) FROM generate_series(1, 200000) n))) FROM insula.claim('w');
SELECT drain();
SELECT insula.retry(:id);
TABLE tasks;
TABLE stands;

-- An execution whose end is put off has ended for a cancel; the next claim takes up the others.
TRUNCATE tenant_undecided.work;
SELECT cardinality(insula.submit_many('two', array_fill(:'big'::jsonb, ARRAY[3])));
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 100);
CREATE TEMP TABLE claimed AS SELECT task_id, lease, execution_id FROM insula.claim('w', max_tasks => 100);
SET insula.visit_bytes = '1kB';
SELECT insula.complete_many(array_agg(task_id), array_agg(lease), array_agg('{}'::jsonb)) FROM claimed;
TABLE stands;
SELECT e.* FROM (SELECT max(execution_id) AS id FROM claimed) c, explain(c.id) e;
SELECT insula.cancel(max(execution_id)) FROM claimed;
TABLE stands;
SELECT count(*) FROM insula.claim('w');
TABLE stands;
DROP TABLE claimed;
RESET insula.visit_bytes;

-- A task with a rule may be ready while an ancestor still runs: its context is not kept.
TRUNCATE tenant_undecided.work;
SELECT insula.register_workflow(jsonb_build_object('name', 'early', 'tasks',
	(SELECT jsonb_agg(jsonb_build_object('id', 'a' || n)) FROM generate_series(1, 300) n)
	|| jsonb_build_object('id', 'join', 'depends_on', (SELECT jsonb_agg('a' || n) FROM generate_series(1, 300) n))
	|| '[{"id": "b", "retry": {"max_attempts": 1}}, {"id": "c"}, {"id": "d", "depends_on": ["join", "b", "c"]},
	{"id": "e", "depends_on": ["d"], "trigger_rule": "always"}, {"id": "f", "depends_on": ["e"]}]'));
SELECT insula.submit('early') AS id \gset
SELECT count(insula.complete(task_id, lease, jsonb_build_object(task, 1))) FROM insula.claim('w', max_tasks => 300);
SELECT task_id AS b, lease AS b_lease FROM insula.claim('w', ARRAY['early.b']) \gset
SELECT task_id AS c, lease AS c_lease FROM insula.claim('w', ARRAY['early.c']) \gset
SELECT insula.complete(task_id, lease) FROM insula.claim('w', ARRAY['early.join']);
SELECT insula.fail(:b, :b_lease, 'no', false);
SELECT insula.complete(:c, :c_lease, '{"c": 1}');
SELECT insula.complete(task_id, lease) FROM insula.claim('w', ARRAY['early.e']);
SELECT task, context->'c' AS c, context ? 'a300' AS a FROM insula.claim('w');

-- Groups whose elements have ended are closed in turns, even after a cancel.
TRUNCATE tenant_undecided.work;
SET insula.visit_bytes = '1kB';
SELECT insula.submit('fans') AS id \gset
SELECT insula.complete(task_id, lease, :'big') FROM insula.claim('w');
SELECT count(*) FROM insula.claim('w', '{none}'), generate_series(1, 3);
SET insula.visit_bytes = '32MB';
CREATE TEMP TABLE claimed AS SELECT task_id, lease FROM insula.claim('w', max_tasks => 100);
SET insula.visit_bytes = '1kB';
SELECT insula.complete_many(array_agg(task_id), array_agg(lease), array_agg('{"big": "of each"}' || :'big'::jsonb)) FROM claimed;
SELECT * FROM explain(:id);
SELECT insula.cancel(:id), insula.retry(:id);
SELECT * FROM explain(:id);
SELECT drain();
TABLE stands;
DROP TABLE claimed;

-- What the end of a child is to those that wait for it is put off level by level.
TRUNCATE tenant_undecided.work;
SET insula.visit_bytes = '32MB';
SELECT insula.register_workflow('{"name": "nest", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}');
SELECT insula.register_workflow('{"name": "leaf", "tasks": [{"id": "a"}]}');
SELECT insula.submit('nest') IS NOT NULL AS submitted;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w');
SELECT insula.submit_child(task_id, lease, 'nest') IS NOT NULL FROM insula.claim('w', '{nest.b}');
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', '{nest.a}');
SELECT insula.submit_child(task_id, lease, 'leaf') IS NOT NULL FROM insula.claim('w', '{nest.b}');
SET insula.visit_bytes = '1kB';
SELECT insula.complete(task_id, lease, :'big') FROM insula.claim('w', '{leaf.a}');
TABLE stands;
SELECT count(*) FROM insula.claim('w');
TABLE stands;

-- Executions that an ended one has waited for are cancelled in turns, or when that one is run again.
TRUNCATE tenant_undecided.work;
SET insula.visit_bytes = '32MB';
SELECT insula.register_workflow('{"name": "three", "tasks": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}');
SELECT insula.submit('three') AS id \gset
SELECT count(insula.submit_child(task_id, lease, 'two', :'big')) FROM insula.claim('w', max_tasks => 3);
SET insula.visit_bytes = '1kB';
SELECT insula.cancel(:id);
TABLE stands;
SELECT count(*) FROM insula.delete_executions(status => 'cancelled', dry_run => false) d JOIN tenant_undecided.workflow_executions ON execution_id = d AND workflow = 'three';
SELECT insula.retry(:id);
TABLE stands;
SELECT insula.cancel(:id);
TABLE stands;
RESET insula.visit_bytes;

-- A session that has claimed nothing completes tasks of several tenants, and puts off as others do.
TRUNCATE tenant_undecided.work;
SELECT tenant FROM insula.create_tenant('undecided_too');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}', tenant => 'undecided_too');
SELECT insula.submit('two') > 0 AND insula.submit('two', '{}', tenant => 'undecided_too') > 0 AS submitted;
CREATE TABLE claimed AS SELECT c.* FROM (VALUES ('undecided'), ('undecided_too')) t(tenant), insula.claim('w', tenant => t.tenant) c;
\c
SET client_min_messages = error;
SELECT insula.complete_many(array_agg(task_id ORDER BY task_id), array_agg(lease ORDER BY task_id), NULL) FROM claimed;
SELECT insula.drop_tenant('undecided_too', '0 s');
DROP TABLE claimed;
SET insula.tenant = 'undecided';

-- An ended child whose parent is yet to be told, or whose children are to be cancelled, is used once, however often it is not removed.
TRUNCATE tenant_undecided.work;
TRUNCATE tenant_undecided.record;
SELECT insula.register_workflow('{"name": "three", "tasks": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}');
SELECT insula.submit('three') AS id \gset
SELECT count(insula.submit_child(task_id, lease, 'two', jsonb_build_object('x', repeat('x', 2000)))) FROM insula.claim('w', max_tasks => 3);
SET insula.visit_bytes = '1kB';
SELECT insula.cancel(:id);
SELECT count(*) FROM insula.delete_executions(workflow => 'three', dry_run => false), generate_series(1, 3);
SELECT workflow, sum(executions_started) AS started, sum(executions_cancelled) AS cancelled FROM insula.usage() GROUP BY 1 ORDER BY 1;
-- A call ends all of what is put off, though each of it spends the budget.
SELECT insula.cancel(:id);
SELECT execution_status, count(*) FROM insula.executions() GROUP BY 1;
RESET insula.visit_bytes;

-- What would be too large together is not read: outputs of 4 MB may take little on disk.
TRUNCATE tenant_undecided.work;
SELECT insula.register_workflow(jsonb_build_object('name', 'large', 'tasks',
	(SELECT jsonb_agg(jsonb_build_object('id', 'a' || n)) FROM generate_series(1, 40) n)
	|| jsonb_build_array(jsonb_build_object('id', 'join', 'depends_on', (SELECT jsonb_agg('a' || n) FROM generate_series(1, 40) n)))));
SELECT insula.register_workflow('{"name": "each", "tasks": [{"id": "f", "for_each": {"items": "$.list"}}]}');
\c
SET client_min_messages = error;
SET insula.tenant = 'undecided';
SELECT insula.submit('large') AS id, insula.submit('each', jsonb_build_object('list', (SELECT jsonb_agg(n) FROM generate_series(1, 66) n))) AS other \gset
DO $$
BEGIN
	FOR i IN 1 .. 106 LOOP
		PERFORM insula.complete(task_id, lease, jsonb_build_object(task, repeat('x', 4000000))) FROM insula.claim('w');
	END LOOP;
END
$$;
SELECT count(*) FROM insula.claim('w');
SELECT workflow, status, error FROM tenant_undecided.workflow_executions ORDER BY execution_id;
-- Patches of tasks that have not completed are not read either.
SELECT insula.submit('large') AS id \gset
DO $$
BEGIN
	FOR i IN 1 .. 40 LOOP
		PERFORM insula.defer(task_id, lease, 'tomorrow', jsonb_build_object(task, repeat('x', 4000000))) FROM insula.claim('w');
	END LOOP;
END
$$;
SELECT insula.cancel(:id);
SELECT count(*) FROM insula.result(:id);
SELECT insula.retry(:id);
SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+)'))[1]::int < 150000 AS bounded;
DROP FUNCTION drain, explain, see;
DROP VIEW stands, tasks;
RESET insula.tenant;
SELECT insula.drop_tenant('undecided', '0 s');
