-- The DBA's views and switches.
SET client_min_messages = warning;
SELECT tenant FROM insula.create_tenant('tended');
CREATE ROLE regress_dba LOGIN;
GRANT insula_admin TO regress_dba;

-- harden: a dry run first, kinds to skip, and nothing of it left afterwards.
SELECT kind, object, action FROM insula.harden() WHERE object NOT LIKE 'database template1' AND object !~ 'regression' ORDER BY kind, object, action COLLATE "C";
SELECT DISTINCT kind FROM insula.harden(skip => ARRAY['connect', 'schema', 'large_object']) ORDER BY 1;
SELECT try($$SELECT insula.harden(NULL)$$);
SELECT try($$SELECT insula.harden(skip => ARRAY['everything'])$$);
BEGIN;
SELECT count(*) > 20 AS done FROM insula.harden(false, skip => ARRAY['schema']);
SELECT DISTINCT kind FROM insula.harden() ORDER BY 1;
-- The tenants still get in where they belong.
SELECT has_function_privilege('tended_user', 'pg_advisory_lock(bigint)', 'EXECUTE'),
	has_database_privilege('tended_user', current_database(), 'TEMPORARY'),
	has_database_privilege('tended_user', current_database(), 'CONNECT'),
	has_database_privilege('tended_user', 'postgres', 'CONNECT');
SELECT count(*) FROM insula.harden(false);
SELECT * FROM insula.harden();
SELECT DISTINCT object, finding FROM insula.audit() WHERE object !~ '^(tenants|setting|role)';
ROLLBACK;
SET ROLE regress_dba;
BEGIN;
SELECT count(*) > 20 AS tried FROM insula.harden(false);
ROLLBACK;

-- health, capacity and the tenants' queues, by a member of insula_admin.
SELECT * FROM insula.health() WHERE object <> 'scheduler';
SELECT item, used <= available AS fits, advice FROM insula.capacity() WHERE setting IS NULL OR setting NOT LIKE 'insula.%';
-- The sizes of shared memory, which are known where that is there.
SELECT item, setting, (used IS NULL) = (current_setting('insula.max_databases', true) IS NULL) AS known, (available IS NULL) = (used IS NULL) AS both
FROM insula.capacity() WHERE setting LIKE 'insula.%';
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'tended');
SELECT count(insula.submit('w', tenant => 'tended')) FROM generate_series(1, 5);
SELECT insula.submit('w', run_at => 'tomorrow', tenant => 'tended') > 0 AS submitted;
SELECT count(*) FROM insula.claim('w', max_tasks => 2, tenant => 'tended');
SELECT insula.defer(task_id, lease, 'tomorrow') FROM insula.claim('w', tenant => 'tended');
SELECT tenant, status, ready, delayed, running, waiting, oldest_ready_at < now() AS since, sessions FROM insula.tenant_activity;
-- Tasks that no worker claims, and leases that nothing takes back.
SELECT count(*) FROM insula.health() WHERE object <> 'scheduler';
RESET ROLE;
UPDATE tenant_tended.work SET due = due - 600000000 WHERE lane = 100001;
SET ROLE regress_dba;
SELECT level, tenant, object IN (SELECT 'execution ' || execution_id FROM insula.leases('tended')) AS held, regexp_replace(finding, 'lapsed at .*, and', 'lapsed at TIME, and') AS finding
FROM insula.health() WHERE object <> 'scheduler';
SELECT kind, tenant_name, worker, since < now() - '5 min'::interval AS long_ago, execution_id IN (SELECT execution_id FROM insula.executions(status => 'pending')) AS pending, coalesce(served, kind = 'ready task') AS served
FROM insula.read_overdue('0 s', '1 min') ORDER BY kind;
SELECT kind, tenant_name FROM insula.read_overdue('1 h', '1 h');
SELECT try($$SELECT insula.read_overdue(NULL, '1 h')$$);
SELECT try($$SELECT insula.read_overdue('1 h', NULL)$$);
SELECT try($$SELECT insula.read_overdue('1 h', '-1 h')$$);
SELECT try($$SELECT insula.read_overdue('1 h', '1 h', 0)$$);
SELECT try($$SELECT insula.read_overdue('1 h', '1 h', NULL)$$);
SELECT insula.suspend_tenant('tended');
SELECT tenant, status, ready FROM insula.tenant_activity;
SELECT * FROM insula.read_overdue('5 min', '1 min');

-- All tenants are of the present layout.
SELECT * FROM insula.upgrade_tenants();
SELECT try($$SELECT * FROM insula.upgrade_tenants(0)$$);
SELECT try($$SELECT * FROM insula.upgrade_tenants(lock_timeout => NULL)$$);
RESET ROLE;
UPDATE insula.tenant SET layout_version = 0;
SELECT * FROM insula.upgrade_tenants(10);
UPDATE insula.tenant SET layout_version = 1;
SELECT * FROM insula.upgrade_tenants();

-- A scheduler that does not run is missed where there are tenants.
SELECT * FROM insula.health() WHERE object = 'scheduler';
BEGIN;
DELETE FROM insula.tenant;
SELECT * FROM insula.health() WHERE object = 'scheduler';
ROLLBACK;

-- None of it is for tenants.
SET ROLE tended_user;
SELECT insula.harden();
SELECT insula.health();
SELECT insula.read_overdue('1 h', '1 h');
SELECT * FROM insula.snapshot_holders;
SELECT insula.capacity();
SELECT insula.read_activity();
SELECT insula.upgrade_tenants();
SELECT * FROM insula.tenant_activity;
SELECT * FROM insula.open_to_public;
RESET ROLE;
SELECT insula.drop_tenant('tended', '0 s');
DROP ROLE regress_dba;
