-- Tenants and executions for make check-ui: some done, some failed, some stuck, each for a reason of its own, and one
-- tenant whose every text would be markup or code, were it not shown as text.
\set ON_ERROR_STOP on
CREATE EXTENSION insula;
SELECT insula.create_tenant(name) FROM unnest('{acme,globex,hooli,initech,umbrella,mallory,quiet_one}'::text[]) name;
SELECT insula.set_tenant_limits('acme', weight => 4), insula.set_tenant_limits('globex', max_running => 2, rate_per_second => 50), insula.set_tenant_limits('hooli', weight => 2, max_queued => 100000, retain => '30 days');

SELECT insula.register_workflow(d, tenant => t) FROM unnest('{acme,globex,hooli,initech,mallory,umbrella}'::text[]) t, (VALUES
	('{"name": "invoice", "description": "Renders an invoice and sends it", "tasks": [{"id": "render", "retry": {"max_attempts": 2, "initial_delay": "1 h"}}, {"id": "charge"}, {"id": "send", "depends_on": ["render", "charge"]}]}'::jsonb),
	('{"name": "customer_processing", "description": "The tutorial''s own", "tasks": [{"id": "fetch"}, {"id": "validate", "depends_on": ["fetch"]}, {"id": "enrich", "depends_on": ["fetch"]}, {"id": "score", "depends_on": ["enrich"]}, {"id": "merge", "depends_on": ["validate", "score"], "retry": {"max_attempts": 3, "initial_delay": "0 s", "jitter": false}}, {"id": "charge_card", "depends_on": ["merge"], "retry": {"max_attempts": 1}}, {"id": "notify", "depends_on": ["charge_card"]}]}'),
	('{"name": "etl", "tasks": [{"id": "list"}, {"id": "load", "depends_on": ["list"], "for_each": {"items": "$.files", "as": "file"}}, {"id": "report", "depends_on": ["load"]}]}'),
	('{"name": "approval", "tasks": [{"id": "ask"}, {"id": "book", "depends_on": ["ask"]}]}')) w(d);

-- History.
SELECT insula.submit_many('invoice', array_agg(jsonb_build_object('customer', i)), tenant => t) IS NOT NULL FROM unnest('{acme,globex,hooli}'::text[]) t, generate_series(1, 60) i GROUP BY t;
SELECT count(insula.complete(task_id, lease, jsonb_build_object(task, 'done'))) FROM insula.claim('worker-1', max_tasks => 500);
SELECT count(insula.complete(task_id, lease, jsonb_build_object(task, 'done'))) FROM insula.claim('worker-2', max_tasks => 500);

-- Failed, with attempts, contexts and numbers that a double does not hold.
SET insula.tenant = 'acme';
CREATE TEMP TABLE named (name text, id bigint);
INSERT INTO named SELECT 'failed', insula.submit('customer_processing', '{"customer": 9007199254740993, "name": "Ada", "address": {"city": "Berlin", "zip": "10115"}, "tags": ["new", "eu"], "draft": true}');
SELECT insula.complete(task_id, lease, '{"orders": [{"id": 18446744073709551617, "total": 12.50}, {"id": 8, "total": 3}]}') FROM insula.claim('worker-1', ARRAY['customer_processing.fetch']);
SELECT pg_sleep(0.12);
SELECT insula.complete(task_id, lease, '{"valid": true, "draft": null}') FROM insula.claim('worker-2', ARRAY['customer_processing.validate']);
SELECT task_id, lease FROM insula.claim('worker-1', ARRAY['customer_processing.enrich']) \gset
SELECT pg_sleep(0.2);
SELECT insula.complete(:task_id, :lease, '{"address": {"country": "DE", "city": "Berlin-Mitte"}}');
SELECT insula.complete(task_id, lease, '{"score": 0.1234567890123456789}') FROM insula.claim('worker-3', ARRAY['customer_processing.score']);
SELECT task_id, lease FROM insula.claim('worker-1', ARRAY['customer_processing.merge']) \gset
SELECT pg_sleep(0.05);
SELECT insula.fail(:task_id, :lease, 'could not serialize access due to concurrent update');
SELECT task_id, lease FROM insula.claim('worker-2', ARRAY['customer_processing.merge']) \gset
SELECT pg_sleep(0.08);
SELECT insula.complete(:task_id, :lease, '{"merged": {"rows": 2}}');
SELECT task_id, lease FROM insula.claim('worker-1', ARRAY['customer_processing.charge_card']) \gset
SELECT pg_sleep(0.15);
SELECT insula.fail(:task_id, :lease, E'payment gateway answered 502 Bad Gateway after 3 tries\n  at POST https://pay.example.com/v2/charges\n  request 7f3c9a', false);
-- More of one kind, to be grouped.
SELECT count(insula.submit('customer_processing', jsonb_build_object('customer', i))) FROM generate_series(1, 14) i;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('worker-1', ARRAY['customer_processing.fetch'], max_tasks => 50);
SELECT count(insula.fail(task_id, lease, 'customer ' || task_id || ' has no address', false)) FROM insula.claim('worker-2', ARRAY['customer_processing.validate'], max_tasks => 9);
-- Each of the elements has a state of its own.
INSERT INTO named SELECT 'elements', insula.submit('etl', '{"files": ["a.csv", "b.csv", "c.csv", "d.csv"]}');
SELECT insula.complete(task_id, lease) FROM insula.claim('worker-1', ARRAY['etl.list']);
SELECT insula.complete(task_id, lease, '{"rows": 10}') FROM insula.claim('worker-1', ARRAY['etl.load'], max_tasks => 2);
-- Waits for a person, is deferred, is paused, is cancelled, starts later, is tried again later.
INSERT INTO named SELECT 'waits', insula.submit('approval', '{"amount": 120}');
SELECT insula.wait_event(task_id, lease, 'approved', '2 days') FROM insula.claim('worker-1', ARRAY['approval.ask']);
INSERT INTO named SELECT 'deferred', insula.submit('approval', '{"amount": 7}');
SELECT insula.defer(task_id, lease, now() + interval '3 h', '{"half": "done"}') FROM insula.claim('worker-1', ARRAY['approval.ask']);
INSERT INTO named SELECT 'told', insula.submit('approval', '{"amount": 9}');
SELECT insula.save_progress(task_id, lease, NULL, 0.25, 'page 1 of 4') FROM insula.claim('worker-1', ARRAY['approval.ask'], lease_for => '1 day');
INSERT INTO named SELECT 'paused', insula.submit('etl', '{"files": ["x.csv"]}');
SELECT insula.pause(id, 'until the bank answers') FROM named WHERE name = 'paused';
INSERT INTO named SELECT 'cancelled', insula.submit('etl', '{"files": []}');
SELECT insula.cancel(id, 'asked for twice') FROM named WHERE name = 'cancelled';
INSERT INTO named SELECT 'later', insula.submit('invoice', '{"customer": 1}', run_at => now() + interval '1 day');
INSERT INTO named SELECT 'again', insula.submit('invoice', '{"customer": 2}', priority => 9);
SELECT insula.fail(task_id, lease, 'printer 12 is on fire') FROM insula.claim('worker-1', ARRAY['invoice.render']);
-- Stuck: no worker takes what it waits for; a workflow that is paused; a tenant at its limit; a suspended one.
INSERT INTO named SELECT 'stuck', insula.submit('etl', '{"files": ["stuck.csv"], "who": "nobody"}');
SELECT insula.register_workflow('{"name": "nightly_export", "tasks": [{"id": "export"}]}');
INSERT INTO named SELECT 'held', insula.submit('nightly_export');
SELECT insula.pause_workflow('nightly_export');
SET insula.tenant = 'globex';
SELECT count(insula.submit('etl', '{"files": ["g.csv"]}')) FROM generate_series(1, 5);
SELECT count(*) FROM insula.claim('worker-7', ARRAY['etl.list'], max_tasks => 2, lease_for => '20 min');
SET insula.tenant = '';
SELECT insula.submit('invoice', '{}', tenant => 'umbrella') > 0;
SELECT insula.suspend_tenant('umbrella');

