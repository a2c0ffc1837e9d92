-- Catalogs that are closed to other roles stop neither a tenant nor a superuser.
SELECT tenant FROM insula.create_tenant('closed');
SET client_min_messages = warning;
DO $$
DECLARE catalog text;
BEGIN
	FOR catalog IN SELECT oid::regclass FROM pg_class
		WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') AND has_table_privilege('closed_user', oid, 'SELECT') LOOP
		EXECUTE format('REVOKE SELECT ON %s FROM PUBLIC', catalog);
	END LOOP;
END $$;
\connect - closed_user
SELECT count(*) FROM pg_extension;
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a", "for_each": {"items": "$.list"}}]}');
SELECT insula.submit('w', '{"list": [1]}') AS id \gset
SELECT insula.schedule('s', 'w', '@daily') > 0 AS scheduled;
SELECT task, insula.complete(task_id, lease, '{"b": 2}') FROM insula.claim('w');
SELECT status, final_context FROM insula.result(:id);
SELECT status FROM tenant_closed.workflow_executions;
SELECT status FROM tenant_closed.schedules;
\connect - postgres
SET client_min_messages = warning;
SELECT * FROM insula.audit() WHERE level <> 'advice';
DROP VIEW tenant_closed.schedules;
ALTER TABLE tenant_closed.work OWNER TO postgres;
REVOKE SELECT ON tenant_closed.task_executions FROM closed_user;
SELECT object, finding FROM insula.audit() WHERE level <> 'advice' ORDER BY object COLLATE "C", finding COLLATE "C";
SELECT object, action, error FROM insula.reconcile(false);
SELECT * FROM insula.audit() WHERE level <> 'advice';
SELECT count(*) > 0 AS listed FROM insula.harden();
SELECT count(*) > 0 AS listed FROM insula.capacity();
SELECT count(*) FROM insula.health() WHERE object <> 'scheduler';
SELECT tenant FROM insula.tenant_activity WHERE tenant = 'closed';
SELECT value FROM insula.status() WHERE item = 'version';
SELECT tenant FROM insula.create_tenant('closed_too');
SELECT insula.drop_tenant(t, '0 s') FROM unnest('{closed,closed_too}'::text[]) t;
-- The catalogs are open again.
DO $$
DECLARE catalog text;
BEGIN
	FOR catalog IN SELECT i.objoid::regclass FROM pg_init_privs i JOIN pg_class c ON c.oid = i.objoid, LATERAL aclexplode(i.initprivs) a
		WHERE i.classoid = 'pg_class'::regclass AND i.objsubid = 0 AND c.relnamespace = 'pg_catalog'::regnamespace
			AND a.grantee = 0 AND a.privilege_type = 'SELECT' LOOP
		EXECUTE format('GRANT SELECT ON %s TO PUBLIC', catalog);
	END LOOP;
END $$;
SELECT has_table_privilege('insula_tenant', 'pg_extension', 'SELECT');
