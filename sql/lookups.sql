-- Look-ups in system caches and catalogs, each where it finds and where it does not: their keys differ between
-- versions of PostgreSQL, and one that has become wrong finds nothing without an error.  (Of sequences, functions
-- and statistics: taking_over; of default privileges: rights; of versions: version.)
SET client_min_messages = warning;
CREATE ROLE regress_plain;
CREATE ROLE regress_keeper;
CREATE ROLE regress_other;
SELECT count(c.*) FROM unnest('{looked,left_over}'::text[]) t, LATERAL insula.create_tenant(t) c;

-- A tenant is a member of insula_tenant (pg_auth_members by member), and may not PREPARE.  A role that is a member of other roles only
-- gets as far as PostgreSQL lets it.
GRANT looked_user TO regress_plain;
SET SESSION AUTHORIZATION looked_user;
BEGIN;
SELECT insula.current_tenant();
\set VERBOSITY sqlstate
PREPARE TRANSACTION 'looked';
SET SESSION AUTHORIZATION regress_plain;
BEGIN;
SELECT 1 AS one;
PREPARE TRANSACTION 'looked';
RESET SESSION AUTHORIZATION;
-- One membership of several.
ALTER ROLE looked_user RENAME TO looked_too;
GRANT regress_other, regress_keeper TO looked_too;
SET SESSION AUTHORIZATION looked_too;
BEGIN;
SELECT 1 AS one;
PREPARE TRANSACTION 'looked';
RESET SESSION AUTHORIZATION;
\set VERBOSITY default
REVOKE regress_other, regress_keeper FROM looked_too;
ALTER ROLE looked_too RENAME TO looked_user;

-- Attributes and memberships of a tenant's role (pg_authid; pg_auth_members by member).
CREATE FUNCTION pg_temp.rotates() RETURNS text LANGUAGE sql AS $$ SELECT try('SELECT insula.rotate_password(''looked'')') $$;
SELECT pg_temp.rotates();
GRANT regress_other TO looked_user;
SELECT pg_temp.rotates();
REVOKE regress_other FROM looked_user;
ALTER ROLE looked_user CREATEDB;
SELECT pg_temp.rotates();
ALTER ROLE looked_user NOCREATEDB;
REVOKE insula_tenant FROM looked_user;
SELECT object, action, error FROM insula.reconcile(false);
SELECT object, action, error FROM insula.reconcile(false);
SELECT pg_temp.rotates();

-- Passwords and rights of the groups (pg_authid, pg_database).
SET password_encryption = 'scram-sha-256';
ALTER ROLE insula_runner PASSWORD 'secret';
SELECT format('REVOKE CONNECT ON DATABASE %I FROM insula_tenant', current_database()) \gexec
SELECT object, action, error FROM insula.reconcile(false);
SELECT object, action, error FROM insula.reconcile(false);

-- Owners (pg_shdepend by object, and by role): nothing may become insula_tenant's, and what has, does not stay.
GRANT CREATE ON SCHEMA public TO looked_user, insula_tenant;
SET ROLE insula_tenant;
SELECT try('CREATE TABLE public.of_group ()');
SET ROLE looked_user;
SELECT try('CREATE TABLE public.of_tenant ()');
SELECT try('ALTER TABLE public.of_tenant OWNER TO insula_tenant');
SELECT try('ALTER TABLE public.of_tenant ADD COLUMN n integer');
RESET ROLE;
CREATE TABLE public.of_group ();
ALTER TABLE public.of_group OWNER TO insula_tenant;
SELECT level, object, finding FROM insula.audit() WHERE object = 'role insula_tenant';
SELECT object, action, error FROM insula.reconcile(false);
SELECT relname, relowner::regrole FROM pg_class WHERE relname IN ('of_group', 'of_tenant');

-- Members of a dropped tenant's role that is left, since another object depends on one of its own
-- (pg_auth_members by role): all lose it, with those to which they have granted it; other memberships stay.
GRANT CREATE ON SCHEMA public TO left_over_user;
SET ROLE left_over_user;
CREATE TABLE public.kept ();
RESET ROLE;
CREATE VIEW public.on_kept AS SELECT FROM public.kept;
GRANT left_over_user TO regress_keeper WITH ADMIN OPTION;
GRANT left_over_user TO regress_plain;
SET ROLE regress_keeper;
GRANT left_over_user TO regress_other;
RESET ROLE;
GRANT regress_plain TO regress_other;
SET client_min_messages = error;
SELECT insula.drop_tenant('left_over', '0 s', force => true);
SET client_min_messages = warning;
SELECT m.roleid::regrole, m.member::regrole FROM pg_auth_members m
WHERE m.member IN ('regress_keeper'::regrole, 'regress_plain'::regrole, 'regress_other'::regrole) ORDER BY 1, 2;
SELECT l.tenant, count(m.*) AS memberships FROM insula.leftover_role l JOIN pg_roles r ON r.rolname = l.role_name
LEFT JOIN pg_auth_members m ON r.oid IN (m.roleid, m.member) GROUP BY 1;
DROP VIEW public.on_kept;
SELECT error FROM insula.reconcile(false);
SELECT count(*) FROM insula.leftover_role;

-- Packed rows of a claim (pg_type by name), and what the version of PostgreSQL has.
SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'looked');
SELECT insula.submit('w', tenant => 'looked') > 0 AS submitted;
SET client_min_messages = error;
CALL insula.claim_when_ready('0 s', 'looks', tenant => 'looked') \gset
SELECT tenant, task FROM unnest(insula.read_claimed(:'claimed'));
SELECT (value = 'named') = (current_setting('server_version_num')::integer >= 170000) AS says_so
FROM insula.status() WHERE item = 'wait events';

REVOKE CREATE ON SCHEMA public FROM insula_tenant;
SELECT insula.drop_tenant('looked', '0 s');
SELECT count(*) FROM pg_class WHERE relname = 'of_tenant';
DROP ROLE regress_plain, regress_keeper, regress_other;
