-- drop_tenant names each object of another role that it would drop.
SET client_min_messages = warning;
SELECT count(*) FROM insula.create_tenant('going');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'going');

-- Other roles' objects that depend on its schema, or lie in it; an index is a part of the table.
CREATE SCHEMA reports;
CREATE VIEW reports.open AS SELECT execution_id, workflow FROM tenant_going.workflow_executions;
CREATE VIEW reports.count AS SELECT count(*) FROM reports.open;
CREATE MATERIALIZED VIEW reports.kept AS SELECT * FROM tenant_going.task_executions;
CREATE INDEX ON reports.kept (task_id);
CREATE FUNCTION reports.works() RETURNS SETOF tenant_going.work LANGUAGE sql AS 'SELECT * FROM tenant_going.work';
CREATE FUNCTION reports.records() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM tenant_going.record; END;
CREATE TABLE reports.snapshot (taken date, what tenant_going.work);
CREATE TABLE tenant_going.notes (note text);
CREATE FUNCTION tenant_going.note() RETURNS text LANGUAGE sql AS 'SELECT 1::text';
CREATE TABLE reports.noted (note text DEFAULT tenant_going.note());
CREATE INDEX going_by_due ON tenant_going.work (due);
ALTER DEFAULT PRIVILEGES IN SCHEMA tenant_going GRANT SELECT ON TABLES TO PUBLIC;

\set SHOW_CONTEXT never
DO $$
DECLARE lines text; hint text;
BEGIN
	PERFORM insula.drop_tenant('going', '0 s');
EXCEPTION WHEN dependent_objects_still_exist THEN
	GET STACKED DIAGNOSTICS lines = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RAISE WARNING E'% %\n%\n%', SQLSTATE, SQLERRM, lines, hint;
END $$;

-- Nothing has been done.
SELECT status FROM insula.tenants WHERE tenant = 'going';
SELECT rolcanlogin FROM pg_roles WHERE rolname = 'going_user';
SELECT insula.submit('w', tenant => 'going') > 0 AS submitted;

-- Indirect dependents are named, too.
DROP MATERIALIZED VIEW reports.kept;
DROP FUNCTION reports.works(), reports.records();
DROP TABLE reports.snapshot, reports.noted, tenant_going.notes;
DROP FUNCTION tenant_going.note();
SELECT try($$SELECT insula.drop_tenant('going', '0 s')$$);

-- The tenant's own objects elsewhere go with it; other roles' objects that depend on them do not.
CREATE SCHEMA shared_desk;
GRANT USAGE, CREATE ON SCHEMA shared_desk TO going_user;
SET ROLE going_user;
CREATE VIEW shared_desk.mine AS SELECT * FROM tenant_going.task_executions;
CREATE TABLE shared_desk.things (thing int);
RESET ROLE;
SELECT try($$SELECT insula.drop_tenant('going', '0 s')$$);
CREATE VIEW reports.of_mine AS SELECT * FROM shared_desk.mine;
SELECT try($$SELECT insula.drop_tenant('going', '0 s')$$);

-- More than can be listed.
DO $$ BEGIN FOR i IN 1..120 LOOP
	EXECUTE format('CREATE VIEW reports.many_%s AS SELECT 1 AS one FROM tenant_going.task_executions', to_char(i, 'FM000'));
END LOOP; END $$;
DO $$
DECLARE lines text;
BEGIN
	PERFORM insula.drop_tenant('going', '0 s');
EXCEPTION WHEN dependent_objects_still_exist THEN
	GET STACKED DIAGNOSTICS lines = PG_EXCEPTION_DETAIL;
	RAISE WARNING '% lines, the last: %', array_length(string_to_array(lines, E'\n'), 1), split_part(lines, E'\n', -1);
END $$;
DO $$ BEGIN FOR i IN 1..120 LOOP
	EXECUTE format('DROP VIEW reports.many_%s', to_char(i, 'FM000'));
END LOOP; END $$;

-- Unless it is said; then all of them are named.
SELECT insula.drop_tenant('going', '0 s', NULL);
SELECT insula.drop_tenant('going', '0 s', force => true);
SELECT count(*) FROM pg_roles WHERE rolname = 'going_user';
SELECT relname FROM pg_class WHERE relnamespace IN ('reports'::regnamespace, 'shared_desk'::regnamespace);
-- One without any goes as ever.
SELECT count(*) FROM insula.create_tenant('going');
SELECT insula.drop_tenant('going', '0 s', force => true);
DROP SCHEMA reports, shared_desk;

-- A schema that is not ours is refused at once.
SELECT count(*) FROM insula.create_tenant('going');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'going');
SELECT insula.submit('w', tenant => 'going') > 0 AS submitted;
SELECT count(*) FROM insula.claim('w', tenant => 'going');
ALTER SCHEMA tenant_going OWNER TO CURRENT_USER;
SELECT try($$SELECT insula.drop_tenant('going', '0 s')$$);
-- Also with force, and before it waits for a task to end or ends any session.
GRANT USAGE ON SCHEMA tenant_going TO insula_owner;
SET statement_timeout = '1min';
SELECT try($$SELECT insula.drop_tenant('going', '1 hour', force => true)$$);
RESET statement_timeout;
ALTER SCHEMA tenant_going OWNER TO insula_owner;
SELECT insula.drop_tenant('going', '0 s');

-- Ids of a sequence that is another role's are not believed: the number is not given again.
CREATE ROLE regress_keeper;
SELECT count(*) FROM insula.create_tenant('going');
SELECT tenant_no AS number FROM insula.tenant WHERE tenant = 'going' \gset
ALTER SEQUENCE tenant_going.id OWNER TO regress_keeper;
SELECT insula.drop_tenant('going', '0 s', force => true);
SELECT dropped_at, last_value FROM insula.tenant_number WHERE tenant_no = :number;
DROP ROLE regress_keeper;

-- A role that owns more than one transaction can lock is left behind, without a login.
SELECT count(*) FROM insula.create_tenant('going');
SET ROLE going_user;
SELECT count(lo_create(0)) FROM generate_series(1, 40000);
RESET ROLE;
DO $$
BEGIN
	PERFORM set_config('client_min_messages', 'error', true);
	PERFORM insula.drop_tenant('going', '0 s');
END $$;
SELECT tenant, username, rolcanlogin FROM insula.leftover_role l JOIN pg_roles r ON r.oid = l.role_oid AND r.rolname = l.role_name;
SELECT error FROM insula.reconcile(false);
DO $$ BEGIN FOR i IN 1..20 LOOP
	PERFORM lo_unlink(oid) FROM (SELECT oid FROM pg_largeobject_metadata LIMIT 2000) o;
	COMMIT;
END LOOP; END $$;
SELECT error FROM insula.reconcile(false);
SELECT count(*) FROM insula.leftover_role;
