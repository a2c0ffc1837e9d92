-- A transaction tied to a task: its own effects and the task's outcome in one commit.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('joined');
SET insula.tenant = 'joined';
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a", "retry": {"initial_delay": "0 s"}}]}');
CREATE TABLE effects (effect text);
CREATE VIEW state AS SELECT (SELECT string_agg(effect, ', ') FROM effects) AS effects, (SELECT string_agg(status, ', ' ORDER BY task_id) FROM tenant_joined.task_executions) AS tasks;
SELECT insula.submit('w') AS id \gset
SELECT task_id, lease FROM insula.claim('w') \gset
SELECT insula.join_task(1, 1) AS unknown, insula.join_task(:task_id, 7) AS lost, try($$SELECT insula.join_task(NULL, 1)$$);
-- Outside of a transaction block the statement is the transaction.
SELECT insula.join_task(:task_id, :lease);
-- Not settled: the commit fails, and nothing of it stays.
BEGIN;
SELECT insula.join_task(:task_id, :lease);
INSERT INTO effects VALUES ('without a completion');
COMMIT;
BEGIN;
SELECT insula.join_task(:task_id, :lease);
INSERT INTO effects VALUES ('with a refused completion');
SELECT insula.complete(:task_id, 7);
COMMIT;
-- A rollback to a savepoint undoes settling and joining.
BEGIN;
SELECT insula.join_task(:task_id, :lease);
INSERT INTO effects VALUES ('with an undone completion');
SAVEPOINT s;
SELECT insula.complete(:task_id, :lease);
ROLLBACK TO s;
COMMIT;
SELECT * FROM state;
BEGIN;
SAVEPOINT s;
SELECT insula.join_task(:task_id, :lease);
ROLLBACK TO s;
INSERT INTO effects VALUES ('one');
COMMIT;
BEGIN;
SAVEPOINT s;
SELECT insula.join_task(:task_id, :lease);
RELEASE s;
COMMIT;
-- Failed, deferred, waiting, completed: each settles it.
BEGIN;
SELECT insula.join_task(:task_id, :lease);
SAVEPOINT s;
INSERT INTO effects VALUES ('two');
SELECT insula.fail(:task_id, :lease, 'again');
RELEASE s;
COMMIT;
SELECT task_id, lease FROM insula.claim('w') \gset
BEGIN;
SELECT insula.join_task(:task_id, :lease), insula.defer(:task_id, :lease, now());
COMMIT;
SELECT task_id, lease FROM insula.claim('w') \gset
BEGIN;
SELECT insula.join_task(:task_id, :lease), insula.wait_event(:task_id, :lease, 'go'), insula.send_event(:id, 'go');
COMMIT;
SELECT task_id, lease FROM insula.claim('w') \gset
BEGIN;
SELECT insula.join_task(:task_id, :lease), insula.join_task(:task_id, :lease);
INSERT INTO effects VALUES ('three');
SELECT insula.complete_many(ARRAY[:task_id], ARRAY[:lease], NULL);
COMMIT;
SELECT * FROM state;
-- A lease that is lost in the middle.
SELECT insula.submit('w') AS id \gset
SELECT task_id, lease FROM insula.claim('w') \gset
BEGIN;
SELECT insula.join_task(:task_id, :lease);
SELECT insula.cancel(:id);
SELECT insula.complete(:task_id, :lease);
COMMIT;
SELECT insula.cancel(:id);
BEGIN;
SELECT insula.join_task(:task_id, :lease);
COMMIT;
-- A worker of all tenants submits for the tenant of the task that it has joined, in that transaction.
RESET insula.tenant;
SELECT tenant FROM insula.create_tenant('unjoined');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'unjoined');
SELECT insula.submit('w', tenant => 'joined') AS id \gset
CREATE FUNCTION try_as_another() RETURNS text SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN
	RETURN insula.submit('w', tenant => 'joined')::text;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ': ' || sqlerrm;
END $$;
CREATE ROLE regress_other_runner IN ROLE insula_runner;
ALTER FUNCTION try_as_another OWNER TO regress_other_runner;
SET ROLE insula_runner;
SELECT try($$SELECT insula.submit('w')$$), try($$SELECT insula.submit('w', tenant => 'joined')$$);
SELECT task_id, lease FROM insula.claim('w', ARRAY['w.a'], tenant => 'joined') \gset
BEGIN;
SELECT insula.join_task(:task_id, :lease);
SELECT insula.submit('w') > 0 AS unnamed, insula.submit('w', tenant => 'joined') > 0 AS named,
	insula.submit_many('w', ARRAY['{}']::jsonb[]) IS NOT NULL AS many;
SELECT try($$SELECT insula.submit('w', tenant => 'unjoined')$$), try($$SELECT insula.cancel(1)$$);
SELECT insula.complete(:task_id, :lease);
COMMIT;
SELECT try($$SELECT insula.submit('w')$$);
-- A subtransaction that is rolled back takes its join along.
SELECT task_id, lease FROM insula.claim('w', ARRAY['w.a'], tenant => 'joined') \gset
BEGIN;
SAVEPOINT s;
SELECT insula.join_task(:task_id, :lease);
ROLLBACK TO s;
SELECT try($$SELECT insula.submit('w')$$);
ROLLBACK;
-- The role that has joined, and no other one that acts in the transaction.
BEGIN;
SELECT insula.join_task(:task_id, :lease), try_as_another();
ROLLBACK;
RESET ROLE;
SELECT count(*) FROM tenant_joined.workflow_executions WHERE execution_id > :id;
SELECT count(*) FROM tenant_unjoined.workflow_executions;
DROP FUNCTION try_as_another();
DROP ROLE regress_other_runner;
SELECT insula.drop_tenant('unjoined', '0 s');
DROP VIEW state;
DROP TABLE effects;
SELECT insula.drop_tenant('joined', '0 s');
