-- Executions are emptied, one or all that hold a value; the books stay.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('forgets');
SELECT tenant FROM insula.create_tenant('remembers');
SET insula.tenant = 'forgets';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a", "retry": {"max_attempts": 2, "initial_delay": "0 s"}}]}');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}');
SELECT insula.register_workflow('{"name": "each", "tasks": [{"id": "a", "for_each": {"items": "$.list", "as": "i"}}]}');
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}', tenant => 'remembers');
CREATE FUNCTION finish(n int, tasks text[] DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
SELECT count(insula.complete(task_id, lease, jsonb_build_object('done', task))) FROM insula.claim('w', tasks, n) $$;
-- Where in the tenant's tables a text is to be found.
CREATE FUNCTION places(what text) RETURNS TABLE (place text, rows bigint) LANGUAGE sql AS $$
SELECT 'work', count(*) FROM tenant_forgets.work w WHERE w::text LIKE '%' || what || '%' HAVING count(*) > 0
UNION ALL SELECT 'record ' || kind::text, count(*) FROM tenant_forgets.record r WHERE r::text LIKE '%' || what || '%' GROUP BY kind ORDER BY 1 $$;
CREATE VIEW used AS SELECT * FROM insula.usage('forgets', '-infinity', 'infinity');

-- A single task that fails once and says things; one of two tasks; a fan-out; a child and its child.
SELECT insula.submit('one', '{"customer": {"email": "ann@x"}}', idempotency_key => 'ann@x') AS one \gset
SELECT insula.save_progress(task_id, lease, '{"seen": "ann@x"}', 0.5, 'mails ann@x') FROM insula.claim('w');
SELECT insula.fail(task_id, lease, 'no mailbox ann@x') FROM insula.claim('v');
SELECT insula.leave('w');
SELECT insula.fail(task_id, lease, 'no mailbox ann@x') FROM insula.claim('w');
SELECT insula.fail(task_id, lease, 'no mailbox ann@x') FROM insula.claim('w');
SELECT insula.send_event(:one, 'e', '{"from": "ann@x"}');
SELECT insula.submit('two', '{"id": 7}') AS two \gset
SELECT insula.wait_event(task_id, lease, 'who') FROM insula.claim('w');
SELECT insula.send_event(:two, 'who', '{"customer": {"email": "ann@x"}}', idempotency_key => 'ann@x');
SELECT finish(1), finish(1);
SELECT insula.submit('each', '{"list": [{"customer": {"email": "ann@x"}}, {"customer": {"email": "bob@x"}}]}') AS each \gset
SELECT finish(2);
SELECT insula.submit('two', '{"customer": {"email": ["ann@x", "bob@x"]}}') AS parent \gset
SELECT insula.submit_child(task_id, lease, 'two', '{"of": "parent"}') AS child FROM insula.claim('w') \gset
SELECT insula.submit_child(task_id, lease, 'one', '{"of": "child"}') AS grandchild FROM insula.claim('w') \gset
SELECT finish(1), finish(1), finish(1);
SELECT insula.submit('one', '{"customer": {"email": "bob@x"}}') AS bob \gset
SELECT finish(1);
SELECT insula.submit('one', '{"customer": {"email": "ann@x"}}') AS open \gset
SELECT insula.schedule('monthly', 'one', '0 3 1 * *', context => '{"customer": {"email": "ann@x"}}') > 0 AS scheduled;
SELECT insula.create_trigger('bell', 'one', '{"customer": {"email": "ann@x"}}');
SELECT status, count(*) FROM tenant_forgets.workflow_executions GROUP BY 1 ORDER BY 1;
SELECT * FROM places('ann@x');
CREATE TABLE used_before AS SELECT * FROM used;
CREATE TABLE tasks_before AS SELECT task_id, status, attempt, worker, started_at, finished_at, task FROM tenant_forgets.task_executions;

-- Another tenant's is not there, and a tenant erases no other's; the runner erases nothing.
SELECT insula.submit('one', '{"customer": {"email": "ann@x"}}', tenant => 'remembers') AS other \gset
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', tenant => 'remembers');
RESET insula.tenant;
CREATE ROLE regress_erase_runner IN ROLE insula_runner;
GRANT EXECUTE ON FUNCTION try TO PUBLIC;
SET ROLE remembers_user;
SELECT regexp_replace(try(format('SELECT insula.scrub(%s)', :one)), '\d{6,}', 'N') AS try;
SELECT try($$SELECT insula.erase('forgets', '$.customer.email', '"ann@x"')$$);
SET ROLE regress_erase_runner;
SELECT try($$SELECT insula.erase('forgets', '$.customer.email', '"ann@x"')$$);
RESET ROLE;
-- Bad arguments.
SELECT try($$SELECT insula.erase('forgets', NULL, '"ann@x"')$$);
SELECT try($$SELECT insula.erase('forgets', '$.a', NULL)$$);
SELECT try($$SELECT insula.erase('forgets', '$.a', '{}')$$);
SELECT try($$SELECT insula.erase('forgets', '$.a', 'null')$$);
SELECT try($$SELECT insula.erase('forgets', '$.a.', '1')$$);
SELECT try($$SELECT insula.erase('forgets', '$.a ? (@ == $x)', '1')$$);
SELECT try($$SELECT insula.erase('forgets', '$.a', '1', max_executions => 0)$$);
SELECT try($$SELECT insula.erase('forgets', '$.a', '1', after => 7)$$);
SELECT try($$SELECT insula.erase('nobody', '$.a', '1')$$);
SELECT try($$SELECT insula.erase(NULL, '$.a', '1')$$);
SELECT try($$SELECT insula.scrub(7)$$);
SELECT try($$SELECT insula.scrub(NULL)$$);
SELECT regexp_replace(try(format('SELECT insula.scrub(%s)', :open)), '\d{6,}', 'N') AS try;

-- A dry run says what would be done, and does nothing.
CREATE TABLE rows_before AS SELECT w::text AS r FROM tenant_forgets.work w UNION ALL SELECT r::text FROM tenant_forgets.record r;
SELECT max(log_id) AS logged FROM insula.admin_log \gset
SELECT executions AS dry_executions, tasks AS dry_tasks FROM insula.erase('forgets', '$.**.email', '"ann@x"', dry_run => true) \gset
SELECT receipt, executions > 3 AS several, tasks > executions AS of_more_tasks, open, open_example = :open AS example, parents, schedules, next FROM insula.erase('forgets', '$.**.email', '"ann@x"', dry_run => true);
SELECT executions, next IS NULL AS over FROM insula.erase('forgets', '$.**.email', '"ann@x"', max_executions => 1, dry_run => true);
SELECT try($$SELECT insula.erase('forgets', '$.a', '1', dry_run => NULL)$$);
SELECT count(*) FROM (SELECT w::text FROM tenant_forgets.work w UNION ALL SELECT r::text FROM tenant_forgets.record r EXCEPT ALL SELECT r FROM rows_before) changed;
SELECT count(*) FROM insula.admin_log WHERE log_id > :logged;
SET ROLE remembers_user;
SELECT try($$SELECT insula.erase('forgets', '$.customer.email', '"ann@x"', dry_run => true)$$);
SELECT executions FROM insula.erase(NULL, '$.customer.email', '"ann@x"', dry_run => true);
RESET ROLE;
DROP TABLE rows_before;

-- The tenant itself, in steps of one match; the last step says that nothing is left.
CREATE TABLE step (receipt bigint, executions bigint, tasks bigint, open bigint, example bigint, parents bigint, schedules bigint, next bigint);
GRANT ALL ON step TO PUBLIC;
SET ROLE forgets_user;
DO $$
DECLARE
	place bigint;
BEGIN
	LOOP
		INSERT INTO step SELECT * FROM insula.erase(NULL, '$.**.email', '"ann@x"', place, 1) RETURNING next INTO place;
		EXIT WHEN place IS NULL;
	END LOOP;
END
$$;
RESET ROLE;
SELECT sum(executions) = :dry_executions AND sum(tasks) = :dry_tasks AS as_the_dry_run_said FROM step;
SELECT sum(executions) AS executions, sum(tasks) AS tasks, sum(open) AS open, max(example) = :open AS example, sum(parents) AS parents, sum(schedules) AS schedules, count(*) > 3 AS in_steps FROM step;
-- One transaction, one line.
SELECT username, act, tenant, detail FROM insula.admin_log WHERE log_id IN (SELECT receipt FROM step);
SELECT count(*) AS told FROM insula.admin_log WHERE detail LIKE '%ann@x%';
-- What is left of it: what is open, schedules, and the fan-out's other element has gone with it.
SELECT * FROM places('ann@x');
SELECT * FROM places('bob@x');
-- The books are as they were.
SELECT count(*) FROM (SELECT * FROM used EXCEPT SELECT * FROM used_before) changed;
SELECT count(*) FROM (SELECT task_id, status, attempt, worker, started_at, finished_at, task FROM tenant_forgets.task_executions EXCEPT SELECT * FROM tasks_before) changed;
SELECT workflow, status, context, final_context, error, execution_id = :bob AS bob FROM tenant_forgets.workflow_executions ORDER BY execution_id;
SELECT task, event, attempt, worker, detail - 'started_at' AS detail, changed FROM insula.timeline(:one);
SELECT count(*) FROM insula.failures(tenant => 'forgets') WHERE error <> 'scrubbed';
SELECT tasks -> 0 ->> 'error' AS error, final_context FROM insula.result(:one);
-- The other tenant's is as it was.
SELECT context FROM tenant_remembers.workflow_executions;
-- It is not retried, and its key is free.
SET insula.tenant = 'forgets';
SELECT insula.retry(:one);
SELECT count(*) FROM insula.retry_executions(status => 'failed');
SELECT count(*) FROM insula.retry_executions(status => 'failed', dry_run => false);
SELECT insula.submit('one', idempotency_key => 'ann@x') <> :one AS anew;
SELECT finish(2);

-- One execution, and once more; a child is emptied and its parent named.
SELECT receipt > 0 AS receipt, executions, tasks, open, parents FROM insula.scrub(:open);
SELECT * FROM insula.scrub(:open);
SELECT insula.submit('two', '{"id": 8}') AS parent \gset
SELECT insula.submit_child(task_id, lease, 'one', '{"of": 8}') AS child FROM insula.claim('w') \gset
SELECT finish(1), finish(1);
SELECT executions, tasks, open, parents FROM insula.scrub(:child);
SELECT executions, tasks, open, parents FROM insula.scrub(:parent);
-- A child that goes on is left out, and named.
SELECT insula.submit('two', '{"id": 9}') AS parent \gset
SELECT insula.submit_child(task_id, lease, 'one', '{"of": 9}') AS child FROM insula.claim('w') \gset
UPDATE tenant_forgets.work SET state = 7, finished_at = now(), lane = NULL WHERE id IN ((:parent & 68719476735), (:parent & 68719476735) + 1, (:parent & 68719476735) + 2);
SELECT executions, tasks, open, parents FROM insula.scrub(:parent);
SELECT context FROM tenant_forgets.workflow_executions WHERE execution_id IN (:parent, :child) ORDER BY execution_id;
-- A failure is counted once, by its task.
SELECT insula.submit('two', '{"id": 10}') AS failed \gset
SELECT insula.fail(task_id, lease, 'no', false) FROM insula.claim('w', ARRAY['two.a']) WHERE execution_id = :failed;
BEGIN;
SAVEPOINT undone;
SELECT executions FROM insula.scrub(:failed);
ROLLBACK TO undone;
SELECT executions FROM insula.scrub(:failed);
COMMIT;
SELECT act, detail FROM insula.admin_log ORDER BY log_id DESC LIMIT 1;
SELECT task, error FROM insula.failures(tenant => 'forgets') WHERE workflow = 'two';
SELECT error FROM tenant_forgets.workflow_executions WHERE execution_id = :failed;
-- Usage stays when they go.
DROP TABLE used_before;
CREATE TABLE used_before AS SELECT * FROM used;
SELECT count(*) > 5 FROM insula.delete_executions(dry_run => false);
SELECT count(*) FROM (SELECT * FROM used EXCEPT SELECT * FROM used_before) changed;
-- Numbers and truth values.
SELECT insula.submit('one', '{"id": 7}') > 0 AS seven, insula.submit('one', '{"id": true}') > 0 AS truth;
SELECT finish(3);
SELECT executions, next FROM insula.erase('forgets', '$.id', '7.0');
SELECT executions, next FROM insula.erase('forgets', '$.id', 'true');
SELECT executions, next FROM insula.erase('forgets', 'strict $.nothing.at.all', 'true');
-- Children and theirs go first, so that a walk that its budget has ended goes on where it was.
SELECT insula.submit('one', '{"id": 11}') AS root \gset
DO $$
BEGIN
	FOR i IN 1..6 LOOP
		PERFORM insula.submit_child(task_id, lease, 'one', format('{"depth": %s}', i)::jsonb) FROM insula.claim('w');
	END LOOP;
	FOR i IN 1..7 LOOP
		PERFORM insula.complete(task_id, lease) FROM insula.claim('w');
	END LOOP;
END
$$;
TRUNCATE step;
SET insula.visit_time = '1ms';
DO $$
DECLARE
	place bigint;
BEGIN
	LOOP
		INSERT INTO step SELECT * FROM insula.erase(NULL, '$.id', '11', place) RETURNING next INTO place;
		EXIT WHEN place IS NULL;
	END LOOP;
END
$$;
RESET insula.visit_time;
SELECT sum(executions) AS executions, sum(tasks) AS tasks, sum(open) AS open, sum(parents) AS parents, max(executions) < 7 AS in_steps FROM step;
SELECT string_agg(context::text, '') AS left FROM tenant_forgets.workflow_executions WHERE execution_id >= :root;
RESET insula.tenant;
DROP TABLE step, used_before, tasks_before;
DROP VIEW used;
DROP FUNCTION finish, places;
DROP ROLE regress_erase_runner;
SELECT insula.drop_tenant('forgets', '0 s'), insula.drop_tenant('remembers', '0 s');
