-- The life of a tenant, and the roles that may act for it.

-- Ids.
SELECT id, insula.is_valid_tenant_id(id) FROM unnest(ARRAY[
	'abc', 'acme_corp', 'a23456789012345678901234567890', 'ab', 'a234567890123456789012345678901',
	'Acme', '1abc', '_abc', 'a-b', 'a b', 'äbc', 'public', 'none', 'postgres', 'information_schema',
	'pg_abc', 'insula', 'insula_x', 'publics', '']) WITH ORDINALITY u(id, n) ORDER BY n;
SELECT insula.is_valid_tenant_id(NULL);

SELECT tenant, schema_name, username, password ~ '^[A-Za-z0-9]{32}$' AS generated,
	regexp_replace(connection_string, 'host=''[^'']*'' port=''[^'']*''|password=''[^'']*''', '...', 'g') AS connection_string
FROM insula.create_tenant('acme_corp');
SELECT tenant, schema_name, username, status, layout_version FROM insula.tenants;

-- create_tenant makes few relations, all owned by insula_owner.  (PostgreSQL 17 has the privilege m.)
SELECT relname, relkind, relowner::regrole, replace(relacl::text, 'xtm/', 'xt/') AS relacl FROM pg_class
WHERE relnamespace = 'tenant_acme_corp'::regnamespace ORDER BY relkind, relname;
SELECT count(*) <= 16 AS few, pg_size_pretty(sum(pg_relation_size(oid))) FROM pg_class c
WHERE relnamespace = 'tenant_acme_corp'::regnamespace
	OR oid IN (SELECT reltoastrelid FROM pg_class WHERE relnamespace = 'tenant_acme_corp'::regnamespace)
	OR oid IN (SELECT indexrelid FROM pg_index JOIN pg_class t ON t.reltoastrelid = indrelid
		WHERE t.relnamespace = 'tenant_acme_corp'::regnamespace);
SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
WHERE relnamespace = 'tenant_acme_corp'::regnamespace AND obj_description(oid, 'pg_class') IS NOT NULL ORDER BY relname;
SELECT relname, attname, col_description(c.oid, attnum) FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0
WHERE relnamespace = 'tenant_acme_corp'::regnamespace AND (relkind = 'v' OR relname = 'work') ORDER BY relname, attnum;
SELECT nspowner::regrole, nspacl FROM pg_namespace WHERE nspname = 'tenant_acme_corp';
SELECT rolcanlogin, rolsuper, rolinherit, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'acme_corp_user';
SELECT roleid::regrole, admin_option FROM pg_auth_members WHERE member = 'acme_corp_user'::regrole;
SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'acme_corp_user';

-- create_tenant leaves no trace when it refuses.
SELECT try($$SELECT insula.create_tenant('Acme')$$);
SELECT try($$SELECT insula.create_tenant('ab')$$);
SELECT try($$SELECT insula.create_tenant('acme_corp')$$);
SELECT try($$SELECT insula.create_tenant('acme_two', schema_name => 'tenant_acme_corp')$$);
SELECT try($$SELECT insula.create_tenant('acme_two', schema_name => 'pg_acme')$$);
SELECT try($$SELECT insula.create_tenant('acme_two', schema_name => 'insula_two')$$);
SELECT try($$SELECT insula.create_tenant('acme_two', username => 'acme_corp_user')$$);
SELECT try($$SELECT insula.create_tenant('acme_two', username => 'postgres')$$);
SELECT try($$SELECT insula.create_tenant('acme_two', username => repeat('x', 64))$$);
SELECT try($$SELECT insula.create_tenant('acme_two', username => 'public')$$);
SELECT try($$SELECT insula.create_tenant('acme_two', username => 'none')$$);
SELECT try($$SELECT insula.create_tenant(NULL)$$);
SELECT try($$SELECT insula.create_tenant('acme_two', login => NULL)$$);
SELECT try($$SELECT insula.drop_tenant('nobody')$$);
SELECT try($$SELECT insula.drop_tenant(NULL)$$);
SELECT try($$SELECT insula.drop_tenant('acme_corp', NULL)$$);
SELECT try($$SELECT insula.rotate_password('nobody')$$);
SELECT count(*) FROM insula.tenants;
SELECT count(*) FROM pg_roles WHERE rolname LIKE 'acme%';

