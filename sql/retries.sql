-- Retries of failed tasks, and timeouts of runs.
SET client_min_messages = error;
SELECT tenant FROM insula.create_tenant('retries');
SET insula.tenant = 'retries';
CREATE FUNCTION define(name text, options jsonb) RETURNS int LANGUAGE sql AS $$
	SELECT insula.register_workflow(jsonb_build_object('name', name, 'tasks',
		jsonb_build_array(jsonb_build_object('id', 'run') || options)))
$$;
-- One run that fails: the task's next status, and after how many seconds it runs again.
CREATE FUNCTION fail_once(error text, retryable boolean DEFAULT true, OUT attempt int, OUT max_attempts int, OUT next text, OUT delay numeric)
LANGUAGE plpgsql AS $$
DECLARE
	claimed insula.claimed_task;
	failed_at timestamptz;
BEGIN
	SELECT * INTO claimed FROM insula.claim('w');
	attempt := claimed.attempt;
	max_attempts := claimed.max_attempts;
	SELECT insula.fail(claimed.task_id, claimed.lease, error, retryable), clock_timestamp() INTO next, failed_at;
	SELECT round(extract(epoch FROM run_at - failed_at)) INTO delay
	FROM tenant_retries.task_executions WHERE task_id = claimed.task_id AND next = 'ready';
	-- Time passes.
	UPDATE tenant_retries.work SET due = 0 WHERE lane = 100000;
END
$$;

-- Every problem is named.
SELECT try($$SELECT define('bad', '{"retry": {"max_attempts": 0, "backoff": "cubic", "initial_delay": "soon", "max_delay": 5,
	"jitter": "no", "condition": "sometimes", "colour": 1}, "timeout": "-1 s", "priority": 1.5}')$$);
SELECT try($$SELECT define('bad', '{"retry": [], "timeout": "0", "priority": 32768}')$$);
SELECT try($$SELECT define('bad', '{"retry": {"condition": []}, "timeout": "1000 years"}')$$);
SELECT try($$SELECT define('bad', '{"retry": {"condition": ["busy", 7, ""], "max_attempts": 1e100}}')$$);

-- Backoff, and the last attempt fails the execution.
SELECT define('fixed', '{"retry": {"max_attempts": 3, "backoff": "fixed", "initial_delay": "20 s", "jitter": false}}');
SELECT insula.submit('fixed') AS id \gset
SELECT * FROM fail_once('a') UNION ALL SELECT * FROM fail_once('b') UNION ALL SELECT * FROM fail_once('c');
SELECT status, error FROM insula.result(:id);
SELECT define('linear', '{"retry": {"max_attempts": 4, "backoff": "linear", "initial_delay": "10 s", "max_delay": "25 s", "jitter": false}}');
SELECT insula.submit('linear') AS id \gset
SELECT * FROM fail_once('a') UNION ALL SELECT * FROM fail_once('b') UNION ALL SELECT * FROM fail_once('c') UNION ALL SELECT * FROM fail_once('d');
SELECT define('exponential', '{"retry": {"max_attempts": 10, "initial_delay": "10 s", "max_delay": "1 min", "jitter": false}}');
SELECT insula.submit('exponential') AS id \gset
SELECT attempt, delay FROM fail_once('a') UNION ALL SELECT attempt, delay FROM fail_once('b') UNION ALL SELECT attempt, delay FROM fail_once('c') UNION ALL SELECT attempt, delay FROM fail_once('d');
SELECT insula.cancel(:id);
SELECT define('spread', '{"retry": {"max_attempts": 1000, "backoff": "fixed", "initial_delay": "100 s", "max_delay": "100 s"}}');
SELECT insula.submit('spread') AS id \gset
SELECT bool_and(delay BETWEEN 74 AND 100) AS within, count(DISTINCT delay) > 5 AS spread FROM (SELECT (fail_once('x')).delay FROM generate_series(1, 20)) d;
SELECT insula.cancel(:id);

