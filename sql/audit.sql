-- audit: silent on a healthy database but for advice; names everything that was tampered with.
SELECT tenant FROM insula.create_tenant('sound');
SELECT tenant FROM insula.create_tenant('unsound');
SELECT tenant FROM insula.create_tenant('roleless', login => false);
SELECT tenant FROM insula.create_tenant('asleep');
SELECT insula.suspend_tenant('asleep');
CREATE ROLE regress_app;
GRANT sound_user TO regress_app;
SELECT * FROM insula.audit() WHERE level <> 'advice';
SELECT level, object, finding FROM insula.audit() WHERE object <> 'database ' || quote_ident(current_database()) ORDER BY 1, 2, 3;

CREATE FUNCTION tenant_unsound.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t BEFORE INSERT ON tenant_unsound.work FOR EACH ROW EXECUTE FUNCTION tenant_unsound.f();
CREATE RULE r AS ON DELETE TO tenant_unsound.record DO INSTEAD NOTHING;
ALTER TABLE tenant_unsound.record ENABLE ROW LEVEL SECURITY;
CREATE TABLE tenant_unsound.child () INHERITS (tenant_unsound.work);
GRANT CREATE ON SCHEMA tenant_unsound TO unsound_user;
GRANT SELECT ON tenant_unsound.work TO PUBLIC;
GRANT SELECT (input) ON tenant_unsound.work TO sound_user;
GRANT SELECT ON tenant_unsound.task_executions TO unsound_user WITH GRANT OPTION;
REVOKE SELECT ON tenant_unsound.workflow_executions FROM unsound_user;
ALTER VIEW tenant_unsound.execution_events OWNER TO regress_app;
ALTER ROLE unsound_user CREATEDB;
GRANT regress_app TO unsound_user;
REVOKE insula_tenant FROM unsound_user;
ALTER ROLE asleep_user LOGIN;
DROP VIEW tenant_roleless.task_executions;
ALTER SCHEMA tenant_roleless OWNER TO regress_app;
GRANT insula_owner TO regress_app;
ALTER ROLE insula_runner CREATEROLE;
SELECT * FROM insula.audit() WHERE level <> 'advice' ORDER BY tenant, object COLLATE "C", finding COLLATE "C";

REVOKE insula_owner FROM regress_app;
ALTER ROLE insula_runner NOCREATEROLE;
ALTER ROLE unsound_user NOCREATEDB;
REVOKE regress_app FROM unsound_user;
ALTER VIEW tenant_unsound.execution_events OWNER TO insula_owner;
ALTER SCHEMA tenant_roleless OWNER TO insula_owner;
-- Objects that Insula did not make go only with force.
SELECT insula.drop_tenant(t, '0 s', force => t = 'unsound') FROM unnest('{sound,unsound,roleless,asleep}'::text[]) t;
SELECT * FROM insula.audit() WHERE level <> 'advice';
DROP ROLE regress_app;
