-- Tasks that wait for events.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('events');
SET insula.tenant = 'events';
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a", "b"]}]}');
SELECT try($$SELECT insula.send_event(1, 'paid')$$), try($$SELECT insula.send_event(1, 'not.a.name')$$), try($$SELECT insula.send_event(1, NULL)$$),
	try($$SELECT insula.wait_event(1, 1, '')$$), try($$SELECT insula.wait_event(1, 1, 'paid', '-1 s')$$), try($$SELECT insula.wait_event(1, 1, 'paid', NULL, '[]')$$);
SELECT insula.wait_event(1, 1, 'paid') AS unknown;

-- A task waits, and runs on with what comes; it has used no attempt, and sees what it handed over.
SELECT insula.submit('one', '{"in": 1}') AS id \gset
SELECT event, insula.wait_event(task_id, lease, 'paid', context => '{"asked": true}') FROM insula.claim('w');
SELECT status, run_at FROM tenant_events.task_executions;
SELECT count(*) FROM insula.claim('w');
SELECT insula.send_event(:id, 'other', '[1, 2]');
SELECT count(*) FROM insula.claim('w');
SELECT insula.send_event(:id, 'paid', '{"amount": 7}');
SELECT attempt, context, event, insula.fail(task_id, lease, 'once more') FROM insula.claim('w');
UPDATE tenant_events.work SET due = 0 WHERE lane = 100000;
-- After a failure it sees the event again.
SELECT attempt, event FROM insula.claim('w');
SELECT task_id, lease FROM tenant_events.work w, LATERAL (SELECT execution_id AS task_id FROM tenant_events.workflow_executions) e \gset
-- The one that came before the wait is not lost, and there is one for each.
SELECT insula.send_event(:id, 'other', '3'), insula.send_event(:id, 'other'), insula.wait_event(:task_id, :lease, 'other');
SELECT event, insula.wait_event(task_id, lease, 'other') FROM insula.claim('w');
SELECT event, insula.wait_event(task_id, lease, 'other') FROM insula.claim('w');
SELECT event, insula.wait_event(task_id, lease, 'other', '1 h') FROM insula.claim('w');
SELECT count(*) FROM insula.claim('w');
-- A timeout.
UPDATE tenant_events.work SET due = 0 WHERE lane = 100002;
SELECT event, insula.complete(task_id, lease, '{"out": 2}') FROM insula.claim('w');
SELECT status, final_context FROM insula.result(:id);
SELECT insula.send_event(:id, 'late');
SELECT event, detail - '{worker,started_at}'::text[] AS detail FROM tenant_events.execution_events WHERE event IN ('task_waiting', 'event_received') ORDER BY event_id;

-- In a graph each event finds one task; a lost lease waits for nothing; a paused execution's task stays where it is.
SELECT insula.submit('two') AS id \gset
SELECT bool_and(insula.wait_event(task_id, lease, 'go')) FROM insula.claim('w', max_tasks => 2);
SELECT insula.send_event(:id, 'go', '"first"');
SELECT task, event, insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 2);
SELECT insula.pause(:id), insula.send_event(:id, 'go', 'true');
SELECT count(*) FROM insula.claim('w', max_tasks => 2);
SELECT insula.resume(:id);
SELECT task, event, insula.complete(task_id, lease), insula.wait_event(task_id, lease, 'go') FROM insula.claim('w', max_tasks => 2);
SELECT task, event, insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 2);
SELECT status FROM insula.result(:id);
-- Of those with the same idempotency key the first counts.
SELECT insula.submit('one') AS id \gset
SELECT insula.send_event(:id, 'once', '1', 'key'), insula.send_event(:id, 'once', '2', 'key'), insula.send_event(:id, 'once', '3', 'other key');
SELECT insula.wait_event(task_id, lease, 'once') FROM insula.claim('w');
SELECT event, insula.wait_event(task_id, lease, 'once') FROM insula.claim('w');
SELECT event, insula.wait_event(task_id, lease, 'once') FROM insula.claim('w');
SELECT count(*) FROM insula.claim('w');
SELECT try(format('SELECT insula.send_event(%s, ''once'', idempotency_key => '''')', :id)), try(format('SELECT insula.send_event(%s, ''once'', idempotency_key => repeat(''x'', 256))', :id));
SELECT insula.cancel(:id), insula.send_event(:id, 'once', '2', 'key') AS known, insula.send_event(:id, 'once', '2', 'late key') AS late, insula.send_event(:id, 'once', '2', 'late key') AS later;
SELECT count(*) FROM insula.delete_executions(status => 'cancelled', dry_run => false);
SELECT count(*) FROM tenant_events.record WHERE kind = 'm';
-- At most a thousand are kept; cancelling ends the wait.
SELECT insula.submit('one') AS id \gset
SELECT insula.wait_event(task_id, lease, 'never') FROM insula.claim('w');
SELECT count(insula.send_event(:id, 'kept')) FROM generate_series(1, 1000);
SELECT try(format('SELECT insula.send_event(%s, ''kept'')', :id));
SELECT insula.send_event(:id, 'never'), insula.cancel(:id), insula.send_event(:id, 'kept');
SELECT count(*) FROM insula.claim('w');
RESET insula.tenant;
SELECT insula.drop_tenant('events', '0 s');
