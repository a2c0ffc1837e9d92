-- Executions from submit to result: the queue, graphs, contexts, retries, cancels.
SELECT tenant FROM insula.create_tenant('exec', login => false);
SET insula.tenant = 'exec';
SET client_min_messages = error;  -- a server that is not preloaded warns of its waits
SELECT insula.register_workflow('{"name": "one", "tasks": [{"id": "a"}]}');
SELECT insula.register_workflow('{"name": "two", "tasks": [{"id": "a"}]}');
SELECT insula.register_workflow('{"name": "diamond", "tasks": [{"id": "end", "depends_on": ["left", "right"]},
	{"id": "left", "depends_on": ["start"]}, {"id": "right", "depends_on": ["start"]}, {"id": "start"}, {"id": "alone"}]}');

-- One task: its row is its execution.
SELECT insula.submit('one', '{"n": 1}') AS e \gset
SELECT status, final_context, started_at IS NULL AS unstarted FROM insula.result(:e);
SELECT workflow, version, task, attempt, max_attempts, context, execution_id = :e AS same, task_id = :e AS single,
	deadline, event, item, lease > 0 AS lease, lease_expires > now() + '59 s' AS a_minute
FROM insula.claim('w');
SELECT status, final_context FROM insula.result(:e);
SELECT count(*) FROM insula.claim('w');
SELECT insula.complete(task_id, lease, '{"m": {"deep": [1]}}') FROM
	(SELECT (SELECT execution_id) AS task_id, 0 AS lease FROM insula.result(:e)) wrong_lease;
SELECT lease FROM tenant_exec.work WHERE state = 2 \gset
SELECT insula.complete(:e, :lease, '{"m": {"deep": [1]}, "n": null}');
SELECT insula.complete(:e, :lease, '{"again": true}');
SELECT status, final_context, error, tasks - 'x' #- '{0,started_at}' #- '{0,finished_at}' AS tasks FROM insula.result(:e);
SELECT status, context, final_context, error FROM tenant_exec.workflow_executions;

-- Claim and completion in one statement.
SELECT array_length(insula.submit_many('two', ARRAY['{"i": 1}', '{"i": 2}', '{"i": 3}']::jsonb[]), 1);
SELECT context, insula.complete(task_id, lease, NULL) FROM insula.claim('w', max_tasks => 10);
SELECT workflow, status, final_context FROM tenant_exec.workflow_executions ORDER BY execution_id;

-- Priority first, then order of submission; a filter of task keys; a later start.
SELECT insula.submit('one', '{"p": 0}') > 0, insula.submit('one', '{"p": 5}', priority => 5) > 0,
	insula.submit('two', '{"p": -5}', priority => -5) > 0, insula.submit('one', '{"p": 0, "second": 1}') > 0,
	insula.submit('two', '{"p": 9}', priority => 9, run_at => now() + '1 hour') > 0;
SELECT context, insula.complete(task_id, lease) FROM insula.claim('w', tasks => '{nope.a,one.b}', max_tasks => 10);
SELECT context, insula.complete(task_id, lease) FROM insula.claim('w', tasks => '{}', max_tasks => 10);
SELECT context, insula.complete(task_id, lease) FROM insula.claim('w', tasks => '{two.a}', max_tasks => 10);
SELECT context, insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 2);
SELECT context, insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 2);
SELECT workflow, task, status, run_at > now() AS later FROM tenant_exec.task_executions WHERE status <> 'completed';
-- Time itself makes it ready.
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100000;
CALL insula.wait_for_work('0 s', tasks => '{one.a}');
CALL insula.wait_for_work('0 s', tasks => '{two.a}');
SELECT context, insula.complete(task_id, lease) FROM insula.claim('w');
CALL insula.wait_for_work('0 s');

-- One call that waits and claims.
SELECT insula.submit('one', '{"n": 1}') > 0, insula.submit('one', '{"n": 2}') > 0, insula.submit('one', '{"n": 3}') > 0;
CALL insula.claim_when_ready('1 min', 'w', tasks => '{one.a}', max_tasks => 2) \gset
SELECT task, context, insula.complete(task_id, lease), lease_expires = :'claimed_at'::timestamptz + '60 s' AS a_minute,
	:'waited'::interval BETWEEN '0 s' AND '1 min' AS at_once
