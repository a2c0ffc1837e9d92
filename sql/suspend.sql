-- A suspended tenant: no submission, no claim, no log-in; what runs may finish.
SELECT tenant FROM insula.create_tenant('paused_one');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'paused_one');
SELECT array_length(insula.submit_many('w', '{"{}","{}"}', tenant => 'paused_one'), 1);
SELECT insula.register_workflow('{"name": "late", "timeout": "1 ms", "tasks": [{"id": "a"}]}', tenant => 'paused_one');
SELECT task_id, lease FROM insula.claim('w', tenant => 'paused_one') \gset
SELECT insula.submit('late', tenant => 'paused_one') > 0 AS late;
BEGIN;
SELECT insula.suspend_tenant('paused_one');
ROLLBACK;
SELECT rolcanlogin, status FROM pg_roles JOIN insula.tenants ON rolname = username WHERE tenant = 'paused_one';
SELECT insula.suspend_tenant('paused_one');
SELECT insula.suspend_tenant('paused_one');
SELECT rolcanlogin, status FROM pg_roles JOIN insula.tenants ON rolname = username WHERE tenant = 'paused_one';
SELECT try($$SELECT insula.submit('w', tenant => 'paused_one')$$);
SELECT try($$SELECT insula.claim('w', tenant => 'paused_one')$$);
SELECT count(*) FROM insula.claim('runner', max_tasks => 10);
SET client_min_messages = error;
CALL insula.wait_for_work('0 s', tenant => 'paused_one');
CALL insula.claim_when_ready('0 s', 'w', tenant => 'paused_one') \gset
SELECT cardinality(insula.read_claimed(:'claimed'));
SELECT insula.complete(:task_id, :lease);
SELECT length(password) FROM insula.rotate_password('paused_one');
-- Nothing goes, and no execution times out, until it is resumed.
SELECT insula.set_tenant_limits('paused_one', retain => '0 s');
SELECT pg_sleep(0.01);
CALL insula.wait_for_work('0 s', tenant => 'paused_one');
SELECT workflow, status, count(*) FROM tenant_paused_one.workflow_executions GROUP BY 1, 2 ORDER BY 1, 2;
SELECT rolcanlogin FROM pg_roles WHERE rolname = 'paused_one_user';
SELECT insula.resume_tenant('paused_one');
SELECT insula.resume_tenant('paused_one');
SELECT rolcanlogin, status FROM pg_roles JOIN insula.tenants ON rolname = username WHERE tenant = 'paused_one';
CALL insula.wait_for_work('0 s', tenant => 'paused_one');
SELECT workflow, status, count(*) FROM tenant_paused_one.workflow_executions GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM insula.claim('runner', max_tasks => 10);
SELECT try($$SELECT insula.suspend_tenant('nobody')$$);
SELECT try($$SELECT insula.resume_tenant(NULL)$$);
SELECT act FROM insula.admin_log WHERE tenant = 'paused_one' ORDER BY log_id;
SELECT insula.drop_tenant('paused_one', '0 s');
