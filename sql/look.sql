-- Looks at executions, failures, leases, workers and counters.
SET client_min_messages = error;
SELECT a.tenant, b.tenant FROM insula.create_tenant('looked') a, insula.create_tenant('looked_too') b;
SET insula.tenant = 'looked';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a", "retry": {"max_attempts": 1}}]}');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a", "retry": {"initial_delay": "1 h"}}, {"id": "b", "depends_on": ["a"]}, {"id": "each", "for_each": {"items": "list"}}]}');
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}', tenant => 'looked_too');
-- Bad arguments.
SELECT try($$SELECT insula.executions(status => 'gone')$$), try($$SELECT insula.executions(max_executions => 0)$$), try($$SELECT insula.executions(max_executions => 10001)$$), try($$SELECT insula.executions(before => 7)$$), try($$SELECT insula.executions(context => '[]')$$), try($$SELECT insula.executions(tenant => 'nobody')$$);
SELECT try($$SELECT insula.failures(since => NULL)$$), try($$SELECT insula.failures('-1 s')$$), try($$SELECT insula.timeline(NULL)$$), try($$SELECT insula.timeline(7)$$), try($$SELECT insula.leases('nobody')$$), try($$SELECT insula.metrics(-1)$$);

CREATE TABLE looked_at AS SELECT n, insula.submit('one', jsonb_build_object('n', n)) AS id FROM generate_series(1, 25) n;
SELECT count(insula.submit('one', tenant => 'looked_too')) FROM generate_series(1, 5);
-- The newest first, in pages.
SELECT string_agg(n::text, ' ' ORDER BY o) FROM insula.executions(max_executions => 10) WITH ORDINALITY e(id, t, w, v, s, r, p, c, b, f, o) JOIN looked_at USING (id);
SELECT string_agg(n::text, ' ' ORDER BY o) FROM insula.executions(max_executions => 10, before => (SELECT id FROM looked_at WHERE n = 16)) WITH ORDINALITY e(id, t, w, v, s, r, p, c, b, f, o) JOIN looked_at USING (id);
SELECT string_agg(n::text, ' ' ORDER BY o) FROM insula.executions(max_executions => 10, before => (SELECT id FROM looked_at WHERE n = 6)) WITH ORDINALITY e(id, t, w, v, s, r, p, c, b, f, o) JOIN looked_at USING (id);
-- A page of all tenants goes on where the last one has ended.
RESET insula.tenant;
SET client_min_messages = notice;
DO $$
DECLARE
	place bigint;
	page bigint[];
	seen bigint[] := '{}';
BEGIN
	LOOP
		page := ARRAY(SELECT execution_id FROM insula.executions(max_executions => 7, before => place) WHERE tenant_name ~ '^looked');
		EXIT WHEN page = '{}';
		seen := seen || page;
		place := page[array_upper(page, 1)];
	END LOOP;
	RAISE NOTICE '% executions, % of them once, in descending order: %', array_length(seen, 1), (SELECT count(DISTINCT s) FROM unnest(seen) s), seen = ARRAY(SELECT s FROM unnest(seen) s ORDER BY s DESC);
