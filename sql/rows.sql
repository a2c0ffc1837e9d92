-- Rows that are found and written without SQL: what SQL sees to by itself is seen to.
SELECT tenant FROM insula.create_tenant('rows', login => false);
SET insula.tenant = 'rows';
SET client_min_messages = error;  -- a server that is not preloaded warns of its waits
SELECT insula.register_workflow('{"name": "job", "tasks": [{"id": "run"}]}');
-- Every index holds the rows that its predicate wants, once each.
CREATE EXTENSION amcheck SCHEMA public;
CREATE FUNCTION pg_temp.check_indexes() RETURNS SETOF name LANGUAGE plpgsql AS $$
DECLARE i record;
BEGIN
	FOR i IN SELECT indexrelid FROM pg_index WHERE indrelid = 'tenant_rows.work'::regclass LOOP
		PERFORM public.bt_index_check(i.indexrelid, true);
	END LOOP;
	RETURN QUERY SELECT relname FROM pg_class JOIN pg_index ON oid = indexrelid
		WHERE indrelid = 'tenant_rows.work'::regclass ORDER BY relname COLLATE "C";
END $$;
-- Random bytes, which do not compress.
CREATE FUNCTION pg_temp.noise(bytes int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(md5(random()::text), '') FROM generate_series(1, bytes / 32) $$;

-- Contexts that are stored apart, between small ones, and more than are written at a time.
CREATE TEMP TABLE given AS SELECT n, jsonb_build_object('n', n, 'noise', CASE WHEN n % 50 = 0 THEN pg_temp.noise(100000) END) AS context
	FROM generate_series(1, 250) n;
SELECT count(DISTINCT e) FROM unnest(insula.submit_many('job', (SELECT array_agg(context ORDER BY n) FROM given))) e;
SELECT count(*) FROM tenant_rows.workflow_executions e JOIN given g ON e.context = g.context;
CREATE TEMP TABLE taken AS SELECT * FROM insula.claim('w', max_tasks => 1000);
SELECT count(*), count(*) FILTER (WHERE t.context = g.context) AS same FROM taken t JOIN given g ON (t.context ->> 'n')::int = g.n;
SELECT bool_and(insula.complete(task_id, lease, jsonb_build_object('back', context -> 'noise'))) FROM taken;
SELECT count(*), count(*) FILTER (WHERE e.context = g.context AND e.final_context -> 'back' IS NOT DISTINCT FROM nullif(g.context -> 'noise', 'null')) AS same
FROM tenant_rows.workflow_executions e JOIN given g ON (e.context ->> 'n')::int = g.n;
SELECT pg_temp.check_indexes();
-- The patches of a deferred task are kept, out of line as well.
SELECT insula.submit('job', jsonb_build_object('noise', pg_temp.noise(50000))) AS e \gset
SELECT insula.defer(task_id, lease, now(), jsonb_build_object('kept', context -> 'noise')) FROM insula.claim('w');
UPDATE tenant_rows.work SET due = 0 WHERE lane = 100002;
SELECT context -> 'kept' = context -> 'noise' AS kept, insula.complete(task_id, lease, '{"noise": null}') FROM insula.claim('w');
SELECT length(final_context ->> 'kept'), final_context ? 'noise' AS noise FROM insula.result(:e);

-- The same task twice in a batch, a lease that is wrong, a task that is unknown.
SELECT insula.submit('job') AS e \gset
SELECT lease FROM insula.claim('w') \gset
SELECT insula.complete_many(ARRAY[:e, :e, :e, :e + 1, 7], ARRAY[:lease + 1, :lease, :lease, :lease, 0],
	ARRAY['{"wrong": 1}', '{"first": 1}', '{"second": 1}', NULL, NULL]::jsonb[]);
SELECT final_context FROM insula.result(:e);

-- All in one statement, and in one transaction, with savepoints.
SELECT insula.complete(task_id, lease, '{"done": true}') FROM (SELECT insula.submit('job', '{"n": 1}') AS e OFFSET 0) s, LATERAL insula.claim(left('w' || e, 1));
BEGIN;
SELECT count(insula.submit('job', jsonb_build_object('n', n))) FROM generate_series(1, 3) n;
SAVEPOINT a;
SELECT context FROM insula.claim('w', max_tasks => 2);
ROLLBACK TO a;
SELECT context FROM insula.claim('w', max_tasks => 2);
SAVEPOINT b;
SELECT bool_and(insula.complete(id + (SELECT (:e >> 36) << 36), lease)) FROM tenant_rows.work WHERE state = 2;
SELECT count(*) FROM tenant_rows.task_executions WHERE status = 'running';
ROLLBACK TO b;
SELECT count(*) FROM tenant_rows.task_executions WHERE status = 'running';
SELECT insula.submit('job', '{"n": 4}') > 0 AS put;
COMMIT;
SELECT context, insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 9);
-- Rows that this transaction holds itself are not passed over.
BEGIN;
SELECT insula.submit('job', '{"n": 5}') > 0 AS put;
SELECT count(*) FROM (SELECT FROM tenant_rows.work WHERE state = 1 FOR UPDATE) held;
SELECT context, insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 9);
COMMIT;
BEGIN;
SAVEPOINT a;
SELECT insula.submit('job', '{"n": 6}') > 0 AS put;
RELEASE a;
SAVEPOINT b;
SELECT count(*) FROM (SELECT FROM tenant_rows.work WHERE state = 1 FOR NO KEY UPDATE) held;
ROLLBACK TO b;
SELECT context, insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 9);
COMMIT;
SELECT count(insula.complete(id + (SELECT (:e >> 36) << 36), lease)) FROM tenant_rows.work WHERE state = 2;
SELECT status, count(*) FROM tenant_rows.workflow_executions GROUP BY status;

