-- A suspended tenant: no submission, no claim, no log-in; what runs may finish.
SELECT tenant FROM insula.create_tenant('paused_one');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'paused_one');
SELECT array_length(insula.submit_many('w', '{"{}","{}"}', tenant => 'paused_one'), 1);
SELECT task_id, lease FROM insula.claim('w', tenant => 'paused_one') \gset
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
SELECT rolcanlogin FROM pg_roles WHERE rolname = 'paused_one_user';
SELECT insula.resume_tenant('paused_one');
SELECT insula.resume_tenant('paused_one');
SELECT rolcanlogin, status FROM pg_roles JOIN insula.tenants ON rolname = username WHERE tenant = 'paused_one';
CALL insula.wait_for_work('0 s', tenant => 'paused_one');
SELECT count(*) FROM insula.claim('runner', max_tasks => 10);
SELECT try($$SELECT insula.suspend_tenant('nobody')$$);
SELECT try($$SELECT insula.resume_tenant(NULL)$$);
SELECT act FROM insula.admin_log WHERE tenant = 'paused_one' ORDER BY log_id;
SELECT insula.drop_tenant('paused_one', '0 s');