-- Conditions.
SELECT define('never', '{"retry": {"condition": "never"}}');
SELECT insula.submit('never') AS id \gset
SELECT attempt, next FROM fail_once('connection lost');
SELECT define('transient', '{"retry": {"condition": "transient", "initial_delay": "1 s"}}');
SELECT insula.submit('transient') AS id \gset
SELECT attempt, next FROM fail_once('Connection refused') UNION ALL SELECT attempt, next FROM fail_once('no such customer');
SELECT define('matching', '{"retry": {"condition": ["no such", "100%"], "initial_delay": "1 s"}}');
SELECT insula.submit('matching') AS id \gset
SELECT attempt, next FROM fail_once('No such customer') UNION ALL SELECT attempt, next FROM fail_once('connection lost');
SELECT define('all', '{"retry": {"condition": "all"}}');
SELECT insula.submit('all') AS id \gset
SELECT attempt, next FROM fail_once('a', false);

-- Put off at will: whatever the policy's delay and condition, and the first runs without an attempt.
SELECT define('busy', '{"retry": {"max_attempts": 2, "condition": "never"}}');
SELECT insula.submit('busy') AS id \gset
CREATE FUNCTION put_off(OUT attempt int, OUT next text, OUT delay numeric) LANGUAGE plpgsql AS $$
DECLARE
	claimed insula.claimed_task;
	failed_at timestamptz;
BEGIN
	SELECT * INTO claimed FROM insula.claim('w');
	attempt := claimed.attempt;
	SELECT insula.fail(claimed.task_id, claimed.lease, 'busy', retry_in => '1 h', free_retries => 2), clock_timestamp() INTO next, failed_at;
	SELECT round(extract(epoch FROM run_at - failed_at)) INTO delay
	FROM tenant_retries.task_executions WHERE task_id = claimed.task_id AND next = 'ready';
	UPDATE tenant_retries.work SET due = 0 WHERE lane = 100000;
END
$$;
SELECT * FROM put_off() UNION ALL SELECT * FROM put_off() UNION ALL SELECT * FROM put_off() UNION ALL SELECT * FROM put_off();
SELECT status, error FROM insula.result(:id);
SELECT event, detail - 'started_at' AS detail FROM tenant_retries.execution_events WHERE execution_id = :id ORDER BY at, event_id;
-- Counted anew after a retry.
SELECT insula.retry(:id);
SELECT * FROM put_off() UNION ALL SELECT * FROM put_off() UNION ALL SELECT * FROM put_off();
SELECT task_id, lease FROM insula.claim('w') \gset
SELECT try(format('SELECT insula.fail(%s, %s, ''x'', retry_in => ''1 s'', free_retries => 1001)', :task_id, :lease)),
	try(format('SELECT insula.fail(%s, %s, ''x'', retry_in => ''1 s'', free_retries => -1)', :task_id, :lease)),
	try(format('SELECT insula.fail(%s, %s, ''x'', free_retries => 1)', :task_id, :lease)),
	try(format('SELECT insula.fail(%s, %s, ''x'', free_retries => NULL)', :task_id, :lease)),
	try(format('SELECT insula.fail(%s, %s, ''x'', retry_in => ''-1 s'')', :task_id, :lease));
SELECT insula.fail(:task_id, :lease, 'x', false, '1 s', 1000);
DROP FUNCTION put_off;

-- The history of attempts.
SELECT define('history', '{"retry": {"max_attempts": 2, "initial_delay": "1 s"}}');
SELECT insula.submit('history') AS id \gset
SELECT next FROM fail_once('first');
SELECT insula.complete(task_id, lease) FROM insula.claim('w2');
SELECT event, detail - 'started_at' AS detail FROM tenant_retries.execution_events WHERE execution_id = :id ORDER BY at, event_id;

-- Priorities of tasks add to the execution's.
SELECT insula.register_workflow('{"name": "ranked", "tasks": [{"id": "low"}, {"id": "high", "priority": 5}, {"id": "lowest", "priority": -5}]}');
SELECT insula.submit('ranked', priority => 1) AS id \gset
SELECT define('urgent', '{"priority": 7}');
SELECT insula.submit('urgent') > 0 AS submitted;
SELECT workflow, task FROM insula.claim('w') UNION ALL SELECT workflow, task FROM insula.claim('w') UNION ALL SELECT workflow, task FROM insula.claim('w') UNION ALL SELECT workflow, task FROM insula.claim('w');
SELECT insula.leave('w');
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 10);

