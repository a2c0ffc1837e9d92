-- Rights: whatever default privileges say, those of a tenant and of the extension are Insula's, exactly;
-- audit names what goes beyond them or falls short of them, and reconcile mends it.
CREATE ROLE regress_bob;

-- Default privileges of insula_owner, which makes what tenants have, and of the role that creates the tenant.
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner GRANT ALL ON SCHEMAS TO regress_bob;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner GRANT SELECT ON TABLES TO regress_bob WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner REVOKE ALL ON TABLES FROM insula_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner GRANT ALL ON SEQUENCES TO regress_bob;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner GRANT ALL ON FUNCTIONS TO regress_bob;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner GRANT ALL ON TYPES TO regress_bob;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
SELECT tenant FROM insula.create_tenant('exact');
SELECT nspacl FROM pg_namespace WHERE nspname = 'tenant_exact';
SELECT relname, replace(relacl::text, 'xtm/', 'xt/') AS relacl FROM pg_class WHERE relnamespace = 'tenant_exact'::regnamespace AND relkind <> 'i' ORDER BY relname COLLATE "C";
SELECT typname, typacl FROM pg_type WHERE typnamespace = 'tenant_exact'::regnamespace AND typacl IS NOT NULL;
-- A view that is made anew.  (PostgreSQL 17 has the privilege MAINTAIN.)
DROP VIEW tenant_exact.schedules;
SELECT object, action, error FROM insula.reconcile(false) WHERE action !~ 'MAINTAIN';
SELECT replace(relacl::text, 'xtm/', 'xt/') AS relacl FROM pg_class WHERE oid = 'tenant_exact.schedules'::regclass;
SELECT count(*) AS commented FROM pg_description WHERE objoid = 'tenant_exact.schedules'::regclass;
SELECT * FROM insula.audit() WHERE level <> 'advice';
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner REVOKE ALL ON SCHEMAS FROM regress_bob;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner REVOKE ALL ON TABLES FROM PUBLIC, regress_bob;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner GRANT ALL ON TABLES TO insula_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner REVOKE ALL ON SEQUENCES FROM regress_bob;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner REVOKE ALL ON FUNCTIONS FROM regress_bob;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_owner REVOKE ALL ON TYPES FROM regress_bob;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC;

-- More and less than ours, on what is the extension's and the tenant's.
GRANT CREATE ON SCHEMA insula TO regress_bob;
GRANT EXECUTE ON FUNCTION insula.audit TO PUBLIC;
GRANT EXECUTE ON FUNCTION insula.current_tenant TO insula_tenant WITH GRANT OPTION;
GRANT SELECT ON insula.tenant TO regress_bob;
GRANT UPDATE (tenant) ON insula.tenant TO regress_bob;
GRANT USAGE ON TYPE insula.claimed_task TO regress_bob;
REVOKE EXECUTE ON FUNCTION insula.submit FROM insula_tenant;
REVOKE SELECT ON insula.tenants FROM insula_admin;
REVOKE INSERT ON insula.admin_log FROM insula_owner;
GRANT USAGE ON SEQUENCE tenant_exact.id TO regress_bob;
GRANT SELECT ON tenant_exact.work TO regress_bob WITH GRANT OPTION;
GRANT USAGE ON SCHEMA tenant_exact TO regress_bob;
SET ROLE regress_bob;
GRANT SELECT ON tenant_exact.work TO exact_user;
RESET ROLE;
REVOKE USAGE ON SCHEMA tenant_exact FROM exact_user;
REVOKE UPDATE ON tenant_exact.work FROM insula_owner;
REVOKE insula_tenant FROM exact_user;
SELECT level, tenant, object, finding FROM insula.audit() WHERE level <> 'advice' ORDER BY tenant, object COLLATE "C", finding COLLATE "C";
SELECT tenant, action, error FROM insula.reconcile(false);
SELECT * FROM insula.audit() WHERE level <> 'advice';

-- All that the groups have, at once.
DROP OWNED BY insula_tenant, insula_admin, insula_runner;
SET ROLE exact_user;
SELECT try('SELECT insula.current_tenant()');
RESET ROLE;
SELECT finding, count(*) FROM insula.audit() WHERE level <> 'advice' GROUP BY finding ORDER BY finding COLLATE "C";
SELECT count(error) FROM insula.reconcile(false);
SELECT * FROM insula.audit() WHERE level <> 'advice';
SET ROLE exact_user;
SELECT insula.current_tenant();
RESET ROLE;

-- Objects that the group of the tenants owns, and its settings.
ALTER ROLE insula_tenant PASSWORD 'known';
ALTER ROLE insula_tenant SET search_path = pg_temp;
ALTER ROLE insula_runner SET search_path = pg_temp;
SELECT lo_create(4711);
ALTER LARGE OBJECT 4711 OWNER TO insula_tenant;
CREATE TABLE public.kept (secret text);
ALTER TABLE public.kept OWNER TO insula_tenant;
CREATE VIEW public.used AS SELECT secret FROM public.kept;
CREATE TABLE public.plain ();
ALTER TABLE public.plain OWNER TO insula_tenant;
ALTER DEFAULT PRIVILEGES FOR ROLE insula_tenant GRANT SELECT ON TABLES TO PUBLIC;
SELECT level, object, finding FROM insula.audit() WHERE level <> 'advice' ORDER BY object COLLATE "C", finding COLLATE "C";
SELECT tenant FROM insula.create_tenant('leaver');
SELECT insula.drop_tenant('leaver');
SELECT object, action, error FROM insula.reconcile() ORDER BY object COLLATE "C", action COLLATE "C";
-- An object with dependents of other roles stays; the others go.
SELECT object, action, error FROM insula.reconcile(false) ORDER BY object COLLATE "C", action COLLATE "C";
SELECT object, finding FROM insula.audit() WHERE level <> 'advice' ORDER BY object COLLATE "C", finding COLLATE "C";
DROP VIEW public.used;
SELECT object, action, error FROM insula.reconcile(false);
SELECT * FROM insula.audit() WHERE level <> 'advice';

