-- Verbs on many executions.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('bulk');
SET insula.tenant = 'bulk';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a", "retry": {"max_attempts": 1}}]}');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}');
SELECT try($$SELECT insula.cancel_executions(status => 'failed')$$), try($$SELECT insula.retry_executions(status => 'completed')$$), try($$SELECT insula.delete_executions(status => 'running')$$);
SELECT try($$SELECT insula.cancel_executions(dry_run => NULL)$$), try($$SELECT insula.cancel_executions(max_executions => 0)$$), try($$SELECT insula.cancel_executions(older_than => '-1 s')$$), try($$SELECT insula.cancel_executions(tenant => 'nobody')$$);
CREATE VIEW stands AS SELECT workflow, status, error, count(*) FROM tenant_bulk.workflow_executions GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

SELECT count(insula.submit('one')), count(insula.submit('two')) FROM generate_series(1, 4);
SELECT insula.pause(max(execution_id)) FROM tenant_bulk.workflow_executions;
SELECT workflow, task FROM insula.claim('w', ARRAY['two.a'], max_tasks => 2);
TABLE stands;
-- Pages of a list, newest first; each execution comes once.
CREATE FUNCTION walk(page int, workflow text = NULL, status text = NULL) RETURNS SETOF insula.listed_execution LANGUAGE plpgsql AS $$
DECLARE last bigint; listed insula.listed_execution; n int;
BEGIN
	LOOP
		n := 0;
		FOR listed IN SELECT * FROM insula.list_executions(workflow, status, before => last, max_executions => page) LOOP
			RETURN NEXT listed;
			last := listed.execution_id;
			n := n + 1;
		END LOOP;
		EXIT WHEN n < page;
	END LOOP;
END $$;
SELECT page, count(*), count(DISTINCT execution_id), bool_and(in_order) FROM generate_series(1, 9) page,
	LATERAL (SELECT execution_id, execution_id < lag(execution_id, 1, execution_id + 1) OVER () AS in_order FROM walk(page)) l GROUP BY page ORDER BY page;
SELECT workflow, version, status, priority, started_at IS NULL AS unstarted, finished_at, error, count(*) FROM walk(3) GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 3;
SELECT count(*) FROM walk(2, 'two'), walk(2, status => 'paused') p;
SELECT (SELECT count(*) FROM insula.list_executions(created_after => now() - interval '1 h')) AS last_hour,
	(SELECT count(*) FROM insula.list_executions(created_before => now() - interval '1 h')) AS earlier,
	(SELECT count(*) FROM insula.list_executions('two', 'running', max_executions => 1)) AS one;
SELECT bool_and(l.status = e.status AND l.workflow = e.workflow AND l.created_at = e.created_at AND l.started_at IS NOT DISTINCT FROM e.started_at)
FROM insula.list_executions() l JOIN tenant_bulk.workflow_executions e USING (execution_id);
SELECT try($$SELECT insula.list_executions(status => 'odd')$$), try($$SELECT insula.list_executions(max_executions => 0)$$), try($$SELECT insula.list_executions(max_executions => NULL)$$);
SELECT try($$SELECT insula.failures(max_groups => 10001)$$), try($$SELECT insula.failures(within => '-1 s')$$), try($$SELECT insula.failures(tenant => 'nobody')$$);
DROP FUNCTION walk;
-- Pausing and resuming those that fit.
SELECT count(*) FROM insula.pause_executions('one');
SELECT count(*) FROM insula.pause_executions('one', dry_run => false);
TABLE stands;
SELECT count(*) FROM insula.resume_executions('one', older_than => '1 h'), insula.pause_executions('one') p;
SELECT count(*) FROM insula.resume_executions('one', dry_run => false);
SELECT try($$SELECT insula.resume_executions(status => 'running')$$), try($$SELECT insula.pause_executions(status => 'paused')$$);
-- A dry run, which is the default, does nothing; filters count together.
SELECT count(*) FROM insula.cancel_executions();
SELECT count(*) FROM insula.cancel_executions('one'), insula.cancel_executions(status => 'paused') p;
SELECT (SELECT count(*) FROM insula.cancel_executions(status => s)) FROM unnest('{pending,running,paused}'::text[]) s;
SELECT count(*) FROM insula.cancel_executions('two', 'running', older_than => '1 h');
SELECT count(*) FROM insula.cancel_executions('none');
SELECT count(*) FROM insula.retry_executions(), insula.delete_executions();
TABLE stands;
SELECT count(*) FROM insula.cancel_executions('two', reason => 'all of them', dry_run => false);
SELECT count(*) FROM insula.cancel_executions('one', dry_run => false, max_executions => 1);
SELECT insula.fail(task_id, lease, 'broken') FROM insula.claim('w');
SELECT insula.complete(task_id, lease) FROM insula.claim('w');
TABLE stands;
-- Failures by what they say.
SELECT workflow, error, executions, last_at > now() - interval '1 h' AS lately, last_execution = (SELECT max(execution_id) FROM insula.list_executions(status => 'failed')) AS newest
FROM insula.failures();
SELECT count(*) FROM insula.failures('two');
SELECT workflow, error, executions FROM insula.failures('one', '1 h');
SELECT error FROM insula.list_executions(status => 'failed');
SELECT count(*) FROM insula.retry_executions('one', 'failed', dry_run => false);
SELECT count(*) FROM insula.retry_executions(dry_run => false);
TABLE stands;
DO $$ BEGIN FOR i IN 1..20 LOOP PERFORM insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 100); END LOOP; END $$;
TABLE stands;
UPDATE tenant_bulk.work SET finished_at = finished_at - interval '1 day' WHERE id = (SELECT min(id) FROM tenant_bulk.work);
SELECT count(*) FROM insula.delete_executions(older_than => '1 h', dry_run => false);
SELECT count(*) FROM insula.delete_executions('two', 'completed', dry_run => false);
TABLE stands;
-- The tenant's own login acts for its own tenant only.
SELECT tenant FROM insula.create_tenant('other_bulk');
SET ROLE other_bulk_user;
RESET insula.tenant;
SELECT count(*) FROM insula.delete_executions(dry_run => false);
SELECT try($$SELECT insula.delete_executions(dry_run => false, tenant => 'bulk')$$);
RESET ROLE;
SET insula.tenant = 'bulk';
SELECT count(*) FROM insula.delete_executions(dry_run => false);
SELECT count(*) FROM tenant_bulk.work;
DROP VIEW stands;
RESET insula.tenant;
SELECT insula.drop_tenant(t, '0') FROM unnest('{bulk,other_bulk}'::text[]) t;
