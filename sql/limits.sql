-- Limits of a tenant, and that the server keeps them.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('limited');
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}', tenant => 'limited');
SELECT insula.register_workflow('{"name": "three", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c"}]}', tenant => 'limited');
SET insula.tenant = 'limited';

-- None at first; NULL keeps, -1 lifts.
CREATE VIEW limits AS SELECT max_running, max_queued, max_connections, weight, rate_per_second, retain, retain_count
	FROM insula.tenants WHERE tenant = 'limited';
SELECT * FROM limits;
SELECT insula.set_tenant_limits('limited', 5, 100, 7, 3, 2.5, '30 days', 1000);
SELECT * FROM limits;
SELECT insula.set_tenant_limits('limited', max_running => 6);
SELECT * FROM limits;
SELECT rolconnlimit FROM pg_roles WHERE rolname = 'limited_user';
SELECT insula.set_tenant_limits('limited', -1, -1, -1, -1, -1, '-1', -1);
SELECT * FROM limits;
SELECT rolconnlimit FROM pg_roles WHERE rolname = 'limited_user';
SELECT try($$SELECT insula.set_tenant_limits('nobody', 1)$$);
SELECT try($$SELECT insula.set_tenant_limits(NULL, 1)$$);
SELECT try($$SELECT insula.set_tenant_limits('limited', weight => 0)$$);
SELECT try($$SELECT insula.set_tenant_limits('limited', weight => 1001)$$);
SELECT try($$SELECT insula.set_tenant_limits('limited', rate_per_second => 0)$$);
SELECT try($$SELECT insula.set_tenant_limits('limited', rate_per_second => 'NaN')$$);
SELECT try($$SELECT insula.set_tenant_limits('limited', rate_per_second => 'infinity')$$);
SELECT try($$SELECT insula.set_tenant_limits('limited', max_connections => 1000000)$$);
SELECT try($$SELECT insula.set_tenant_limits('limited', retain => '1000000 years')$$);
-- Exactly -1 lifts.
SELECT try(format($$SELECT insula.set_tenant_limits('limited', %s)$$, l)) FROM unnest(ARRAY['max_running => -2', 'max_queued => -7', 'max_connections => -5',
	'weight => -3', 'rate_per_second => -0.5', 'retain => ''-3 days''', 'retain => ''-2''', 'retain_count => -2']) l;
SELECT try($$SELECT insula.set_retention('limited', '-1 day', 'one')$$), try($$SELECT insula.set_retention('limited', '1 day', 'a b')$$);
SELECT * FROM limits;
SELECT detail FROM insula.admin_log WHERE tenant = 'limited' AND act = 'set_tenant_limits' ORDER BY log_id;

-- max_queued counts what waits or runs, tasks of larger executions too.
SELECT insula.set_tenant_limits('limited', max_queued => 4);
SELECT count(insula.submit('one')) FROM generate_series(1, 3);
SELECT try($$SELECT insula.submit('three')$$);
SELECT try($$SELECT insula.submit_many('one', ARRAY['{}', '{}']::jsonb[])$$);
SELECT count(insula.submit('one', idempotency_key => 'k')) FROM generate_series(1, 3);
SELECT try($$SELECT insula.submit('one')$$);
SELECT insula.submit('one', idempotency_key => 'k') > 0 AS known;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 2);
SELECT insula.submit('one') > 0 AS submitted;
SELECT insula.set_tenant_limits('limited', max_queued => -1);
SELECT insula.submit('three') > 0 AS submitted;

-- max_running.
SELECT insula.set_tenant_limits('limited', max_running => 2);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
CALL insula.wait_for_work('0 s');
SELECT insula.cancel(execution_id) FROM (SELECT execution_id FROM tenant_limited.task_executions WHERE status = 'running' ORDER BY 1 LIMIT 1) r;
SELECT task_id, lease FROM insula.claim('w', max_tasks => 10) \gset
CALL insula.wait_for_work('0 s');
SELECT insula.complete(:task_id, :lease);
CALL insula.wait_for_work('0 s');
-- A rollback frees them; a permit is counted once, whatever the isolation level.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SAVEPOINT s;
ROLLBACK TO s;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
ROLLBACK;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT count(*) FROM tenant_limited.task_executions WHERE status = 'running';
-- Suspended at once with none.
SELECT insula.set_tenant_limits('limited', max_running => 0);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT insula.set_tenant_limits('limited', max_running => -1);

-- rate_per_second: one at once, the next in a quarter of an hour.
SELECT insula.set_tenant_limits('limited', rate_per_second => 0.001);
SELECT count(insula.submit('one')) FROM generate_series(1, 10);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
CALL insula.wait_for_work('0 s');
-- A higher rate counts from what the lower one has spent.
SELECT insula.set_tenant_limits('limited', rate_per_second => 1000000);
SELECT count(*) FROM insula.claim('w', max_tasks => 3);
SELECT insula.set_tenant_limits('limited', rate_per_second => -1);
SELECT count(*) > 5 AS all_of_them FROM insula.claim('w', max_tasks => 100);

-- The row of an execution's timeout is no waiting task.
SELECT count(*) > 0 AS cancelled FROM insula.cancel_executions(dry_run => false);
SELECT insula.set_tenant_limits('limited', max_queued => 4);
SELECT insula.register_workflow('{"name": "timed", "timeout": "1 h", "tasks": [{"id": "a"}]}');
SELECT count(insula.submit('timed')) FROM generate_series(1, 4);
SELECT try($$SELECT insula.submit('timed')$$);

-- Retried tasks count like submitted ones, the elements of groups with them.
SELECT count(*) > 0 AS cancelled FROM insula.cancel_executions(dry_run => false);
SELECT insula.register_workflow('{"name": "each", "tasks": [{"id": "e", "for_each": {"items": "l"}}]}');
SELECT insula.submit('each', '{"l": [1, 2]}') AS each \gset
SELECT insula.submit('one') AS one \gset
SELECT count(insula.fail(task_id, lease, 'no', false)) FROM insula.claim('w', ARRAY['each.e', 'one.a'], max_tasks => 100);
SELECT insula.set_tenant_limits('limited', max_queued => 2);
SELECT try(format('SELECT insula.retry(%s)', :each)) LIKE 'IS006%' AS refused;
SELECT insula.retry(:one);
SELECT insula.set_tenant_limits('limited', max_queued => 1);
SELECT insula.cancel(:one);
SELECT count(insula.submit('one'));
SELECT try(format('SELECT insula.retry(%s)', :one)) LIKE 'IS006%' AS refused;
SELECT insula.set_tenant_limits('limited', max_queued => 4);
SELECT insula.retry(:each);
RESET insula.tenant;

SELECT DISTINCT act, tenant FROM insula.admin_log WHERE tenant = 'limited' ORDER BY 1;
DROP VIEW limits;
SELECT insula.drop_tenant('limited', '0 s');
