-- A tenant's numbers of executions and tasks begin again at the end of what ids have room for; those of rows that are
-- still there are passed over, and what orders by age does not take new ones for old.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('wrap');
SET insula.tenant = 'wrap';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}');
SELECT insula.register_workflow('{"name": "each", "tasks": [{"id": "a", "for_each": {"items": "$.list", "as": "item"}}]}');
SELECT insula.register_workflow('{"name": "flaky", "tasks": [{"id": "a", "retry": {"initial_delay": "0 s", "max_attempts": 9}}]}');
CREATE FUNCTION local(id bigint) RETURNS bigint LANGUAGE sql AS 'SELECT id & 68719476735';
-- Sets the sequence so that n numbers are left before the end.
CREATE FUNCTION leave_numbers(n int) RETURNS void LANGUAGE sql AS
	'SELECT FROM setval(''tenant_wrap.id'', (SELECT last_value | 68719476735 FROM tenant_wrap.id) - n)';
CREATE FUNCTION work(tasks text[] DEFAULT NULL) RETURNS bigint LANGUAGE sql AS
	$$SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', tasks, 2000)$$;

CREATE FUNCTION sweep() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE tenant_wrap.record SET at = '-infinity' WHERE kind = 's';
	FOR i IN 1..3 LOOP
		PERFORM insula.claim('sweeper', ARRAY['no.such_task']);
	END LOOP;
END
$$;

-- Old rows lie where the numbers begin: 1 and 2, 4 to 6, a thousand that have ended from 101 on.
SELECT local(insula.submit('one', '{"n": 1}')), local(insula.submit('one', '{"n": 2}'));
SELECT setval('tenant_wrap.id', 3);
SELECT local(insula.submit('two', '{"n": 4}')) AS fourth;
SELECT setval('tenant_wrap.id', 100);
SELECT min(local(id)), max(local(id)) FROM unnest(insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[1000]))) id;
SELECT work(ARRAY['one.a']);

-- Submissions cross the end: one that fits before it, one that must not be cut, many at once.
SELECT leave_numbers(4);
SELECT local(insula.submit('one')) AS single;
SELECT local(insula.submit('two')) AS graph;
SELECT local(insula.submit('one')) AS first_free;
SELECT local(insula.submit('two')) AS behind_others;
SELECT count(DISTINCT id), count(*) FILTER (WHERE local(id) < 101) AS before_the_thousand, min(local(id)) > 6 AS behind_the_first
FROM unnest(insula.submit_many('one', array_fill('{}'::jsonb, ARRAY[300]))) id;
SELECT count(DISTINCT id) FROM unnest(insula.submit_many('two', array_fill('{}'::jsonb, ARRAY[300]))) id;
SELECT leave_numbers(7);
SELECT array_agg(local(id)) FROM unnest(insula.submit_many('two', array_fill('{}'::jsonb, ARRAY[3]))) WITH ORDINALITY u(id, n);
-- All of it runs.
SELECT work(), work(), work();
SELECT status, count(*) FROM tenant_wrap.workflow_executions GROUP BY status;
SELECT count(*) = count(DISTINCT event_id) AS events_differ FROM tenant_wrap.execution_events;
SELECT count(*) = (SELECT count(*) FROM tenant_wrap.workflow_executions) AS each_is_found
FROM insula.executions(execution_ids => ARRAY(SELECT execution_id FROM tenant_wrap.workflow_executions), max_executions => 10000);

-- Existing work at the end: retries, deferrals, events, lapsed leases, pauses, retries of executions.
SELECT insula.submit('flaky') AS flaky \gset
SELECT leave_numbers(0);
SELECT insula.fail(task_id, lease, 'no') FROM insula.claim('w');
SELECT leave_numbers(0);
SELECT insula.fail(task_id, lease, 'no') FROM insula.claim('w');
SELECT leave_numbers(0);
SELECT insula.defer(task_id, lease, now()) FROM insula.claim('w');
SELECT leave_numbers(0);
SELECT insula.wait_event(task_id, lease, 'go') FROM insula.claim('w');
SELECT leave_numbers(0);
SELECT insula.send_event(:flaky, 'go', '1');
SELECT leave_numbers(0);
SELECT insula.send_event(:flaky, 'later', '1'), insula.send_event(:flaky, 'later', '2');
SELECT leave_numbers(0);
SELECT count(*) AS lapses FROM insula.claim('lost', lease_for => '1 s');
UPDATE tenant_wrap.work SET due = 0 WHERE state = 2;
SELECT leave_numbers(0);
SELECT event, insula.wait_event(task_id, lease, 'later') FROM insula.claim('w');
SELECT event FROM insula.claim('x');
SELECT leave_numbers(0);
SELECT insula.pause(:flaky), insula.resume(:flaky), insula.cancel(:flaky), insula.retry(:flaky);
SELECT work();
-- Its events are in the order in which they came.
SELECT event FROM tenant_wrap.execution_events WHERE execution_id = :flaky AND event !~ '^task_(started|completed)' ORDER BY event_id;