FROM unnest(insula.read_claimed(:'claimed'));
CALL insula.claim_when_ready('0 s', 'w', tasks => '{two.a}') \gset
SELECT cardinality(insula.read_claimed(:'claimed')), :{?claimed_at} AS has_time;
SELECT insula.nudge('w');
CALL insula.claim_when_ready('1 min', 'w', tasks => '{two.a}') \gset
SELECT cardinality(insula.read_claimed(:'claimed')), :{?claimed_at} AS has_time;
CALL insula.claim_when_ready('0 s', 'w') \gset
SELECT context, insula.complete(task_id, lease) FROM unnest(insula.read_claimed(:'claimed'));
SELECT insula.read_claimed(:'claimed'::bytea || '\x00');

-- A graph: each task sees the input and all its ancestors' patches; declared order
-- decides between two that write the same key.
SELECT insula.submit('diamond', '{"in": 1, "list": [1, 2]}') AS e \gset
CREATE FUNCTION pg_temp.work(patches jsonb) RETURNS TABLE (task text, context jsonb, completed boolean)
LANGUAGE sql AS $$ SELECT task, context, insula.complete(task_id, lease, patches -> task) FROM insula.claim('w', max_tasks => 10) $$;
\set patches '{"start": {"by": "start", "o": {"s": 1}}, "left": {"by": "left", "o": {"l": 1}, "list": [3]}, "right": {"by": "right", "o": {"s": null}}, "alone": {"a": 1}, "end": {"e": 1}}'
SELECT * FROM pg_temp.work(:'patches') ORDER BY task;
SELECT status FROM insula.result(:e);
SELECT * FROM pg_temp.work(:'patches') ORDER BY task;
SELECT * FROM pg_temp.work(:'patches') ORDER BY task;
SELECT status, final_context FROM insula.result(:e);
SELECT t ->> 'task' AS task, t ->> 'status' AS status, t ->> 'attempt' AS attempt
FROM insula.result(:e), LATERAL jsonb_array_elements(tasks) WITH ORDINALITY x(t, n) ORDER BY n;
SELECT task, status FROM tenant_exec.task_executions WHERE execution_id = :e ORDER BY task_id;
CALL insula.await(:e, '1 s') \gset awaited_
SELECT :'awaited_result'::jsonb - 'tasks' - 'execution_id' - 'created_at' - 'started_at' - 'finished_at' AS awaited;

-- A failure: three attempts, with growing delays, and then for good; what waits for the
-- task is skipped, what does not goes on, and the execution has failed.
SELECT insula.submit('diamond', '{"in": 2}') AS e \gset
SELECT clock_timestamp() AS before \gset
SELECT task, CASE task WHEN 'start' THEN insula.fail(task_id, lease, 'boom') ELSE insula.complete(task_id, lease)::text END AS outcome
FROM insula.claim('w', max_tasks => 10) ORDER BY task;
SELECT task, status, attempt, error, run_at BETWEEN timestamptz :'before' + '700 ms' AND now() + '1 s' AS a_second FROM tenant_exec.task_executions WHERE execution_id = :e AND task = 'start';
SELECT status FROM insula.result(:e);
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100000;
SELECT clock_timestamp() AS before \gset
SELECT task, attempt, insula.fail(task_id, lease, 'boom again') FROM insula.claim('w', max_tasks => 10);
SELECT run_at BETWEEN timestamptz :'before' + '1400 ms' AND now() + '2 s' AS two_seconds FROM tenant_exec.task_executions WHERE execution_id = :e AND task = 'start';
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100000;
SELECT task, attempt, insula.fail(task_id, lease, 'boom at last') FROM insula.claim('w', max_tasks => 10);
SELECT status, error, final_context FROM insula.result(:e);
SELECT task, status, attempt, error FROM tenant_exec.task_executions WHERE execution_id = :e ORDER BY task_id;
SELECT e.event, t.task, e.detail - 'started_at' AS detail
FROM tenant_exec.execution_events e LEFT JOIN tenant_exec.task_executions t USING (task_id)
WHERE e.execution_id = :e ORDER BY e.event COLLATE "C", t.task_id, e.detail ->> 'attempt';
-- An error that will not go away is not tried again.
SELECT insula.submit('one') AS e \gset
SELECT insula.fail(task_id, lease, 'never', retryable => false) FROM insula.claim('w');
SELECT status, error, final_context, tasks -> 0 ->> 'error' AS task_error FROM insula.result(:e);
SELECT status, error FROM tenant_exec.workflow_executions WHERE execution_id = :e;

