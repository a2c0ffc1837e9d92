-- In a read-only transaction every call that may write is refused, be there something to write or not, and all else
-- works.  A call that would find nothing must not say so as if it had been able to look.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('reader');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'reader');
SELECT count(insula.submit('w', tenant => 'reader')) FROM generate_series(1, 3);
SELECT insula.create_trigger('bell', 'w', tenant => 'reader');
SELECT insula.schedule('nightly', 'w', '0 3 * * *', tenant => 'reader') > 0 AS scheduled;
SELECT execution_id AS ready FROM tenant_reader.workflow_executions ORDER BY execution_id DESC LIMIT 1 \gset
SELECT task_id AS running, lease FROM insula.claim('w', tenant => 'reader') \gset
CREATE ROLE regress_read_only IN ROLE insula_admin, insula_runner;
GRANT EXECUTE ON FUNCTION try TO PUBLIC;

CREATE TEMPORARY TABLE call (writes boolean, call text);
INSERT INTO call VALUES
	(false, $$is_valid_tenant_id('reader')$$), (false, $$current_tenant()$$), (false, $$status()$$), (false, $$health()$$), (false, $$read_overdue('5 min', '1 min')$$),
	(false, $$capacity()$$), (false, $$explain_tenant('reader')$$), (false, $$audit()$$), (false, $$harden()$$), (true, $$harden(false, '{temporary,connect,schema,advisory_lock,large_object}')$$),
	(false, $$reconcile()$$), (true, $$reconcile(false)$$), (true, $$adopt()$$), (true, $$upgrade_tenants()$$),
	(true, $$create_tenant('another')$$), (true, $$create_tenant('reader', if_not_exists => true)$$), (true, $$drop_tenant('reader')$$),
	(true, $$suspend_tenant('reader')$$), (true, $$resume_tenant('reader')$$), (true, $$set_tenant_limits('reader')$$),
	(true, $$rotate_password('reader')$$), (true, $$start_scheduler()$$), (true, $$stop_scheduler()$$),
	(true, $$register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'reader')$$), (true, $$submit('w', tenant => 'reader')$$), (true, $$submit_once('w', tenant => 'reader')$$),
	(true, $$submit_many('w', '{}', tenant => 'reader')$$), (true, $$cancel(:ready)$$), (true, $$pause(:ready)$$), (true, $$resume(:ready)$$),
	(true, $$retry(:ready)$$), (true, $$pause_workflow('w', 'reader')$$), (true, $$resume_workflow('w', 'reader')$$),
	(true, $$cancel_executions('none', dry_run => false, tenant => 'reader')$$), (false, $$cancel_executions(tenant => 'reader')$$),
	(true, $$pause_executions('none', dry_run => false, tenant => 'reader')$$), (false, $$pause_executions(tenant => 'reader')$$),
	(true, $$resume_executions('none', dry_run => false, tenant => 'reader')$$), (false, $$resume_executions(tenant => 'reader')$$),
	(true, $$save_progress(:running, :lease)$$), (true, $$save_progress(1, 1)$$), (false, $$checkpoint(:running, :lease)$$),
	(true, $$retry_executions('none', dry_run => false, tenant => 'reader')$$), (false, $$retry_executions(tenant => 'reader')$$),
	(true, $$delete_executions('none', dry_run => false, tenant => 'reader')$$), (false, $$delete_executions(tenant => 'reader')$$),
	(true, $$scrub(:ready)$$), (true, $$erase('reader', '$.a', '1')$$), (false, $$erase('reader', '$.a', '1', dry_run => true)$$), (true, $$set_retention('reader', '1 day', status => 'failed')$$), (true, $$send_event(:ready, 'go')$$), (false, $$result(:ready)$$), (false, $$executions()$$), (false, $$executions(tenant => 'reader')$$), (false, $$failures()$$), (false, $$read_failures('1 h', 'reader')$$),
	(false, $$timeline(:ready)$$), (false, $$execution_source(:ready)$$), (false, $$leases()$$), (false, $$leases('reader')$$), (false, $$workflows('reader')$$), (false, $$usage()$$), (false, $$usage('reader')$$), (false, $$context_size('{}')$$), (false, $$read_workers()$$), (false, $$workers()$$), (false, $$metrics()$$), (false, $$explain_execution(:ready)$$),
	(false, $$next_fires('@daily')$$), (true, $$schedule('nightly', 'w', '0 3 * * *', tenant => 'reader')$$), (true, $$unschedule('none', 'reader')$$),
	(true, $$pause_schedule('none', 'reader')$$), (true, $$resume_schedule('nightly', 'reader')$$), (false, $$schedules('reader')$$),
	(true, $$create_trigger('bell', 'w', tenant => 'reader')$$), (true, $$drop_trigger('none', tenant => 'reader')$$),
	(true, $$fire_trigger('bell', tenant => 'reader')$$), (false, $$triggers('reader')$$), (false, $$read_activity()$$), (false, $$read_counters()$$), (false, $$read_tenant_counters()$$),
	(false, $$stat_reset()$$), (true, $$claim('w', tenant => 'reader')$$), (true, $$claim('w', '{none}', tenant => 'reader')$$),
	(true, $$claim('w')$$), (true, $$claim('w', only_tenants => '{}')$$), (false, $$read_claimed(int4send(0) || int4send(0) || oidsend('insula.claimed_task'::regtype))$$),
	(false, $$watch('w', ARRAY[:ready]::bigint[])$$), (false, $$nudge('w')$$), (true, $$leave('no such worker')$$),
	(true, $$complete(:running, :lease)$$), (true, $$complete(1, 1)$$), (true, $$complete_many('{}', '{}', '{}')$$),
	(true, $$complete_batch('{}', '{}', '{}')$$), (false, $$read_faults()$$),
	(true, $$fail(:running, 1, 'no')$$), (true, $$defer(1, 1, now())$$), (true, $$wait_event(1, 1, 'go')$$), (true, $$join_task(1, 1)$$),
	(true, $$submit_child(1, 1, 'w')$$), (true, $$heartbeat('{}', '{}')$$), (false, $$merge_patch('{}', '{}')$$), (false, $$append_patch('[]', '{}')$$);
