-- Bad input gets a clear error, and nothing is lost or half done.
SELECT tenant FROM insula.create_tenant('bad_one'), insula.create_tenant('bad_two') b(tenant2);
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => t) FROM unnest(ARRAY['bad_one', 'bad_two']) t;
SELECT insula.submit('w', tenant => 'bad_one') AS mine, insula.submit('w', tenant => 'bad_two') AS foreign \gset
SELECT task_id AS foreign_task, lease AS foreign_lease FROM insula.claim('w', tenant => 'bad_two') \gset
SET ROLE bad_one_user;

SELECT try($$SELECT insula.submit(NULL)$$);
SELECT try($$SELECT insula.submit('w', NULL)$$);
SELECT try($$SELECT insula.submit('w', '[]')$$);
SELECT try($$SELECT insula.submit('w', '"text"')$$);
SELECT try($$SELECT insula.submit('w', jsonb_build_object('big', repeat('x', 5000000)))$$);
SELECT try($$SELECT insula.submit_many('w', ARRAY['{}', jsonb_build_object('big', repeat('x', 5000000))])$$);
SELECT try($$SELECT insula.complete(1, 1, jsonb_build_object('big', repeat('x', 5000000)))$$);
-- The text of a context is held to the same size: these are some kilobytes of long numbers, and control characters.
CREATE TEMP TABLE long AS
SELECT jsonb_build_object('x', (SELECT jsonb_agg(1e131071) FROM generate_series(1, 500))) AS numbers, jsonb_build_object('x', (SELECT jsonb_agg(-1e250) FROM generate_series(1, 17000))) AS shorter,
	jsonb_build_object('x', (SELECT jsonb_agg(1e-16383) FROM generate_series(1, 260))) AS fractions, jsonb_build_object('x', repeat(E'\x01', 700000)) AS characters;
SELECT try('SELECT insula.submit(''w'', numbers) FROM long'), try('SELECT insula.submit(''w'', shorter) FROM long');
SELECT try('SELECT insula.submit(''w'', fractions) FROM long'), try('SELECT insula.submit(''w'', characters) FROM long');
SELECT try('SELECT insula.submit_once(''w'', numbers) FROM long'), try('SELECT insula.submit_many(''w'', ARRAY[''{}'', numbers]) FROM long');
SELECT try('SELECT insula.complete(1, 1, numbers) FROM long'), try('SELECT insula.defer(1, 1, now(), numbers) FROM long');
SELECT try('SELECT insula.wait_event(1, 1, ''e'', context => numbers) FROM long'), try('SELECT insula.submit_child(1, 1, ''w'', numbers) FROM long');
SELECT try('SELECT insula.send_event(1, ''e'', numbers) FROM long'), try('SELECT insula.save_progress(1, 1, numbers) FROM long');
SELECT try('SELECT insula.schedule(''s'', ''w'', ''@daily'', context => numbers) FROM long'), try('SELECT insula.create_trigger(''t'', ''w'', numbers) FROM long');
SELECT try('SELECT insula.fire_trigger(''t'', numbers) FROM long');
-- Numbers as people write them, quotes and lines count for what they take as jsonb.
SELECT x, insula.complete(1, 1, jsonb_build_object('x', v)) FROM (SELECT 'long', jsonb_agg(1e131071) FROM generate_series(1, 31)
	UNION ALL SELECT 'many', jsonb_agg((n / 7.0)::float8) FROM generate_series(1, 190000) n
	UNION ALL SELECT 'text', to_jsonb(repeat(E'"\n', 2000000))) v(x, v) ORDER BY x;
DROP TABLE long;
SELECT try($$SELECT insula.submit('w', priority => NULL)$$);
SELECT try($$SELECT insula.submit('w', priority => 32768)$$);
SELECT try($$SELECT insula.submit('w', priority => -2147483648)$$);
SELECT try($$SELECT insula.submit('w', run_at => 'infinity')$$);
SELECT try($$SELECT insula.submit('w', run_at => '-infinity')$$);
SELECT try($$SELECT insula.submit('w', run_at => NULL)$$);
SELECT try($$SELECT insula.submit('w', idempotency_key => '')$$);
SELECT try($$SELECT insula.submit('w', idempotency_key => repeat('k', 256))$$);
SELECT try($$SELECT insula.submit('nope')$$);
SELECT try($$SELECT insula.submit('w', tenant => '')$$);
SELECT try($$SELECT insula.submit_many('w', NULL)$$);
SELECT try($$SELECT insula.submit_many('w', '{}')$$);
SELECT try($$SELECT insula.submit_many('w', ARRAY['{}', NULL]::jsonb[])$$);
SELECT try($$SELECT insula.submit_many('w', ARRAY['{}', '[]']::jsonb[])$$);
SELECT try($$SELECT insula.submit_many('w', ARRAY[['{}'], ['{}']]::jsonb[])$$);
SELECT try($$SELECT insula.submit_many('w', ARRAY['{}']::jsonb[], idempotency_keys => ARRAY['a', 'b'])$$);