-- Deferral uses no attempt, and what was handed over is seen again.
SELECT insula.submit('one', '{"n": 1}') AS e \gset
SELECT insula.defer(task_id, lease, now() + '1 hour', '{"cursor": 7, "n": null}') FROM insula.claim('w');
SELECT task, status, attempt FROM tenant_exec.task_executions WHERE task_id = :e;
SELECT count(*) FROM insula.claim('w');
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100002;
SELECT attempt, context, insula.complete(task_id, lease, '{"done": true}') FROM insula.claim('w');
SELECT final_context FROM insula.result(:e);

-- A submission that says whether it was the first with its key.
SELECT execution_id AS e, is_new FROM insula.submit_once('one', '{"n": 1}', idempotency_key => 'once') \gset
SELECT :'is_new' AS is_new, execution_id = :e AS same, again.is_new FROM insula.submit_once('one', idempotency_key => 'once') again;
SELECT is_new FROM insula.submit_once('one');
SELECT count(*) FROM insula.cancel_executions('one', dry_run => false);

-- A failure that says itself when the next run comes; the attempts still count.
SELECT insula.register_workflow('{"name": "patient", "tasks": [{"id": "a", "retry": {"max_attempts": 2, "condition": "never"}}]}');
SELECT insula.submit('patient') AS e \gset
SELECT insula.fail(task_id, lease, 'not yet', retry_in => '1 hour') FROM insula.claim('w');
SELECT status, run_at > now() + '59 min' AS in_an_hour, error FROM tenant_exec.task_executions WHERE execution_id = :e;
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100000;
SELECT attempt, insula.fail(task_id, lease, 'not yet', retry_in => '1 hour') FROM insula.claim('w');

-- Leases: a heartbeat extends, a lapsed one goes to the next, and the late comer is told.
SELECT insula.submit('one') AS e \gset
SELECT lease FROM insula.claim('w1', lease_for => '1 s') \gset old_
SELECT * FROM insula.heartbeat(ARRAY[:e], ARRAY[:old_lease]);
SELECT due > extract(epoch FROM now() - '2000-01-01 UTC')::bigint * 1000000 + 50000000 AS extended FROM tenant_exec.work WHERE id = :e & ((1::bigint << 36) - 1);
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100001;
SELECT attempt, lease FROM insula.claim('w2') \gset new_
SELECT :new_attempt AS attempt, :new_lease <> :old_lease AS new_lease;
SELECT task_id = :e AS same, reason FROM insula.heartbeat(ARRAY[:e], ARRAY[:old_lease]);
SELECT insula.complete(:e, :old_lease), insula.fail(:e, :old_lease, 'late'), insula.defer(:e, :old_lease, now());
-- Workers that never report back use up no attempt, but a limit of their own.
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100001;
SELECT attempt FROM insula.claim('w3');
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100001;
SELECT attempt, insula.fail(task_id, lease, 'x') FROM insula.claim('w4');
SELECT count(*) FROM insula.claim('w5');
SELECT status, error FROM insula.result(:e);
SELECT event, detail - 'started_at' FROM tenant_exec.execution_events WHERE execution_id = :e AND event = 'task_lease_lapsed' ORDER BY detail ->> 'attempt';
SELECT insula.cancel(:e);
SELECT insula.register_workflow('{"name": "frail", "tasks": [{"id": "a", "retry": {"max_attempts": 2, "max_lapses": 1}},
	{"id": "once", "retry": {"max_attempts": 1}}]}');