-- Elements and children.
SELECT leave_numbers(9);
SELECT local(insula.submit('each', '{"list": [1, 2, 3]}')) AS each \gset
SELECT count(*), count(*) FILTER (WHERE id < :each) AS begun_again FROM tenant_wrap.work WHERE head = :each AND element IS NOT NULL;
SELECT work();
SELECT leave_numbers(12);
SELECT insula.submit('two') AS parent \gset
SELECT insula.submit_child(task_id, lease, 'two') AS child FROM insula.claim('w') \gset
SELECT :child < :parent AS begun_again;
SELECT work(), work(), work();
SELECT status, count(*) FROM tenant_wrap.workflow_executions WHERE execution_id IN (:parent, :child) GROUP BY status;
SELECT leave_numbers(15);
SELECT insula.submit('two') AS parent \gset
SELECT insula.submit_child(task_id, lease, 'two') AS child FROM insula.claim('w') \gset
SELECT insula.cancel(:parent);
SELECT status FROM tenant_wrap.workflow_executions WHERE execution_id = :child;
SELECT insula.schedule('nightly', 'one', '0 3 * * *') AS nightly \gset
SELECT FROM setval('tenant_wrap.id', ((SELECT last_value FROM tenant_wrap.id) | 68719476735) + local(:nightly));
SELECT insula.schedule('daily', 'one', '0 3 * * *') > :nightly AS differs;

-- The newest stay, though they have the lowest numbers; the oldest go first.
SELECT count(*) > 0 AS gone FROM insula.delete_executions(dry_run => false);
SELECT count(*) FROM tenant_wrap.work;
SELECT leave_numbers(19);
SELECT count(insula.submit('one', jsonb_build_object('n', n))) FROM generate_series(1, 8) n;
SELECT work();
SELECT e.context, e.execution_id = d.id AS same FROM insula.delete_executions(max_executions => 5) WITH ORDINALITY d(id, n)
JOIN tenant_wrap.workflow_executions e ON e.execution_id = d.id ORDER BY d.n;
SELECT insula.set_tenant_limits('wrap', retain_count => 6);
SELECT sweep();
SELECT array_agg(context ->> 'n' ORDER BY (context ->> 'n')::int) FROM tenant_wrap.workflow_executions;
SELECT insula.set_tenant_limits('wrap', retain_count => 2);
SELECT sweep();
SELECT array_agg(context ->> 'n' ORDER BY (context ->> 'n')::int) FROM tenant_wrap.workflow_executions;

-- Only rows that are kept use numbers up; that is told long before.
SELECT item, used < available / 2 AS fits, advice FROM insula.capacity() WHERE item ~ '^numbers';
SELECT level, finding FROM insula.health() WHERE tenant = 'wrap';
BEGIN;
UPDATE pg_class SET reltuples = 4e10 WHERE oid = 'tenant_wrap.work'::regclass;
SELECT item, used, available, advice FROM insula.capacity() WHERE item ~ '^numbers';
SELECT level, object, finding FROM insula.health() WHERE tenant = 'wrap';
UPDATE pg_class SET reltuples = 6.5e10 WHERE oid = 'tenant_wrap.work'::regclass;
SELECT item, used, available, advice FROM insula.capacity() WHERE item ~ '^numbers';
SELECT level FROM insula.health() WHERE tenant = 'wrap';
ROLLBACK;

RESET insula.tenant;
DROP FUNCTION local, leave_numbers, work, sweep;
SELECT insula.drop_tenant('wrap');
