-- A database has 131071 tenant numbers.  When all have been given, those of dropped tenants are given again.
SET client_min_messages = error;
SELECT count(*) FROM (SELECT insula.create_tenant(t) FROM unnest(ARRAY['first', 'second', 'third']) t) c;
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => t) FROM unnest(ARRAY['first', 'second', 'third']) t;
SELECT tenant_no AS first_no FROM insula.tenant WHERE tenant = 'first' \gset
SELECT tenant_no AS second_no FROM insula.tenant WHERE tenant = 'second' \gset

-- Three executions of the first: one has ended, one runs, one waits.  Their ids and the lease are kept by its client.
SELECT insula.set_tenant_limits('first', max_running => 1);
SELECT insula.submit('w', tenant => 'first') AS ended \gset
SELECT insula.submit('w', tenant => 'first') AS running \gset
SELECT insula.submit('w', tenant => 'first') AS waiting \gset
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', tenant => 'first');
SELECT lease FROM insula.claim('w', tenant => 'first') \gset
SELECT ready, running FROM insula.tenant_activity WHERE tenant = 'first';

-- Nearly all numbers have been given: the few others are found.
UPDATE insula.tenant_number SET dropped_at = NULL;
INSERT INTO insula.tenant_number SELECT n FROM generate_series(1, 131071) n ON CONFLICT DO NOTHING;
DELETE FROM insula.tenant_number WHERE tenant_no = (SELECT max(tenant_no) FROM insula.tenant_number WHERE tenant_no NOT IN (SELECT tenant_no FROM insula.tenant));
SELECT tenant FROM insula.create_tenant('last');
SELECT used = available AS all_given, advice FROM insula.capacity() WHERE item = 'tenant numbers';
SELECT level, finding FROM insula.health() WHERE object = 'tenant numbers';
SELECT try($$SELECT insula.create_tenant('none_left')$$);

-- The one dropped first is used again first.
SELECT insula.drop_tenant('first', '0 s'), insula.drop_tenant('second');
SELECT available - used AS free FROM insula.capacity() WHERE item = 'tenant numbers';
BEGIN;
SELECT tenant FROM insula.create_tenant('fourth');
SELECT tenant_no = :first_no AS again FROM insula.tenant WHERE tenant = 'fourth';
ROLLBACK;
SELECT tenant FROM insula.create_tenant('fourth');
SELECT tenant_no = :first_no AS again FROM insula.tenant WHERE tenant = 'fourth';
-- It starts empty, and what the first one's client asks for does not exist.
SELECT ready, delayed, running, waiting FROM insula.tenant_activity WHERE tenant = 'fourth';
SELECT max_running IS NULL AS without_limit FROM insula.tenants WHERE tenant = 'fourth';
SELECT insula.register_workflow('{"name": "other", "tasks": [{"id": "b"}]}', tenant => 'fourth');
SELECT insula.submit('other', '{"n": 1}', tenant => 'fourth') AS a, insula.submit('other', '{"n": 2}', tenant => 'fourth') AS b,
	insula.submit('other', '{"n": 3}', tenant => 'fourth') AS c \gset
SELECT :a > :waiting AS a, :b > :waiting AS b, :c > :waiting AS c;
SELECT try(format($$SELECT insula.result(%s)$$, id)) ~ '^IS003' AS unknown FROM unnest(ARRAY[:ended, :running, :waiting]) id;
SELECT try(format($$SELECT insula.cancel(%s)$$, :waiting)) ~ '^IS003' AS unknown;
SELECT insula.complete(:running, :lease), insula.fail(:running, :lease, 'no'), insula.defer(:running, :lease, now());
SELECT reason FROM insula.heartbeat(ARRAY[:running]::bigint[], ARRAY[:lease]::bigint[]);
SELECT workflow, task, context, insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 10, tenant => 'fourth') ORDER BY execution_id;
SELECT ready, running FROM insula.tenant_activity WHERE tenant = 'fourth';

-- One that was never used does not lose how far the ids of those before it went.
SELECT insula.drop_tenant('fourth');
SELECT tenant FROM insula.create_tenant('fifth');
SELECT tenant_no = :second_no AS again FROM insula.tenant WHERE tenant = 'fifth';
SELECT tenant FROM insula.create_tenant('sixth');
SELECT insula.drop_tenant('sixth');
SELECT tenant FROM insula.create_tenant('seventh');
SELECT tenant_no = :first_no AS again FROM insula.tenant WHERE tenant = 'seventh';
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'seventh');
SELECT insula.submit('w', tenant => 'seventh') > :c AS later;
-- A tenant whose sequence is lost keeps its number from others.
DROP SEQUENCE tenant_seventh.id;
SELECT insula.drop_tenant('seventh');
SELECT try($$SELECT insula.create_tenant('none_left')$$) ~ '^54000' AS none_left;

SELECT insula.drop_tenant(t) FROM unnest(ARRAY['third', 'fifth', 'last']) t;
DELETE FROM insula.tenant_number WHERE tenant_no NOT IN (SELECT tenant_no FROM insula.tenant);