SELECT insula.submit('frail') AS e \gset
SELECT task, attempt FROM insula.claim('f1', max_tasks => 2) ORDER BY task;
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100001;
SELECT task, attempt FROM insula.claim('f2', max_tasks => 2) ORDER BY task;
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100001;
SELECT count(*) FROM insula.claim('f3', max_tasks => 2);
SELECT t ->> 'task' AS task, t ->> 'status' AS status, t ->> 'error' AS error FROM insula.result(:e), jsonb_array_elements(tasks) t;
-- A retry of the execution counts them anew.
SELECT insula.retry(:e);
SELECT task, attempt FROM insula.claim('f4', max_tasks => 2) ORDER BY task;
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100001;
SELECT task, attempt FROM insula.claim('f5', max_tasks => 2) ORDER BY task;
SELECT insula.cancel(:e);
-- So does a run that puts the task off.
SELECT insula.submit('frail') AS e \gset
SELECT attempt FROM insula.claim('f6', '{frail.a}');
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100001;
SELECT attempt, insula.defer(task_id, lease, now()) FROM insula.claim('f7', '{frail.a}');
SELECT attempt FROM insula.claim('f8', '{frail.a}');
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100001;
SELECT attempt FROM insula.claim('f9', '{frail.a}');
UPDATE tenant_exec.work SET due = 0 WHERE lane = 100001;
SELECT count(*) FROM insula.claim('f10', '{frail.a}');
SELECT insula.cancel(:e);
-- A worker that leaves gives its tasks back, without an attempt used.
SELECT insula.submit('one') AS e \gset
SELECT attempt FROM insula.claim('leaver');
SELECT insula.leave('leaver');
SELECT attempt, insula.complete(task_id, lease) FROM insula.claim('w');

-- Cancel: false once it has ended; what a late worker says changes nothing.
SELECT insula.submit('diamond') AS e \gset
SELECT task_id, lease FROM insula.claim('w', tasks => '{diamond.start}') \gset
SELECT insula.cancel(:e, 'not needed');
SELECT insula.cancel(:e);
SELECT reason FROM insula.heartbeat(ARRAY[:task_id], ARRAY[:lease]);
SELECT reason FROM insula.heartbeat(ARRAY[:task_id], ARRAY[:lease + 1]);
SELECT insula.complete(:task_id, :lease, '{"late": 1}'), insula.fail(:task_id, :lease, 'late');
SELECT status, error, final_context FROM insula.result(:e);
SELECT task, status FROM tenant_exec.task_executions WHERE execution_id = :e ORDER BY task_id;
SELECT count(*) FROM insula.claim('w', max_tasks => 10);

-- Batches: a bad context fails its own task and no other.
SELECT insula.submit_many('one', ARRAY['{"b": 1}', '{"b": 2}', '{"b": 3}']::jsonb[]) AS ids \gset
CREATE TEMP TABLE batch AS SELECT * FROM insula.claim('w', max_tasks => 3);
SELECT insula.complete_many(array_agg(task_id ORDER BY task_id), array_agg(lease ORDER BY task_id), ARRAY['{"ok": 1}', '[]', NULL]::jsonb[]) FROM batch;
SELECT context, status, attempt, task_executions.error FROM tenant_exec.task_executions JOIN tenant_exec.workflow_executions USING (execution_id, status)
WHERE execution_id = ANY (:'ids') UNION ALL
SELECT context, t.status, attempt, t.error FROM tenant_exec.task_executions t JOIN tenant_exec.workflow_executions e USING (execution_id)
WHERE execution_id = ANY (:'ids') AND t.status = 'ready' ORDER BY 1;
SELECT insula.cancel(execution_id) FROM tenant_exec.workflow_executions WHERE status NOT IN ('completed', 'failed', 'cancelled');
-- The same task twice, with a wrong lease and the right one.
SELECT insula.submit('one') AS e \gset
SELECT lease FROM insula.claim('w') \gset
SELECT insula.complete_many(ARRAY[:e, :e, :e + 1], ARRAY[:lease + 1, :lease, :lease], NULL);

