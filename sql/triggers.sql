-- Triggers: executions that the application starts by firing a name, once at a time.
SET client_min_messages = warning;
SELECT count(*) FROM insula.create_tenant('trig_one', login => false);
SELECT count(*) FROM insula.create_tenant('trig_two', login => false);
SET insula.tenant = 'trig_one';
SELECT insula.register_workflow('{"name": "scan", "tasks": [{"id": "a"}]}'),
	insula.register_workflow('{"name": "index", "params": {"path": {"type": "string", "required": true}}, "tasks": [{"id": "a"}]}');

-- One trigger starts every workflow that subscribes.
SELECT insula.create_trigger('uploaded', 'scan', '{"deep": true, "path": "/"}');
SELECT insula.create_trigger('uploaded', 'index', allow_concurrent => true);
SELECT insula.create_trigger('uploaded', 'scan', '{"deep": false, "path": "/"}');
SELECT * FROM insula.triggers();
SELECT workflow, fresh FROM insula.fire_trigger('uploaded', '{"path": "/a", "size": 1}');
SELECT workflow, context - 'triggered_at' AS context, context ->> 'triggered_at' ~ '^\d{4}-\d\d-\d\dT[0-9:.]+\+00:00$' AS utc
FROM tenant_trig_one.workflow_executions ORDER BY workflow;

-- The same fire starts nothing while what it has started runs; the order of keys does not
-- matter, another payload or key does.
SELECT workflow, fresh FROM insula.fire_trigger('uploaded', '{"size": 1, "path": "/a"}');
SELECT workflow, fresh FROM insula.fire_trigger('uploaded', '{"size": 2, "path": "/a"}');
-- Payloads are the same when they are equal as jsonb, however their numbers are written.
SELECT n, workflow, fresh FROM unnest(ARRAY['2.0', '20e-1', '0.02e2', '2.5', '0', '-0', '0.000', '20', '2e1', '"2"', '[2]', '[2.00]', '[[2]]', '-2', '2000000000000000000000', '2e21', '1e-30', '0.0000000000000000000000000000010'])
	WITH ORDINALITY u(n, o), insula.fire_trigger('uploaded', format('{"path": "/a", "size": %s}', n)::jsonb) WHERE workflow = 'scan' ORDER BY o;
SET bytea_output = escape;
SELECT workflow, fresh FROM insula.fire_trigger('uploaded', '{"size": 2e0, "path": "/a"}') WHERE workflow = 'scan';
RESET bytea_output;
-- Payloads whose parts only look alike when they are joined are not the same.
SELECT workflow, fresh FROM unnest(ARRAY['{"path": "/b", "a": "b", "c": ""}', '{"path": "/b", "a": "bc"}', '{"path": "/b", "a": ["b", "c"]}', '{"path": "/b", "a": {"b": "c"}}', '{"path": "/b", "a": null}', '{"path": "/b", "a": false}', '{"path": "/b", "a": true}'])
	WITH ORDINALITY u(p, o), insula.fire_trigger('uploaded', p::jsonb) WHERE workflow = 'scan' ORDER BY o;
SELECT workflow, fresh FROM insula.fire_trigger('uploaded', '{"size": 3, "path": "/a"}', 'mine');
SELECT workflow, fresh FROM insula.fire_trigger('uploaded', '{"size": 4, "path": "/a"}', 'mine');
SELECT count(*) FROM tenant_trig_one.workflow_executions WHERE workflow = 'scan';

-- Once it has ended, the fire starts another.
SELECT count(*) FROM insula.claim('w', ARRAY['scan.a'], 100) c, insula.complete(c.task_id, c.lease);
SELECT workflow, fresh FROM insula.fire_trigger('uploaded', '{"size": 1, "path": "/a"}') WHERE workflow = 'scan';
SELECT workflow, fresh FROM insula.fire_trigger('uploaded', '{"size": 1, "path": "/a"}') WHERE workflow = 'scan';
SELECT count(*) FROM tenant_trig_one.workflow_executions WHERE workflow = 'scan';

-- All or nothing.
SELECT count(*) AS before FROM tenant_trig_one.workflow_executions \gset
SELECT insula.create_trigger('renamed', 'scan'), insula.create_trigger('renamed', 'index');
SELECT * FROM insula.fire_trigger('renamed');
SELECT count(*) = :before AS nothing_done FROM tenant_trig_one.workflow_executions;

-- A key that is removed with its execution can be fired again.
SELECT count(*) > 0 FROM insula.cancel_executions(dry_run => false);
SELECT count(*) > 0 FROM insula.delete_executions(dry_run => false);
SELECT workflow, fresh FROM insula.fire_trigger('uploaded', '{"size": 1, "path": "/a"}');

SELECT insula.drop_trigger('uploaded', 'index'), insula.drop_trigger('uploaded', 'index');
SELECT name, workflow FROM insula.triggers();
SELECT insula.drop_trigger('renamed'), insula.drop_trigger('renamed');

-- Errors.
\set VERBOSITY sqlstate
SELECT insula.create_trigger('no.dot', 'scan');
SELECT insula.create_trigger('t', 'nowhere');
SELECT insula.create_trigger(NULL, 'scan');
SELECT insula.create_trigger('t', NULL);
SELECT insula.create_trigger('t', 'scan', NULL);
SELECT insula.create_trigger('t', 'scan', '[]');
SELECT insula.create_trigger('t', 'scan', '{}', NULL);
SELECT insula.fire_trigger('nowhere');
SELECT insula.fire_trigger('uploaded', '1');
SELECT insula.fire_trigger('uploaded', NULL);
SELECT insula.fire_trigger('uploaded', '{}', repeat('x', 256));
SELECT insula.fire_trigger('uploaded', tenant => 'trig_two');
SELECT insula.fire_trigger('uploaded', tenant => 'nobody');
SELECT insula.drop_trigger(NULL);
\set VERBOSITY default

SELECT insula.drop_tenant('trig_one', '0'), insula.drop_tenant('trig_two', '0');