SELECT try($$SELECT * FROM insula.claim(NULL)$$);
SELECT try($$SELECT * FROM insula.claim('')$$);
SELECT try($$SELECT * FROM insula.claim(repeat('w', 129))$$);
SELECT try($$SELECT * FROM insula.claim('w', max_tasks => 0)$$);
SELECT try($$SELECT * FROM insula.claim('w', max_tasks => 10001)$$);
SELECT try($$SELECT * FROM insula.claim('w', max_tasks => NULL)$$);
SELECT try($$SELECT * FROM insula.claim('w', lease_for => '0.5 s')$$);
SELECT try($$SELECT * FROM insula.claim('w', lease_for => '2 days')$$);
SELECT try($$SELECT * FROM insula.claim('w', lease_for => '-1 s')$$);
SELECT try($$SELECT * FROM insula.claim('w', lease_for => '178000000 years')$$);
SELECT try($$SELECT * FROM insula.claim('w', lease_for => NULL)$$);
SELECT try($$SELECT * FROM insula.claim('w', tasks => ARRAY['w.a', NULL])$$);
SELECT try($$SELECT * FROM insula.claim('w', tasks => ARRAY[['w.a']])$$);

SELECT try($$SELECT insula.complete(NULL, 1)$$);
SELECT try($$SELECT insula.complete(1, NULL)$$);
SELECT try($$SELECT insula.complete(1, 1, '[]')$$);
SELECT try($$SELECT insula.complete_many(NULL, '{}', '{}')$$);
SELECT try($$SELECT insula.complete_many('{1}', '{1,2}', NULL)$$);
SELECT try($$SELECT insula.complete_many('{1}', '{1}', '{}')$$);
SELECT try($$SELECT insula.complete_many('{NULL}', '{1}', NULL)$$);
SELECT try($$SELECT insula.complete_many('{}', '{}', NULL)$$);
SELECT try($$SELECT insula.fail(1, 1, NULL)$$);
SELECT try($$SELECT insula.fail(1, 1, 'x', NULL)$$);
SELECT try($$SELECT insula.defer(1, 1, NULL)$$);
SELECT try($$SELECT insula.defer(1, 1, 'infinity')$$);
SELECT try($$SELECT * FROM insula.heartbeat('{1}', '{}')$$);
SELECT try($$SELECT * FROM insula.heartbeat(NULL, '{}')$$);
SELECT try($$SELECT * FROM insula.heartbeat('{}', '{}', '1 ms')$$);
SELECT try($$SELECT insula.watch(NULL, '{}')$$);
SELECT try($$SELECT insula.watch('w', NULL)$$);
SELECT try($$SELECT insula.nudge('')$$);
SELECT try($$SELECT insula.leave(NULL)$$);
SELECT try($$SELECT insula.read_claimed(NULL)$$);
SELECT try($$SELECT insula.read_claimed('\x00')$$);
-- A context of a version of jsonb that there is not.
SELECT try(format('SELECT insula.read_claimed(%L)', '\x0000000100000000'::bytea ||
	int4send('insula.claimed_task'::regtype::oid::bigint::int) || '\x0000000100000001' || int4send(length(task)) || task))
