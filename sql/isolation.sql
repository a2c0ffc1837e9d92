-- The reach of a tenant that logs in with its password.
SELECT tenant FROM insula.create_tenant('iso_one');
SELECT tenant FROM insula.create_tenant('iso_two');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => t) FROM unnest(ARRAY['iso_one', 'iso_two']) t;
SELECT insula.submit('w', '{"secret": 2}', tenant => 'iso_two') > 0 AS submitted;
\connect - iso_one_user
SELECT try($$SELECT * FROM tenant_iso_two.task_executions$$);
SELECT try($$SELECT * FROM tenant_iso_two.work$$);
SELECT try($$SELECT * FROM tenant_iso_one.work$$);
SELECT try($$SELECT * FROM tenant_iso_one.record$$);
SELECT try($$SELECT nextval('tenant_iso_one.id')$$);
SELECT try($$INSERT INTO tenant_iso_one.task_executions (task) VALUES ('x')$$);
SELECT try($$DELETE FROM tenant_iso_one.workflow_executions$$);
SELECT try($$CREATE TABLE tenant_iso_one.mine (x int)$$);
SELECT try($$CREATE TRIGGER t BEFORE INSERT ON tenant_iso_one.work EXECUTE FUNCTION suppress_redundant_updates_trigger()$$);
SELECT try($$CREATE RULE r AS ON INSERT TO tenant_iso_one.work DO NOTHING$$);
SELECT try($$ALTER TABLE tenant_iso_one.work OWNER TO iso_one_user$$);
SELECT try($$ALTER VIEW tenant_iso_one.task_executions RENAME TO x$$);
SELECT try($$LOCK TABLE tenant_iso_one.work$$);
SELECT try($$TRUNCATE tenant_iso_one.work$$);
SELECT try($$GRANT USAGE ON SCHEMA tenant_iso_one TO iso_two_user$$);
SELECT try('SET ROLE insula_owner');
SELECT try('SET ROLE iso_two_user');
SELECT try($$SELECT * FROM insula.tenant$$);
SELECT try($$SELECT insula.status()$$);
SELECT try($$SELECT * FROM insula.create_tenant('mine_too')$$);
SELECT try($$SELECT insula.rotate_password('iso_two')$$);
SELECT try($$SELECT count(*) FROM insula.claim('w', max_tasks => 100)$$);
-- Objects in the tenant's temporary schema or search_path are not used.
CREATE TEMP TABLE tenant (tenant_no int, tenant text);
CREATE FUNCTION pg_temp.append_patch(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"trapped": true}'::jsonb $$;
SET search_path = pg_temp, tenant_iso_one, public;
SET enable_indexscan = off;
SET insula.tenant = '';
SELECT insula.submit('w', '{"n": 1}') > 0 AS submitted;
SELECT context, insula.complete(task_id, lease, '{"m": 1}') FROM insula.claim('w');
SELECT final_context FROM tenant_iso_one.workflow_executions;
SHOW search_path;
SELECT current_user;
-- An error inside leaves the caller's user and settings as they were.
SELECT try($$SELECT insula.submit('nope')$$);
SELECT current_user;
SHOW search_path;
\connect - postgres
RESET search_path;
RESET enable_indexscan;

-- Relations that have been tampered with are not used.
CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE TRIGGER trap BEFORE INSERT ON tenant_iso_one.work FOR EACH ROW EXECUTE FUNCTION trap();
SELECT insula.submit('w', tenant => 'iso_one');
DROP TRIGGER trap ON tenant_iso_one.work;
SELECT insula.submit('w', tenant => 'iso_one') > 0 AS submitted;
ALTER TABLE tenant_iso_one.record ENABLE ROW LEVEL SECURITY;
SELECT insula.submit('w', tenant => 'iso_one');
ALTER TABLE tenant_iso_one.record DISABLE ROW LEVEL SECURITY;
CREATE ROLE regress_owner;
ALTER TABLE tenant_iso_one.work OWNER TO regress_owner;
SELECT insula.submit('w', tenant => 'iso_one');
ALTER TABLE tenant_iso_one.work OWNER TO insula_owner;
DROP ROLE regress_owner;
SELECT insula.submit('w', tenant => 'iso_one') > 0 AS submitted;
DROP FUNCTION trap;
SELECT insula.drop_tenant('iso_one', '0 s'), insula.drop_tenant('iso_two', '0 s');
