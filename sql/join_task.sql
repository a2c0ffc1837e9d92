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
RESET insula.tenant;
DROP VIEW state;
DROP TABLE effects;
SELECT insula.drop_tenant('joined', '0 s');