-- Names given by hand are quoted everywhere.
SELECT username, schema_name, connection_string LIKE '%user=''User "O\\''Brien" Ä\\\\'' password=%' AS escaped
FROM insula.create_tenant('odd_names', schema_name => 'My "Schema" select', username => 'User "O''Brien" Ä\');
SELECT count(*) FROM "My ""Schema"" select".task_executions;
SELECT insula.drop_tenant('odd_names');
SELECT schema_name FROM insula.create_tenant('odd_names', schema_name => 'a{schema}{work}', username => 'a{user}{no_word}');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'odd_names'), insula.submit('w', tenant => 'odd_names') > 0 AS submitted;
SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', tenant => 'odd_names');
SELECT status FROM "a{schema}{work}".task_executions;
SELECT insula.drop_tenant('odd_names');

-- A verifier may be given instead of a password; clear text is hashed here.
SELECT password IS NULL AS unknown FROM insula.create_tenant('given', password =>
	'SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$c3RvcmVka2V5c3RvcmVka2V5c3RvcmVka2V5c3RvcmU=:c2VydmVya2V5c2VydmVya2V5c2VydmVya2V5c2VydmU=');
SELECT rolpassword FROM pg_authid WHERE rolname = 'given_user';
SELECT password FROM insula.rotate_password('given', 'correct horse');
SELECT rolpassword LIKE 'SCRAM-SHA-256$%' AND rolpassword NOT LIKE '%horse%' AS hashed FROM pg_authid WHERE rolname = 'given_user';
SELECT length(password) FROM insula.rotate_password('given');
SELECT insula.drop_tenant('given');

-- Without a login there is no role, and an existing tenant may be asked for again.
SELECT tenant, schema_name, username, password, connection_string
FROM insula.create_tenant('roleless', schema_name => 'roleless', login => false, if_not_exists => true);
SELECT tenant, schema_name, username, password, connection_string
FROM insula.create_tenant('roleless', schema_name => 'roleless', login => false, if_not_exists => true);
SELECT insula.create_tenant('roleless', schema_name => 'elsewhere', login => false, if_not_exists => true);
SELECT insula.rotate_password('roleless');

-- ROLLBACK leaves nothing.
BEGIN;
SELECT schema_name FROM insula.create_tenant('rolled_back');
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'rolled_back');
ROLLBACK;
SELECT count(*) FROM pg_roles WHERE rolname = 'rolled_back_user';
SELECT count(*) FROM pg_namespace WHERE nspname = 'tenant_rolled_back';
SELECT insula.submit('w', tenant => 'rolled_back');
BEGIN;
SELECT insula.drop_tenant('acme_corp');
ROLLBACK;
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'acme_corp');

-- Acting for a tenant: its own login, the setting, the parameter.
CREATE ROLE regress_app;
CREATE ROLE regress_admin;
CREATE ROLE regress_runner;
GRANT acme_corp_user TO regress_app;
GRANT insula_admin TO regress_admin;
GRANT insula_runner TO regress_runner;

SELECT insula.current_tenant();
SET ROLE acme_corp_user;
SELECT insula.current_tenant();
SELECT insula.submit('w') > 0 AS submitted;
SELECT insula.submit('w', tenant => 'roleless');
SELECT insula.submit('w', tenant => 'no_such_tenant');
SET insula.tenant = 'roleless';
SELECT insula.current_tenant();
SELECT insula.submit('w');
RESET insula.tenant;
SELECT insula.drop_tenant('acme_corp');
SELECT * FROM insula.tenants;

