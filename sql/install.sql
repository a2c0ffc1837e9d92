-- CREATE EXTENSION: the four roles, what it refuses, and the rights on everything it makes.

-- Default privileges of the installer must not leak into the extension.
CREATE ROLE regress_stranger;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_stranger;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_stranger;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO regress_stranger;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_stranger;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_stranger;

-- A role of ours that can log in is refused, and nothing stays behind.  (What the context is of differs between
-- versions of PostgreSQL.)
\set SHOW_CONTEXT never
CREATE ROLE insula_runner LOGIN;
CREATE EXTENSION insula;
ALTER ROLE insula_runner NOLOGIN CREATEROLE;
CREATE EXTENSION insula;
DROP ROLE insula_runner;
CREATE ROLE insula_owner;
GRANT insula_owner TO regress_stranger;
CREATE EXTENSION insula;
REVOKE insula_owner FROM regress_stranger;
GRANT regress_stranger TO insula_owner;
CREATE EXTENSION insula;
REVOKE regress_stranger FROM insula_owner;

-- A schema that another role owns, or that is not empty, is refused, too.
CREATE SCHEMA insula AUTHORIZATION regress_stranger;
CREATE EXTENSION insula;
DROP SCHEMA insula;
CREATE SCHEMA insula;
CREATE FUNCTION insula.trap() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE EXTENSION insula;
DROP SCHEMA insula CASCADE;
CREATE SCHEMA insula;
CREATE OPERATOR insula.|| (LEFTARG = text, RIGHTARG = name, FUNCTION = textnename);
CREATE EXTENSION insula;
DROP SCHEMA insula CASCADE;
-- An operator for just these types is not asked.
CREATE SCHEMA insula;
CREATE FUNCTION insula.lie(oid, regclass) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR insula.= (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = insula.lie);
CREATE EXTENSION insula;
SET client_min_messages = warning;
DROP SCHEMA insula CASCADE;
RESET client_min_messages;

-- Members that the group roles have already are named.
CREATE ROLE insula_admin;
CREATE ROLE insula_runner;
GRANT insula_admin TO regress_stranger;
CREATE SCHEMA insula;
ALTER DEFAULT PRIVILEGES IN SCHEMA insula GRANT ALL ON TABLES TO regress_stranger;
ALTER DEFAULT PRIVILEGES IN SCHEMA insula GRANT ALL ON FUNCTIONS TO regress_stranger WITH GRANT OPTION;
CREATE EXTENSION insula;
SELECT level, object, finding FROM insula.audit() WHERE object ~ '^role';
REVOKE insula_admin FROM regress_stranger;

ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_stranger;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM regress_stranger;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM regress_stranger;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM regress_stranger;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM regress_stranger;
ALTER DEFAULT PRIVILEGES IN SCHEMA insula REVOKE ALL ON TABLES FROM regress_stranger;
ALTER DEFAULT PRIVILEGES IN SCHEMA insula REVOKE ALL ON FUNCTIONS FROM regress_stranger;

SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
FROM pg_roles WHERE rolname LIKE 'insula%' ORDER BY 1;

-- The rights on every member, function by function.
CREATE VIEW member AS
SELECT i.type, replace(i.identity, 'pg_catalog.', '') AS identity, o.owner, o.acl, d.classid, d.objid
FROM pg_depend d, LATERAL pg_identify_object(d.classid, d.objid, 0) i,
LATERAL (
	SELECT relowner, coalesce(relacl, acldefault('r', relowner)) FROM pg_class
	WHERE oid = d.objid AND d.classid = 'pg_class'::regclass
	UNION ALL
	SELECT proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
	WHERE oid = d.objid AND d.classid = 'pg_proc'::regclass
	UNION ALL
	SELECT typowner, coalesce(typacl, acldefault('T', typowner)) FROM pg_type
	WHERE oid = d.objid AND d.classid = 'pg_type'::regclass AND typtype = 'c' AND typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c')
) o(owner, acl)
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'insula') AND d.deptype = 'e';

\a
SELECT identity,
	coalesce(string_agg(CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END || ':' || privilege_type,
		' ' ORDER BY grantee = 0, pg_get_userbyid(grantee), privilege_type) FILTER (WHERE grantee <> owner), '-') AS granted
FROM member LEFT JOIN LATERAL aclexplode(acl) ON true
GROUP BY type, identity ORDER BY type, identity COLLATE "C";
\a

-- All belongs to insula_owner.
SELECT identity, pg_get_userbyid(owner) FROM member WHERE owner <> 'insula_owner'::regrole;

-- Every function and type says what it does; \df+ is the manual.
SELECT identity FROM member
WHERE type IN ('function', 'procedure', 'type', 'view') AND obj_description(objid, classid::regclass::text) IS NULL;

-- None is SECURITY DEFINER or STRICT: a NULL where none is meant is an error of its own.
SELECT p.oid::regprocedure FROM pg_proc p JOIN member m ON m.objid = p.oid AND m.classid = 'pg_proc'::regclass
WHERE p.prosecdef OR p.proisstrict;

SELECT nspname, nspowner::regrole, nspacl FROM pg_namespace WHERE nspname = 'insula';

-- Views and bodies of functions use what PostgreSQL has, or what is ours, and nothing else.
SELECT i.* FROM pg_depend d, LATERAL pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) i
WHERE (EXISTS (SELECT FROM member m WHERE m.classid = d.classid AND m.objid = d.objid)
		OR d.objid IN (SELECT r.oid FROM pg_rewrite r JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = r.ev_class))
	AND i.type NOT IN ('extension', 'schema') AND i.schema NOT IN ('pg_catalog', 'insula');

-- A role without rights cannot even look.
SET ROLE regress_stranger;
SELECT insula.is_valid_tenant_id('acme');
SELECT insula.current_tenant();
RESET ROLE;

DROP VIEW member;
DROP ROLE regress_stranger;