-- A run past its timeout has failed, whatever its lease.
SELECT define('brief', '{"timeout": "1 h", "retry": {"max_attempts": 2, "initial_delay": "1 s", "condition": "transient"}}');
SELECT insula.submit('brief') AS id \gset
SELECT task_id, lease, deadline - now() BETWEEN '59 min' AND '61 min' AS deadline, lease_expires = deadline AS short
FROM insula.claim('w', lease_for => '1 day') \gset
\echo :deadline :short
SELECT count(*) FROM insula.heartbeat(ARRAY[:task_id], ARRAY[:lease], '1 day');
UPDATE tenant_retries.work SET due = 0, deadline = 1 WHERE lane = 100001;
SELECT task_id = :task_id AS same, reason FROM insula.heartbeat(ARRAY[:task_id], ARRAY[:lease]);
SELECT count(*) FROM insula.claim('w');
SELECT status, attempt, error FROM tenant_retries.task_executions WHERE task_id = :task_id;
SELECT reason FROM insula.heartbeat(ARRAY[:task_id], ARRAY[:lease]);
SELECT insula.complete(:task_id, :lease);
UPDATE tenant_retries.work SET due = 0 WHERE lane = 100000;
SELECT attempt FROM insula.claim('w');
UPDATE tenant_retries.work SET due = 0, deadline = 1 WHERE lane = 100001;
SELECT count(*) FROM insula.claim('w');
SELECT status, error FROM insula.result(:id);
SELECT event, detail - 'started_at' AS detail FROM tenant_retries.execution_events WHERE execution_id = :id ORDER BY at, event_id;

-- The patches of a task that is deferred again and again are bounded.
SELECT define('hoards', '{}');
SELECT insula.submit('hoards') > 0 AS submitted;
SELECT n, try(format('SELECT insula.defer(task_id, lease, now(), jsonb_build_object(%L, repeat(''x'', 4000000))) FROM insula.claim(''w'', ARRAY[''hoards.run''])', n))
FROM generate_series(1, 5) n;
-- An error or a reason is cut at 64 kB, never inside a character.
SELECT define('talks', '{"retry": {"max_attempts": 2, "initial_delay": "0 s", "condition": ["the end"]}}');
SELECT insula.submit('talks') AS id \gset
SELECT insula.fail(task_id, lease, 'the end' || repeat('Ω', 40000)) FROM insula.claim('w', ARRAY['talks.run']);
SELECT insula.fail(task_id, lease, repeat('Ω', 40000) || 'the end') FROM insula.claim('w', ARRAY['talks.run']);
SELECT insula.retry(:id, 'x' || repeat('Ω', 40000)), insula.cancel(:id, repeat('z', 70000));
SELECT event, octet_length(detail->>'error') AS error, octet_length(detail->>'reason') AS reason, right(coalesce(detail->>'error', detail->>'reason'), 2) AS ends
FROM tenant_retries.execution_events WHERE execution_id = :id AND detail::text ~ 'error|reason' ORDER BY at, event_id;
SELECT octet_length(error) FROM insula.result(:id);
-- A failure for good that is reported a second time, as after a broken connection, is told as the first was; nothing
-- else is, and it writes nothing.
SELECT define('ends', '{"retry": {"max_attempts": 1}}');
SELECT insula.submit('ends') AS id \gset
SELECT task_id, lease FROM insula.claim('w', ARRAY['ends.run']) \gset
SELECT insula.fail(:task_id, :lease, 'broken'), insula.fail(:task_id, :lease, 'broken') AS again, insula.fail(:task_id, :lease, 'other') AS other,
	insula.fail(:task_id, :lease + 1, 'broken') AS stranger, insula.complete(:task_id, :lease);
SELECT reason FROM insula.heartbeat(ARRAY[:task_id], ARRAY[:lease]);
SELECT count(*) FROM tenant_retries.execution_events WHERE execution_id = :id AND event LIKE '%failed';
SELECT insula.retry(:id), insula.fail(:task_id, :lease, 'broken') AS again;
SELECT insula.cancel(:id);
RESET insula.tenant;
DROP FUNCTION fail_once;
DROP FUNCTION define;
SELECT insula.drop_tenant('retries', '0 s');
