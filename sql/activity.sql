-- Activity: the states of each tenant's tasks, and counters of each workflow.
\set ON_ERROR_STOP 0
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS insula;
SELECT insula.stat_reset();
SELECT tenant FROM insula.create_tenant('active', login => false);
SET insula.tenant = 'active';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a", "retry": {"max_attempts": 2, "initial_delay": "1 h"}}]}');
SELECT insula.register_workflow('{"name": "pair", "tasks": [{"id": "b", "depends_on": ["a"]}, {"id": "a"}]}');
CREATE VIEW stands AS SELECT ready, delayed, running, waiting, paused, oldest_ready_at IS NOT NULL AS oldest
  FROM insula.tenant_activity WHERE tenant = 'active';
CREATE VIEW counted AS SELECT workflow, version, ready, delayed, running, waiting, paused, submitted, completed, failed,
  cancelled, started, retried, lapsed, wait_p50 <= wait_p99 AS waits FROM insula.pg_stat_insula WHERE tenant = 'active';
TABLE stands;

-- Each place in the queue.
CREATE TABLE execution AS SELECT n, insula.submit('one') AS id FROM generate_series(1, 8) n;
SELECT insula.submit('one', run_at => now() + interval '1 h') > 0 AS later, insula.submit('pair') > 0 AS pair;
TABLE stands;
CREATE TABLE held AS SELECT row_number() OVER (ORDER BY task_id) AS n, c.* FROM insula.claim('w', '{one.a}', 6) c;
TABLE stands;
SELECT insula.fail(task_id, lease, 'no') FROM held WHERE n = 1;
SELECT insula.defer(task_id, lease, now() + interval '1 h') FROM held WHERE n = 2;
SELECT insula.wait_event(task_id, lease, 'go') FROM held WHERE n = 3;
SELECT insula.complete(task_id, lease) FROM held WHERE n = 4;
SELECT insula.pause(id) FROM execution WHERE n = 7;
TABLE stands;
TABLE counted;

-- And back.
SELECT insula.send_event(execution_id, 'go') FROM held WHERE n = 3;
SELECT insula.resume(id) FROM execution WHERE n = 7;
SELECT insula.cancel(id) FROM execution WHERE n IN (5, 8);
SELECT insula.leave('w');
TABLE stands;
-- Changes that are rolled back do not count.
BEGIN;
SELECT count(*) FROM insula.claim('w', NULL, 10);
SAVEPOINT s;
SELECT insula.submit('one') > 0;
ROLLBACK TO s;
SELECT insula.submit('pair') > 0;
ROLLBACK;
TABLE stands;
-- A graph: its second task is ready once the first has ended.
SELECT insula.complete(task_id, lease) FROM insula.claim('w', '{pair.a}');
TABLE stands;
SELECT insula.fail(task_id, lease, 'no', false) FROM insula.claim('w', '{pair.b}');
TABLE stands;
TABLE counted;

-- The row of an execution that has a timeout is no task.
SELECT insula.register_workflow('{"name": "timed", "timeout": "1 h", "tasks": [{"id": "a"}, {"id": "b"}]}');
CREATE TABLE timed AS SELECT insula.submit('timed') AS id;
TABLE stands;
SELECT insula.pause(id) FROM timed;
TABLE stands;
SELECT insula.resume(id) FROM timed;
TABLE stands;
SELECT insula.cancel(id) FROM timed;
TABLE stands;
-- Nor is what a subtransaction has done and undone.
BEGIN;
SAVEPOINT s;
SELECT insula.drop_tenant('active', '0 s');
ROLLBACK TO s;
COMMIT;
TABLE stands;
SELECT submitted FROM counted WHERE workflow = 'timed';

-- Counters begin anew, where the tasks stand does not.
SELECT insula.stat_reset();
TABLE counted;
TABLE stands;
SELECT insula.submit('pair') > 0;
TABLE counted;
SELECT insula.drop_tenant('active', '0 s');
TABLE stands;
TABLE counted;
-- A tenant may see none of it.
SET ROLE insula_tenant;
TABLE insula.pg_stat_insula;
SELECT insula.stat_reset();
RESET ROLE;
DROP VIEW stands, counted;
DROP TABLE execution, held, timed;