-- A number that is taken: nothing of the batch stays.
SELECT setval('tenant_rows.id', (SELECT min(id) FROM tenant_rows.work), false) > 0 AS back;
SELECT insula.submit_many('job', array_fill('{"twice": true}'::jsonb, ARRAY[150]));
SELECT count(*) FROM tenant_rows.work WHERE input ? 'twice';
SELECT setval('tenant_rows.id', (SELECT max(id) FROM tenant_rows.work)) > 0 AS ahead;

-- Foreign indexes get their entries: on an expression, partial, unique.
CREATE FUNCTION public.spy(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN RETURN $1 || ' ' || current_user || ' ' || current_setting('search_path'); END $$;
CREATE INDEX spied ON tenant_rows.work (public.spy(worker)) WHERE worker IS NOT NULL;
CREATE UNIQUE INDEX leases ON tenant_rows.work (lease) WHERE lease IS NOT NULL;
CREATE INDEX covering ON tenant_rows.work (def) INCLUDE (state);
SELECT cardinality(insula.submit_many('job', array_fill('{}'::jsonb, ARRAY[150])));
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('somebody', max_tasks => 100);
SET enable_seqscan = off;
SELECT count(*) FROM tenant_rows.work WHERE worker IS NOT NULL AND public.spy(worker) = 'somebody insula_owner pg_catalog, pg_temp';
RESET enable_seqscan;
DROP INDEX tenant_rows.spied;  -- its expression depends on the caller
SELECT pg_temp.check_indexes();
DROP INDEX tenant_rows.leases, tenant_rows.covering;
-- Indexes that are made anew, and pages that are cleaned, in between.
SELECT count(*) FROM insula.claim('w', max_tasks => 20);
REINDEX TABLE tenant_rows.work;
VACUUM (ANALYZE, INDEX_CLEANUP on) tenant_rows.work;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 20);
REINDEX TABLE CONCURRENTLY tenant_rows.work;
VACUUM FULL tenant_rows.work;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 20);
SELECT insula.leave('w');
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 20);
SELECT status, count(*) FROM tenant_rows.workflow_executions GROUP BY status;
SELECT pg_temp.check_indexes();

-- A transaction that may not write.
BEGIN READ ONLY;
SAVEPOINT a;
SELECT insula.claim('w');
ROLLBACK TO a;
SELECT insula.complete(:e, :lease);
ROLLBACK;

-- A publication whose subscribers could not tell which row is meant.
SELECT insula.submit('job') > 0 AS put;
CREATE PUBLICATION theirs FOR TABLE tenant_rows.work;
ALTER TABLE tenant_rows.work REPLICA IDENTITY NOTHING;
SELECT insula.submit('job') > 0 AS put;
SELECT count(*) FROM insula.claim('w');
ALTER TABLE tenant_rows.work REPLICA IDENTITY DEFAULT;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 2);
DROP PUBLICATION theirs;

-- A table that is not as it was made.
ALTER TABLE tenant_rows.work RENAME COLUMN attempt TO tries;
SELECT insula.claim('w');
ALTER TABLE tenant_rows.work RENAME COLUMN tries TO attempt;
ALTER INDEX tenant_rows.work_queue RENAME TO other;
CREATE INDEX work_queue ON tenant_rows.work (due, lane) WHERE lane IS NOT NULL;
SELECT insula.claim('w');
DROP INDEX tenant_rows.work_queue;
ALTER INDEX tenant_rows.other RENAME TO work_queue;
SELECT count(*) FROM insula.claim('w', max_tasks => 1);

DROP EXTENSION amcheck;
DROP FUNCTION public.spy(text);
SELECT insula.drop_tenant('rows', drain => '0 s');
