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