-- The same with what was not completed, and why.
SELECT insula.submit_many('one', ARRAY['{"b": 4}', '{"b": 5}']::jsonb[]) AS ids \gset
CREATE TEMP TABLE told AS SELECT * FROM insula.claim('w', max_tasks => 2);
SELECT b.* FROM (SELECT array_agg(task_id ORDER BY task_id), array_agg(lease ORDER BY task_id) FROM told) t(ids, leases),
	insula.complete_batch(ids || 0::bigint, leases || 0::bigint, ARRAY['{"ok": 1}', '[]', NULL]::jsonb[]) b;
SELECT insula.cancel(execution_id) FROM tenant_exec.workflow_executions WHERE status NOT IN ('completed', 'failed', 'cancelled');

-- An impossible id does not spoil the others of a batch.
SELECT insula.submit('one') AS e \gset
SELECT lease FROM insula.claim('w') \gset
SELECT insula.complete_many(ARRAY[(:e >> 36) << 36, -1, :e], ARRAY[:lease, :lease, :lease], NULL);

-- A context that is too large to merge fails its task, not the claim.
SET insula.visit_time = '1 min';
SELECT insula.register_workflow(jsonb_build_object('name', 'huge', 'tasks',
	(SELECT jsonb_agg(jsonb_build_object('id', 't' || i)) FROM generate_series(1, 17) i)
	|| jsonb_build_object('id', 'end', 'depends_on', (SELECT jsonb_agg('t' || i) FROM generate_series(1, 17) i))));
SELECT insula.submit('huge') AS e \gset
SELECT count(insula.complete(task_id, lease, jsonb_build_object(task, repeat('x', 4190000)))) FROM insula.claim('w', max_tasks => 20);
SELECT insula.submit('one', '{"after": "huge"}') > 0 AS submitted;
SELECT context, insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 10);
SELECT status, error, final_context IS NULL AS no_context FROM insula.result(:e);
-- A context that is too long as text does, too.
SELECT insula.submit('huge') AS e \gset
SELECT count(insula.complete(task_id, lease, jsonb_build_object(task, (SELECT jsonb_agg(1e131071) FROM generate_series(1, 31)))))
FROM insula.claim('w', max_tasks => 20);
SELECT count(*) FROM insula.claim('w', max_tasks => 10);
SELECT status, error, final_context IS NULL AS no_context FROM insula.result(:e);

-- Idempotency keys: scope is the workflow.
SELECT insula.submit('one', '{"k": 1}', idempotency_key => 'k') AS k1 \gset
SELECT insula.submit('one', '{"k": 2}', idempotency_key => 'k') = :k1 AS same, insula.submit('two', idempotency_key => 'k') <> :k1 AS other;
SELECT insula.submit_many('one', ARRAY['{}', '{}', '{}', '{}']::jsonb[], idempotency_keys => ARRAY['l', 'k', 'l', NULL]) AS ids \gset
SELECT (:'ids'::bigint[])[1] = (:'ids'::bigint[])[3] AS twins, (:'ids'::bigint[])[2] = :k1 AS known, (:'ids'::bigint[])[4] > (:'ids'::bigint[])[1] AS keyless;
SELECT count(*) FROM tenant_exec.workflow_executions WHERE status = 'pending';

-- watch returns ended and unknown executions at once.
SELECT insula.watch('w', ARRAY[:k1, :e, 5]) = ARRAY[:e, 5]::bigint[] AS ended;
SELECT insula.nudge('w');

-- Submission commits with the caller's work, or not at all.
BEGIN;
SELECT insula.submit('one', '{"rolled": "back"}') > 0 AS submitted;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT insula.submit('one', '{"rolled": "back"}') > 0 AS submitted;
ROLLBACK TO s;
SELECT insula.submit('one', '{"kept": true}') > 0 AS submitted;
COMMIT;
SELECT context FROM tenant_exec.workflow_executions WHERE context ?| ARRAY['rolled', 'kept'];

RESET insula.tenant;
SELECT insula.drop_tenant('exec', drain => '0 s');
