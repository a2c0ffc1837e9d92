-- As where others run the server: once the extension is there, no superuser, and tenants without log-ins.  What an
-- administrator and a worker do without either; then what needs a superuser (docs/managed.md lists it).
CREATE ROLE regress_manager LOGIN;
CREATE ROLE regress_worker LOGIN;
GRANT insula_admin TO regress_manager;
GRANT insula_runner TO regress_worker;
\connect - regress_manager
SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS special FROM pg_roles WHERE rolname = current_user;
SELECT schema_name, username FROM insula.create_tenant('managed', login => false);
SELECT count(*) FROM pg_roles WHERE rolname ~ '^managed';
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'managed');
SELECT insula.submit('w', '{"name": "Ann"}', tenant => 'managed') AS id \gset
SELECT insula.schedule('s', 'w', '@yearly', tenant => 'managed') > 0 AS scheduled;
SELECT insula.set_tenant_limits('managed', max_running => 5), insula.set_retention('managed', '1 day', 'w'),
	insula.suspend_tenant('managed'), insula.resume_tenant('managed');
\connect - regress_worker
SELECT workflow, task, insula.complete(task_id, lease, '{"done": true}') FROM insula.claim('w1', tenant => 'managed');
SELECT count(*) FROM insula.claim('w1');
SELECT try($$SELECT insula.submit('w', tenant => 'managed')$$);
\connect - regress_manager
SELECT status, final_context FROM insula.result(:id);
SELECT count(*) FROM insula.executions(tenant => 'managed');
SELECT count(*) FROM insula.schedules(tenant => 'managed');
SELECT count(*) > 0 AS told FROM insula.metrics();
SELECT count(*) FROM insula.audit() WHERE level <> 'advice';
SELECT count(*) > 0 AS told FROM insula.health() h RIGHT JOIN insula.capacity() c ON true;
SELECT value FROM insula.status() WHERE item = 'adopted';
SELECT count(*) FROM insula.reconcile(false);
SELECT count(*) FROM insula.upgrade_tenants();
SELECT tenant, status, username FROM insula.tenants WHERE tenant = 'managed';
SET client_min_messages = error;
SELECT insula.adopt(), insula.stop_scheduler() IS NOT NULL AS stopped, insula.start_scheduler() IS NOT NULL AS started;
-- What needs a superuser, or a log-in.
SELECT count(*) > 0 AS not_revoked FROM insula.harden(false);
RESET client_min_messages;
SELECT try(call) FROM unnest(ARRAY[
	'SELECT insula.rotate_password(''managed'')', 'SELECT count(*) FROM tenant_managed.workflow_executions',
	'CALL insula.advance_clock(now())', 'DROP EXTENSION insula', 'ALTER EXTENSION insula UPDATE']) call;
SELECT insula.drop_tenant('managed', '0 s');
\connect - postgres
REVOKE insula_admin FROM regress_manager;
REVOKE insula_runner FROM regress_worker;
DROP ROLE regress_manager, regress_worker;