FROM (SELECT int4send(14) || string_agg(int4send(atttypid::bigint::int) ||
		CASE attname WHEN 'context' THEN int4send(3) || '\x027b7d' ELSE int4send(-1) END, '' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = 'insula.claimed_task'::regclass) t(task);
SELECT try($$SELECT insula.cancel(NULL)$$);
SELECT try($$SELECT insula.result(NULL)$$);

-- Another tenant's id, an unused id and an impossible id get the same answer.
SELECT id, insula.complete(id, :foreign_lease), insula.fail(id, :foreign_lease, 'x') IS NULL AS fail,
	insula.defer(id, :foreign_lease, now()), (SELECT reason FROM insula.heartbeat(ARRAY[id], ARRAY[:foreign_lease]))
FROM unnest(ARRAY[0, -1, 9223372036854775807]) id;
SELECT insula.complete(:foreign_task, :foreign_lease) AS complete, insula.fail(:foreign_task, :foreign_lease, 'x') IS NULL AS fail,
	insula.defer(:foreign_task, :foreign_lease, now()) AS defer,
	(SELECT reason FROM insula.heartbeat(ARRAY[:foreign_task], ARRAY[:foreign_lease])),
	insula.watch('w', ARRAY[:foreign]) = ARRAY[:foreign]::bigint[] AS watched,
	insula.complete_many(ARRAY[:foreign_task], ARRAY[:foreign_lease], NULL);
SELECT call, regexp_replace(try(format(call, id)), '[0-9]+ ', 'N ') AS answer, count(*)
FROM unnest(ARRAY['SELECT insula.cancel(%s)', 'SELECT insula.result(%s)']) call,
	unnest(ARRAY[0, 5, 9223372036854775807, :foreign]) id
GROUP BY 1, 2 ORDER BY 1;

-- Waiting calls need a CALL of their own, and say so.
BEGIN;
CALL insula.wait_for_work('0 s');
\echo :SQLSTATE
ROLLBACK;
BEGIN;
CALL insula.claim_when_ready('0 s', 'w');
\echo :SQLSTATE
ROLLBACK;
DO $$ DECLARE r boolean; BEGIN BEGIN CALL insula.wait_for_work('0 s', r); EXCEPTION WHEN division_by_zero THEN NULL; END; END $$;
SELECT 1 \; CALL insula.await(5, '0 s');
CALL insula.wait_for_work(NULL);
CALL insula.wait_for_work('-1 s');
CALL insula.wait_for_work('0 s', worker => '');
CALL insula.wait_for_work('0 s', tasks => ARRAY[NULL]);
CALL insula.wait_for_work('0 s', tenant => 'bad_two');
CALL insula.claim_when_ready(NULL, 'w');
CALL insula.claim_when_ready('-1 s', 'w');
CALL insula.claim_when_ready('0 s', NULL);
CALL insula.claim_when_ready('0 s', '');
CALL insula.claim_when_ready('0 s', 'w', tasks => ARRAY[NULL]);
CALL insula.claim_when_ready('0 s', 'w', max_tasks => 0);
CALL insula.claim_when_ready('0 s', 'w', max_tasks => NULL);
CALL insula.claim_when_ready('0 s', 'w', lease_for => '1 ms');
CALL insula.claim_when_ready('0 s', 'w', tenant => 'bad_two');
CALL insula.claim_when_ready('0 s', 'w', max_per_tenant => 1);
CALL insula.claim_when_ready('0 s', 'w', only_tenants => '{}');
CALL insula.await(NULL, '0 s');
SET client_min_messages = error;
CALL insula.await(5, '0 s');

-- PREPARE would commit in another backend, which does not know the sessions to wake.
RESET ROLE;
BEGIN;
SELECT insula.submit('w', tenant => 'bad_one') > 0 AS submitted;
PREPARE TRANSACTION 'p';
\echo :SQLSTATE
ROLLBACK;

-- PREPARE is refused after a claim, too, that holds the permits lock and got no task.
SELECT insula.register_workflow('{"name": "idle", "tasks": [{"id": "a"}]}', tenant => 'bad_one');
SELECT insula.set_tenant_limits('bad_one', rate_per_second => 1000);
BEGIN;
SELECT count(*) FROM insula.claim('prepares', ARRAY['idle.a'], tenant => 'bad_one');
PREPARE TRANSACTION 'p';
\echo :SQLSTATE
ROLLBACK;
SELECT insula.set_tenant_limits('bad_one', rate_per_second => -1);

-- A read-only transaction is refused by PostgreSQL itself.
BEGIN READ ONLY;
SELECT try($$SELECT insula.submit('w', tenant => 'bad_one')$$);
ROLLBACK;

-- Nothing changed.
SELECT status, attempt FROM tenant_bad_one.task_executions;
SELECT status, attempt FROM tenant_bad_two.task_executions;
SELECT insula.drop_tenant('bad_one', '0 s'), insula.drop_tenant('bad_two', '0 s');