SET ROLE regress_app;
SELECT insula.current_tenant();
SELECT insula.submit('w');
SELECT insula.submit('w', tenant => 'acme_corp') > 0 AS submitted;
SELECT insula.submit('w', tenant => 'roleless');
BEGIN;
SET LOCAL insula.tenant = 'acme_corp';
SELECT insula.current_tenant(), insula.submit('w') > 0 AS submitted;
COMMIT;
SELECT insula.current_tenant();
SELECT status, count(*) FROM tenant_acme_corp.workflow_executions GROUP BY 1;

SET ROLE regress_runner;
SELECT tenant, workflow, task FROM insula.claim('runner', max_tasks => 10);
SELECT insula.submit('w', tenant => 'acme_corp');
SELECT * FROM tenant_acme_corp.workflow_executions;

SET ROLE regress_admin;
SELECT insula.submit('w', tenant => 'acme_corp') > 0 AS submitted;
SELECT insula.submit('w', tenant => 'no_such_tenant');
SELECT tenant, username FROM insula.tenants ORDER BY 1;
SELECT count(*) FROM insula.tenant_number;
SELECT tenant, username FROM insula.create_tenant('by_admin');
SELECT insula.drop_tenant('by_admin');
SELECT insula.drop_tenant('roleless');
SELECT insula.drop_tenant('acme_corp', drain => '0 s');
RESET ROLE;

-- A tenant that was dropped is gone, role and all; one of the same name starts empty.
SELECT insula.submit('w', tenant => 'acme_corp');
SELECT count(*) FROM pg_roles WHERE rolname = 'acme_corp_user';
SELECT schema_name FROM insula.create_tenant('acme_corp');
SELECT count(*) FROM tenant_acme_corp.workflow_executions;
SELECT insula.submit('w', tenant => 'acme_corp');
SELECT insula.drop_tenant('acme_corp');

-- A role that has been given rights since is not touched.
SELECT username FROM insula.create_tenant('changed');
ALTER ROLE changed_user CREATEDB;
SELECT insula.drop_tenant('changed');
SELECT insula.rotate_password('changed');
ALTER ROLE changed_user NOCREATEDB;
GRANT insula_admin TO changed_user;
SELECT insula.drop_tenant('changed');
REVOKE insula_admin FROM changed_user;
-- Before PostgreSQL 16 any role may give itself away; that stops no other tenant.
SELECT username FROM insula.create_tenant('giver');
GRANT giver_user TO changed_user;
SELECT length(password) FROM insula.rotate_password('changed');
-- Other roles' objects that depend on the tenant's are not dropped with them, the rest is.
CREATE SCHEMA workshop;
GRANT CREATE, USAGE ON SCHEMA workshop TO giver_user;
SET ROLE giver_user;
CREATE TYPE workshop.mood AS ENUM ('good');
RESET ROLE;
CREATE TABLE regress_diary (day date, mood workshop.mood);
SET client_min_messages = error;
SELECT insula.drop_tenant('giver');
RESET client_min_messages;
SELECT tenant, username, role_name = 'insula_dropped_' || role_oid AS renamed FROM insula.leftover_role;
SELECT rolcanlogin, pg_has_role(l.role_oid, 'insula_tenant', 'MEMBER') AS member
FROM insula.leftover_role l JOIN pg_roles r ON r.oid = l.role_oid;
SELECT count(*) FROM pg_roles WHERE rolname = 'giver_user';
SELECT username FROM insula.create_tenant('giver');
SELECT insula.drop_tenant('giver');
DROP TABLE regress_diary;
DO $$ BEGIN
	EXECUTE (SELECT format('DROP OWNED BY %1$I; DROP ROLE %1$I', role_name) FROM insula.leftover_role);
END $$;
DROP SCHEMA workshop;
DELETE FROM insula.leftover_role;
SELECT insula.drop_tenant('changed');

-- Acts are written down.
SELECT username, act, tenant FROM insula.admin_log ORDER BY log_id;

DROP ROLE regress_app, regress_admin, regress_runner;
