-- A worker of all tenants chooses the tenants that it serves, and the number of tasks of each.
SET client_min_messages = error;
SELECT count(insula.create_tenant(t)) FROM unnest(ARRAY['many_a', 'many_b', 'many_c']) t;
SELECT sum(insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => t)) FROM unnest(ARRAY['many_a', 'many_b', 'many_c']) t;
SELECT count(insula.submit('w', tenant => t)) FROM unnest(ARRAY['many_a', 'many_b', 'many_c']) t, generate_series(1, 10);
CREATE FUNCTION claimed(max_tasks int, per_tenant int, only_tenants text[] = NULL, except_tenants text[] = NULL) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(tenant || ' ' || n, ', ' ORDER BY tenant) FROM (
		SELECT tenant, count(*) AS n FROM insula.claim('r', max_tasks => $1, max_per_tenant => $2, only_tenants => $3, except_tenants => $4)
		WHERE tenant LIKE 'many_%' GROUP BY tenant) c
$$;
SELECT claimed(100, 2);
SELECT claimed(100, 3, except_tenants => ARRAY['many_b', 'nobody_here']);
SELECT claimed(100, 1, only_tenants => ARRAY['many_b', 'many_c'], except_tenants => ARRAY['many_c']);
SELECT claimed(2, NULL, only_tenants => ARRAY['many_c']);
SELECT claimed(100, NULL, only_tenants => ARRAY['nobody_here']);
SELECT claimed(100, NULL, except_tenants => ARRAY['many_c']);
CALL insula.wait_for_work('0 s', only_tenants => ARRAY['many_c']);
CALL insula.wait_for_work('0 s', only_tenants => ARRAY['many_a', 'many_b']);
CALL insula.wait_for_work('0 s', only_tenants => ARRAY['many_a', 'many_c'], except_tenants => ARRAY['many_c']);
CALL insula.claim_when_ready('0 s', 'r', max_tasks => 100, max_per_tenant => 1, only_tenants => ARRAY['many_a', 'many_c']) \gset
SELECT tenant, count(*) FROM unnest(insula.read_claimed(:'claimed')) GROUP BY tenant ORDER BY tenant;
CALL insula.claim_when_ready('0 s', 'r', only_tenants => ARRAY['many_c'], except_tenants => ARRAY['many_c']) \gset
SELECT count(*) FROM unnest(insula.read_claimed(:'claimed'));
SELECT try($$SELECT count(*) FROM insula.claim('r', max_per_tenant => 0)$$);
SELECT try($$SELECT count(*) FROM insula.claim('r', except_tenants => ARRAY[NULL])$$);
SELECT try($$SELECT count(*) FROM insula.claim('r', tenant => 'many_a', max_per_tenant => 1)$$);
SELECT try($$SELECT count(*) FROM insula.claim('r', tenant => 'many_a', only_tenants => '{}')$$);
SELECT insula.leave('r');
-- If a tenant's part of a claim fails, none of its tasks is claimed or handed out.
SELECT insula.set_tenant_limits('many_b', rate_per_second => 1000);
ALTER TABLE tenant_many_b.record ADD CHECK (kind <> 'r');
SELECT claimed(100, 2);
CALL insula.claim_when_ready('0 s', 'r', max_tasks => 100, max_per_tenant => 2) \gset
SELECT tenant, count(*) FROM unnest(insula.read_claimed(:'claimed')) WHERE tenant LIKE 'many_%' GROUP BY tenant ORDER BY tenant;
SELECT count(*) FROM tenant_many_b.task_executions WHERE status = 'running';
SELECT insula.leave('r');
ALTER TABLE tenant_many_b.record DROP CONSTRAINT record_kind_check;
SELECT insula.set_tenant_limits('many_b', rate_per_second => -1);
-- A call hands out one context that is longer than a tenant's share of it, of each tenant in its turn.
SELECT count(c) FROM unnest(ARRAY['many_a', 'many_b', 'many_c']) t, insula.cancel_executions(dry_run => false, tenant => t) c;
SELECT count(insula.submit('w', jsonb_build_object('x', repeat('x', 5000)), tenant => t)) FROM unnest(ARRAY['many_a', 'many_b']) t, generate_series(1, 2);
SELECT count(insula.submit('w', tenant => 'many_c')) FROM generate_series(1, 4);
SET insula.visit_bytes = '1kB';
CREATE TEMP TABLE calls AS SELECT n, claimed(3, NULL) FROM generate_series(1, 4) n;
SELECT substr(claimed, 7) AS claimed, left(claimed, 6) <> lag(left(claimed, 6)) OVER (ORDER BY n) AS of_the_other FROM calls ORDER BY n;
RESET insula.visit_bytes;
SELECT count(insula.drop_tenant(t, '0 s')) FROM unnest(ARRAY['many_a', 'many_b', 'many_c']) t;
DROP FUNCTION claimed;