UPDATE call SET call = replace(replace(replace(call, ':ready', :'ready'), ':running', :'running'), ':lease', :'lease');
-- None is left out.
SELECT proname FROM pg_proc WHERE pronamespace = 'insula'::regnamespace AND prokind = 'f' AND NOT EXISTS (SELECT FROM call WHERE call LIKE proname || '(%');
GRANT SELECT ON call TO PUBLIC;
BEGIN READ ONLY;
SET LOCAL ROLE regress_read_only;
SELECT c.call, c.writes, left(t.answer, 60) AS answer FROM call c, LATERAL try('SELECT * FROM insula.' || c.call) t(answer)
WHERE t.answer NOT LIKE CASE WHEN c.writes THEN '25006: cannot execute%in a read-only transaction' ELSE 'ok' END;
SELECT count(*) AS views FROM insula.tenants JOIN insula.tenant_activity USING (tenant) WHERE tenant = 'reader';
SELECT count(*) >= 0 AS statistics FROM insula.pg_stat_insula;
COMMIT;
-- Procedures see it where they come outside of a transaction block.
SET default_transaction_read_only = on;
CALL insula.wait_for_work('1 s');
CALL insula.wait_for_work('1 s', tenant => 'reader');
CALL insula.claim_when_ready('1 s', 'w');
CALL insula.advance_clock('infinity');
CALL insula.await(:ready, '0 s');
RESET default_transaction_read_only;
-- Nothing was lost.
SELECT status, count(*) FROM tenant_reader.task_executions GROUP BY status ORDER BY status;
SELECT insula.complete(:running, :lease);
SELECT insula.drop_tenant('reader', '0 s');
DROP ROLE regress_read_only;
