-- Copies and restores: what to mend after them, and the word that a copy shall work.

-- Owners and grants that are not as Insula makes them, and what mends each.
CREATE VIEW insula.deviation AS
	SELECT t.tenant, 1 AS step, 'schema ' || pg_catalog.quote_ident(n.nspname) AS object,
		pg_catalog.format('ALTER SCHEMA %I OWNER TO insula_owner', n.nspname) AS action, false AS as_owner
	FROM insula.tenant t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	WHERE pg_catalog.pg_get_userbyid(n.nspowner) <> 'insula_owner'
	UNION ALL
	SELECT e.tenant, 2, pg_catalog.format('%I.%I', e.schema_name, e.name),
		pg_catalog.format('ALTER %s %I.%I OWNER TO insula_owner',
			CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, e.schema_name, e.name), false
	FROM insula.expected_relation e
	JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name AND c.relkind = e.kind
	WHERE c.relkind <> 'i' AND pg_catalog.pg_get_userbyid(c.relowner) <> 'insula_owner'
	UNION ALL
	SELECT g.tenant, 3, g.object,
		pg_catalog.format('REVOKE %s%s ON %s %s FROM %s CASCADE', g.privilege_type,
			CASE WHEN g.attribute IS NOT NULL THEN pg_catalog.format(' (%I)', g.attribute) END,
			CASE WHEN g.relation IS NULL THEN 'SCHEMA' WHEN g.is_sequence THEN 'SEQUENCE' ELSE 'TABLE' END,
			CASE WHEN g.relation IS NULL THEN pg_catalog.quote_ident(g.schema_name)
				ELSE pg_catalog.format('%I.%I', g.schema_name, g.relation) END,
			CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END), true
	FROM insula.foreign_grant g
	WHERE g.grantee = 0 OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = g.grantee)
	UNION ALL
	SELECT t.tenant, 4, 'schema ' || pg_catalog.quote_ident(n.nspname),
		pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, r.rolname), true
	FROM insula.tenant t
	JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	JOIN pg_catalog.pg_roles r ON r.rolname = t.username AND r.oid = t.role_oid
	WHERE NOT pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')
	UNION ALL
	SELECT e.tenant, 4, pg_catalog.format('%I.%I', e.schema_name, e.name),
		pg_catalog.format('GRANT SELECT ON %I.%I TO %I', e.schema_name, e.name, r.rolname), true
	FROM insula.expected_relation e
	JOIN insula.tenant t ON t.tenant = e.tenant
	JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name
	JOIN pg_catalog.pg_roles r ON r.rolname = t.username AND r.oid = t.role_oid
	WHERE e.readable AND NOT pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT');
COMMENT ON VIEW insula.deviation IS 'owners and grants in tenants'' schemas that are not as Insula makes them, with the command that mends each, as insula.reconcile(false) runs them in the order of step';

CREATE FUNCTION insula.reconcile(dry_run boolean DEFAULT true, OUT tenant text, OUT object text, OUT action text, OUT error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_reconcile' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.reconcile IS
'Mends what a restore leaves undone: makes missing roles of tenants (without LOGIN until rotate_password), gives schemas and relations back to insula_owner, grants what is missing and revokes what does not belong, makes missing views anew, and drops roles that drop_tenant had to leave behind.  Returns each action, with the error where it failed; with dry_run what it would do.
Roles are made as Insula makes them; owners are changed with the caller''s rights, which takes a superuser where others own the relations.  Wakes all who wait for work.
Errors: IS008 in a copy that shares its roles with the original and has not been adopted.';

CREATE FUNCTION insula.adopt() RETURNS void
AS 'MODULE_PATHNAME', 'insula_adopt' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.adopt IS
'Says that the tenants of this copy of a database shall work here.  A copy is a database that was restored from a dump, made with TEMPLATE, or (with shared_preload_libraries) recovered to a point in time; until it is adopted, every call that does work raises IS008.
Leases that the original gave out lapse by themselves.  A copy in the original''s own cluster gets user names of its own, which insula.reconcile(false) makes and insula.rotate_password() lets in.  A NOTICE if there is nothing to adopt.';