-- A tenant's or the extension's object that a slip gave to the group is not dropped.
ALTER SCHEMA tenant_exact OWNER TO insula_tenant;
ALTER TABLE tenant_exact.record OWNER TO insula_tenant;
ALTER VIEW tenant_exact.schedules OWNER TO insula_tenant;
CREATE TABLE tenant_exact.notes (note text);
ALTER TABLE tenant_exact.notes OWNER TO insula_tenant;
ALTER FUNCTION insula.current_tenant OWNER TO insula_tenant;
ALTER TABLE insula.leftover_role OWNER TO insula_tenant;
SELECT tenant, object, action, error FROM insula.reconcile(false) ORDER BY tenant, object COLLATE "C", action COLLATE "C";
SELECT count(*) FROM pg_class WHERE relnamespace = 'tenant_exact'::regnamespace AND relkind IN ('r', 'v', 'S');
ALTER SCHEMA tenant_exact OWNER TO insula_owner;
ALTER TABLE tenant_exact.record OWNER TO insula_owner;
ALTER VIEW tenant_exact.schedules OWNER TO insula_owner;
DROP TABLE tenant_exact.notes;
ALTER FUNCTION insula.current_tenant OWNER TO insula_owner;
ALTER TABLE insula.leftover_role OWNER TO insula_owner;
SELECT count(error) FROM insula.reconcile(false);
SELECT * FROM insula.audit() WHERE level <> 'advice';

-- More than one call drops.
SELECT count(lo_create(0)) FROM generate_series(1, 1002);
DO $$ DECLARE one oid; BEGIN FOR one IN SELECT oid FROM pg_largeobject_metadata LOOP
	EXECUTE format('ALTER LARGE OBJECT %s OWNER TO insula_tenant', one);
END LOOP; END $$;
SELECT action, error, count(*) FROM insula.reconcile(false) GROUP BY 1, 2 ORDER BY 3;
SELECT action, error, count(*) FROM insula.reconcile(false) GROUP BY 1, 2 ORDER BY 3;
SELECT * FROM insula.audit() WHERE level <> 'advice';

-- Calls in our own statements are typed, so that no function of the same name is taken for ours.
CREATE FUNCTION public.trap() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION insula.merge_patch(text, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION insula.merge_patch(jsonb, text) RETURNS jsonb LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION insula.merge_patch(text, text) RETURNS jsonb LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION insula.append_patch(text, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION insula.append_patch(jsonb, text) RETURNS jsonb LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION insula.append_patch(text, text) RETURNS jsonb LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION insula.next_fires(text, text, bigint, timestamptz) RETURNS SETOF timestamptz LANGUAGE sql AS 'SELECT now() FROM public.trap()';
CREATE FUNCTION insula.next_fires(text, text, integer, text) RETURNS SETOF timestamptz LANGUAGE sql AS 'SELECT now() FROM public.trap()';
SELECT tenant FROM insula.create_tenant('typed');
SET insula.tenant = 'typed';
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "one"}, {"id": "each", "depends_on": ["one"], "for_each": {"items": "$.list"}}]}');
SELECT insula.submit('w', '{"list": [1, 2]}') AS id \gset
SELECT task, insula.defer(task_id, lease, now() + '1 hour', '{"a": 1}') FROM insula.claim('w');
UPDATE tenant_typed.work SET due = 0 WHERE lane = 100002;
SELECT task, insula.complete(task_id, lease, '{"b": 2}') FROM insula.claim('w');
SELECT task, insula.complete(task_id, lease, '{"c": 3}') FROM insula.claim('w', max_tasks => 2) ORDER BY 1;
SELECT status, final_context FROM insula.result(:id);
SELECT status, final_context FROM tenant_typed.workflow_executions;
SELECT insula.schedule('s', 'w', '@daily') > 0 AS scheduled;
SELECT name, next_fire_at IS NOT NULL AS fires FROM tenant_typed.schedules;
RESET insula.tenant;
SELECT level, object, finding FROM insula.audit() WHERE level <> 'advice' ORDER BY object COLLATE "C";
DROP FUNCTION insula.merge_patch(text, jsonb), insula.merge_patch(jsonb, text), insula.merge_patch(text, text),
	insula.append_patch(text, jsonb), insula.append_patch(jsonb, text), insula.append_patch(text, text),
	insula.next_fires(text, text, bigint, timestamptz), insula.next_fires(text, text, integer, text), public.trap();

-- An object of the extension that another role owns stays a finding: its code may be that role's.
ALTER FUNCTION insula.current_tenant OWNER TO regress_bob;
SELECT object, finding FROM insula.audit() WHERE level <> 'advice' ORDER BY object COLLATE "C", finding COLLATE "C";
ALTER FUNCTION insula.current_tenant OWNER TO insula_owner;
SELECT insula.drop_tenant(t, '0 s') FROM unnest('{exact,typed}'::text[]) t;
SELECT * FROM insula.audit() WHERE level <> 'advice';
DROP ROLE regress_bob;