-- Runs, on a worker that will not come back.
SELECT insula.submit('customer_processing', '{"customer": 1}', tenant => 'initech') > 0;
SELECT count(*) FROM insula.claim('worker-9', ARRAY['customer_processing.fetch'], lease_for => '30 min', tenant => 'initech');

-- Waits for a child, which no worker takes.
SET insula.tenant = 'initech';
SELECT insula.register_workflow('{"name": "order", "description": "Reserves, imports and ships", "tasks": [{"id": "reserve"}, {"id": "import", "depends_on": ["reserve"]}, {"id": "ship", "depends_on": ["import"]}]}');
INSERT INTO named SELECT 'family', insula.submit('order', '{"order": 4711}');
SELECT insula.complete(task_id, lease, '{"reserved": true}') FROM insula.claim('worker-1', ARRAY['order.reserve']);
INSERT INTO named SELECT 'child', insula.submit_child(task_id, lease, 'etl', '{"files": ["4711.csv"]}') FROM insula.claim('worker-1', ARRAY['order.import']);

-- What a hostile tenant would write.
SET insula.tenant = 'mallory';
INSERT INTO named SELECT 'hostile', insula.submit('customer_processing', jsonb_build_object('<img src=x onerror="window.hacked=1">', '<script>window.hacked=1</script>', '__proto__', jsonb_build_object('hacked', true), 'constructor', 'x', 'html', '"><svg onload=window.hacked=1>', 'url', 'javascript:window.hacked=1', 'type', 'b', 'props', '{"dangerouslySetInnerHTML": 1}', 'rtl', U&'\202Etxt.exe', 'long', repeat('A', 5000)));
SELECT insula.complete(task_id, lease, '{"<b>bold</b>": {"dangerouslySetInnerHTML": {"__html": "<img src=x onerror=window.hacked=1>"}}}') FROM insula.claim('<img src=x onerror="window.hacked=1">', ARRAY['customer_processing.fetch']);
SELECT insula.fail(task_id, lease, '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> ' || repeat('wide', 300), false) FROM insula.claim('"><script>window.hacked=1</script>', ARRAY['customer_processing.validate']);
SET insula.tenant = '';

SELECT insula.schedule('nightly', 'invoice', '0 3 * * *', 'Europe/Berlin', '{"customer": 7}', tenant => 'acme') > 0, insula.schedule('hourly_etl', 'etl', '@hourly', context => '{"files": ["h.csv"]}', tenant => 'acme') > 0,
	insula.schedule('every_second', 'invoice', '* * * * * *', tenant => 'hooli') > 0, insula.schedule('weekly', 'approval', '0 9 * * MON', 'America/New_York', tenant => 'globex') > 0;
SELECT insula.pause_schedule('hourly_etl', 'acme');
-- For the tests: how each is called, and its id.
COPY (SELECT json_object_agg(name, id::text) FROM named) TO STDOUT;