END
$$;
SET client_min_messages = error;
SET insula.tenant = 'looked';
-- Filters count together.
SELECT count(insula.fail(task_id, lease, CASE context ->> 'n' WHEN '3' THEN 'no such file' ELSE 'connection 4711 to host 10.0.0.1 lost, request 0xfe12 of 123e4567-e89b-12d3-a456-426614174000' END)) FROM insula.claim('w', ARRAY['one.a'], max_tasks => 5);
SELECT workflow_name, version, execution_status, execution_error, count(*) FROM insula.executions(status => 'failed') GROUP BY 1, 2, 3, 4 ORDER BY 4;
SELECT count(*) FROM insula.executions('none');
SELECT count(*) FROM insula.executions('one', error => 'such file');
SELECT count(*) FROM insula.executions('one', 'pending', context => '{"n": 20}');
SELECT count(*) FROM insula.executions(created_before => now() - interval '1 h');
SELECT count(*) FROM insula.executions(created_after => now() - interval '1 h');
-- Of given ids alone: no other tenant's, none that is no id.
SELECT array_agg(id) AS some FROM looked_at WHERE n IN (2, 3, 9, 17) \gset
SELECT string_agg(n::text, ' ' ORDER BY o) FROM insula.executions(execution_ids => :'some'::bigint[] || ARRAY[7, -1, 9007199254740991], max_executions => 7) WITH ORDINALITY e(id, t, w, v, s, r, p, c, b, f, o) JOIN looked_at USING (id);
SELECT string_agg(n::text, ' ') FROM insula.executions('one', 'pending', context => '{"n": 17}', execution_ids => :'some') e JOIN looked_at ON id = execution_id;
SELECT count(*) FROM insula.executions(execution_ids => ARRAY(SELECT execution_id FROM insula.executions(tenant => 'looked_too')));
SELECT count(*) FROM insula.executions(execution_ids => '{}');
SELECT try($$SELECT insula.executions(execution_ids => '{7,7}', max_executions => 1)$$), try($$SELECT insula.executions(execution_ids => '{7,NULL}')$$), try($$SELECT insula.executions(execution_ids => '{7}', before => 90000000000000)$$);
RESET insula.tenant;
SELECT tenant_name, count(*), array_agg(execution_id ORDER BY o) = array_agg(execution_id ORDER BY execution_id DESC) AS in_order FROM insula.executions(execution_ids => :'some'::bigint[] || ARRAY(SELECT execution_id FROM insula.executions(tenant => 'looked_too'))) WITH ORDINALITY e(execution_id, tenant_name, w, v, s, r, p, c, b, f, o) GROUP BY 1 ORDER BY 1;
SET insula.tenant = 'looked';
-- What fails, by what it says.
SELECT tenant_name, workflow, task, error, failed, retrying, example IN (SELECT id FROM looked_at) AS ours FROM insula.failures();
SELECT insula.submit('two', '{"list": [1, 2]}') AS id \gset
SELECT task, insula.fail(task_id, lease, 'try again in 7 s') FROM insula.claim('w', ARRAY['two.a']);
SELECT task, failed, retrying FROM insula.failures() ORDER BY task, failed;
SELECT count(*) FROM insula.failures('0 s');
SELECT count(*) FROM insula.failures(tenant => 'looked_too');
-- It failed when its attempt ended, and not when that began.
UPDATE tenant_looked.work SET started_at = started_at - interval '1 h' WHERE error = 'try again in 7 s';
SELECT task, failed, retrying, first_at > now() - interval '30 min' AS just_now, last_at = first_at AS once FROM insula.failures('30 min') WHERE retrying > 0;
UPDATE tenant_looked.work SET started_at = started_at + interval '1 h' WHERE error = 'try again in 7 s';
-- What happened, in order, and what each task has changed.
SELECT insula.complete(task_id, lease, jsonb_build_object('got', item)) FROM insula.claim('w2', ARRAY['two.each'], max_tasks => 2);
SELECT insula.cancel(:id, 'enough');
SELECT task, event, attempt, worker, detail - 'started_at' AS detail, changed FROM insula.timeline(:id);
SELECT count(*) FROM insula.timeline((SELECT id FROM looked_at WHERE n = 25));
-- An execution starts once, whatever becomes of the first run.
SELECT insula.register_workflow('{"name": "again", "tasks": [{"id": "a", "retry": {"initial_delay": "0 s"}}, {"id": "b", "depends_on": ["a"]}]}');
CREATE TABLE looked_again AS SELECT insula.submit('again') AS id;
-- Hours since its start, as three looks tell it, and since those of its tasks.
CREATE FUNCTION started() RETURNS TABLE (status text, hours text, tasks text) LANGUAGE sql AS $$
	SELECT string_agg(DISTINCT s.status, ' '), string_agg(coalesce(date_part('hour', now() - s.started_at)::text, '-'), ' '),
		(SELECT string_agg(coalesce(date_part('hour', now() - t.started_at)::text, '-'), ' ' ORDER BY t.task_id) FROM tenant_looked.task_executions t WHERE workflow = 'again')
	FROM (SELECT r.status, r.started_at FROM looked_again, insula.result(id) r
		UNION ALL SELECT execution_status, started_at FROM insula.executions('again')
		UNION ALL SELECT e.status, e.started_at FROM tenant_looked.workflow_executions e WHERE workflow = 'again') s $$;
CREATE FUNCTION an_hour_later() RETURNS void LANGUAGE sql AS $$
	UPDATE tenant_looked.work SET started_at = started_at - interval '1 h', finished_at = finished_at - interval '1 h'
	WHERE id >= (SELECT max(id) FROM tenant_looked.work WHERE head IS NULL);
	UPDATE tenant_looked.record SET at = at - interval '1 h', body = body || jsonb_build_object('started_at', (body ->> 'started_at')::timestamptz - interval '1 h')
	WHERE kind = 'h' AND body ? 'started_at' AND owner = (SELECT max(id) FROM tenant_looked.work WHERE head IS NULL) $$;
SELECT * FROM started();
SELECT insula.fail(task_id, lease, 'no') FROM insula.claim('w', ARRAY['again.a']);
SELECT an_hour_later();
SELECT insula.wait_event(task_id, lease, 'go') FROM insula.claim('w', ARRAY['again.a']);
SELECT * FROM started();
SELECT an_hour_later(), insula.send_event(id, 'go') FROM looked_again;
SELECT insula.complete(task_id, lease) FROM insula.claim('w', ARRAY['again.a']);
SELECT an_hour_later();
SELECT insula.fail(task_id, lease, 'no', false) FROM insula.claim('w', ARRAY['again.b']);
SELECT * FROM started();
SELECT insula.retry(id) FROM looked_again;
SELECT * FROM started();
DROP TABLE looked_again;
DROP FUNCTION started, an_hour_later;
-- From what it is made.
SELECT tenant_name, definition ->> 'name' AS name, jsonb_array_length(definition -> 'tasks') AS tasks, input, parent FROM insula.execution_source(:id);
SELECT try($$SELECT insula.execution_source(7)$$), try($$SELECT insula.execution_source(NULL)$$);
-- Leases.
SELECT count(*) FROM insula.claim('w3', ARRAY['one.a'], max_tasks => 2);
SELECT tenant_name, workflow, task, worker, attempt, started_at <= now(), lease_expires > now() + interval '50 s', deadline IS NULL FROM insula.leases();
RESET insula.tenant;
SELECT tenant_name, count(*) FROM insula.leases() WHERE tenant_name ~ '^looked' GROUP BY 1;
SELECT worker, tasks, next_lease_expires > now() FROM insula.workers() WHERE tasks > 0;
-- Those that the transaction itself has claimed, and, where its snapshot is an old one, those that it shows.
SELECT count(*) > 1 AS counted FROM insula.tenant_activity;
BEGIN;
SELECT count(*) FROM insula.claim('w4', tenant => 'looked_too');
SELECT tenant_name, count(*) FROM insula.leases() WHERE tenant_name ~ '^looked' GROUP BY 1 ORDER BY 1;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM insula.claim('w4', tenant => 'looked_too');
SELECT tenant_name, count(*) FROM insula.leases() WHERE tenant_name ~ '^looked' GROUP BY 1 ORDER BY 1;
ROLLBACK;
-- Those of all tenants, also while the session acts for one.
SET insula.tenant = 'looked_too';
SELECT worker, tasks FROM insula.workers() WHERE tasks > 0;
RESET insula.tenant;
SELECT insula.pause_workflow('two', 'looked');
SELECT tenant_name, workflow, version, status, registered_at <= now(), definition -> 'name' FROM insula.workflows() WHERE tenant_name ~ '^looked' ORDER BY 1, 2;
-- A tenant sees its own.
SET ROLE looked_too_user;
SELECT tenant_name, count(*) FROM insula.executions() GROUP BY 1;
SELECT count(*) FROM insula.failures();
SELECT count(*) FROM insula.leases();
SELECT workflow FROM insula.workflows();
SELECT try($$SELECT insula.executions(tenant => 'looked')$$), try($$SELECT insula.failures(tenant => 'looked')$$), try($$SELECT insula.leases('looked')$$), left(try(format('SELECT insula.timeline(%s)', :id)), 5) AS try, left(try(format('SELECT insula.execution_source(%s)', :id)), 5) AS try, try($$SELECT insula.workers()$$), try($$SELECT insula.metrics()$$);
SELECT count(*) FROM insula.executions(before => :id);
RESET ROLE;
DROP TABLE looked_at;
SELECT insula.drop_tenant(t, '0') FROM unnest('{looked,looked_too}'::text[]) t;
