-- audit(): what is not as Insula made it.  Reads the catalogs alone; bodies are bound when
-- they are made, so no search_path matters.

CREATE VIEW insula.expected_relation AS
	SELECT t.tenant, t.schema_name, t.username, r.name, r.kind, r.readable
	FROM insula.tenant t, (VALUES
		('work', 'r'::"char", false), ('record', 'r', false), ('id', 'S', false),
		('work_pkey', 'i', false), ('work_queue', 'i', false), ('work_limits', 'i', false), ('record_pkey', 'i', false),
		('workflow_executions', 'v', true), ('task_executions', 'v', true), ('execution_events', 'v', true),
		('schedules', 'v', true)
	) r(name, kind, readable);
COMMENT ON VIEW insula.expected_relation IS 'the relations that each tenant''s schema should hold, and whether the tenant may read them';

-- Every grant in a tenant's schema: on the schema itself and on what is in it.
CREATE VIEW insula.tenant_grant AS
	SELECT t.tenant, t.username, 'schema ' || pg_catalog.quote_ident(n.nspname) AS object, NULL::text AS relation,
		NULL::text AS attribute, false AS is_sequence, t.schema_name, n.nspowner AS owner, a.grantee, a.privilege_type, a.is_grantable
	FROM insula.tenant t
	JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name,
	LATERAL pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
	UNION ALL
	SELECT t.tenant, t.username, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relname,
		NULL, c.relkind = 'S', t.schema_name, c.relowner, a.grantee, a.privilege_type, a.is_grantable
	FROM insula.tenant t
	JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind NOT IN ('i', 'I', 'c'),
	LATERAL pg_catalog.aclexplode(coalesce(c.relacl,
		pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) a
	UNION ALL
	SELECT t.tenant, t.username, pg_catalog.format('%I.%I.%I', n.nspname, c.relname, x.attname), c.relname,
		x.attname, c.relkind = 'S', t.schema_name, c.relowner, a.grantee, a.privilege_type, a.is_grantable
	FROM insula.tenant t
	JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
	JOIN pg_catalog.pg_attribute x ON x.attrelid = c.oid,
	LATERAL pg_catalog.aclexplode(x.attacl) a;
COMMENT ON VIEW insula.tenant_grant IS 'every grant on a tenant''s schema, its relations and their columns';

-- The tenant's role has USAGE on the schema and SELECT on the views, nobody else anything.
CREATE VIEW insula.foreign_grant AS
	SELECT g.*
	FROM insula.tenant_grant g
	WHERE g.grantee <> g.owner
		AND NOT (NOT g.is_grantable AND g.grantee <> 0 AND pg_catalog.pg_get_userbyid(g.grantee) = g.username
			AND ((g.relation IS NULL AND g.privilege_type = 'USAGE')
				OR (g.privilege_type = 'SELECT' AND g.attribute IS NULL AND EXISTS (
					SELECT FROM insula.expected_relation e
					WHERE e.tenant = g.tenant AND e.name = g.relation AND e.readable))));
COMMENT ON VIEW insula.foreign_grant IS 'grants in tenants'' schemas that are not of Insula''s making';

CREATE FUNCTION insula.audit(OUT level text, OUT tenant text, OUT object text, OUT finding text)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL UNSAFE SET jit = off
BEGIN ATOMIC
	-- Relations that are missing, or of another owner or kind.
	SELECT 'error', e.tenant, pg_catalog.format('%I.%I', e.schema_name, e.name),
		CASE WHEN n.oid IS NULL THEN 'the schema is missing'
			WHEN c.oid IS NULL THEN 'is missing'
			WHEN c.relkind <> e.kind THEN 'is of another kind'
			ELSE 'belongs to ' || pg_catalog.pg_get_userbyid(c.relowner) END
	FROM insula.expected_relation e
	LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name
	LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name
	WHERE c.oid IS NULL OR c.relkind <> e.kind OR pg_catalog.pg_get_userbyid(c.relowner) <> 'insula_owner'
	UNION ALL
	SELECT 'error', t.tenant, 'schema ' || pg_catalog.quote_ident(n.nspname),
		'belongs to ' || pg_catalog.pg_get_userbyid(n.nspowner)
	FROM insula.tenant t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	WHERE pg_catalog.pg_get_userbyid(n.nspowner) <> 'insula_owner'
	UNION ALL
	-- What does not belong there.
	SELECT 'warning', t.tenant, pg_catalog.format('%I.%I', n.nspname, c.relname), 'is not of Insula''s making'
	FROM insula.tenant t
	JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
	WHERE NOT EXISTS (SELECT FROM insula.expected_relation e WHERE e.tenant = t.tenant AND e.name = c.relname)
	UNION ALL
	SELECT 'warning', t.tenant, p.oid::pg_catalog.regprocedure::text, 'is not of Insula''s making'
	FROM insula.tenant t
	JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid
	UNION ALL
	-- What could run somebody's code, or hide or show rows.
	SELECT 'error', e.tenant, pg_catalog.format('%I.%I', e.schema_name, e.name), 'has the trigger ' || g.tgname
	FROM insula.expected_relation e
	JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name
	JOIN pg_catalog.pg_trigger g ON g.tgrelid = c.oid
	UNION ALL
	SELECT 'error', e.tenant, pg_catalog.format('%I.%I', e.schema_name, e.name), 'has the rule ' || r.rulename
	FROM insula.expected_relation e
	JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name
	JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
	WHERE r.rulename <> '_RETURN' OR c.relkind <> 'v'
	UNION ALL
	SELECT 'error', e.tenant, pg_catalog.format('%I.%I', e.schema_name, e.name), 'has row level security'
	FROM insula.expected_relation e
	JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name
	WHERE c.relrowsecurity OR EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)
	UNION ALL
	SELECT 'error', e.tenant, pg_catalog.format('%I.%I', e.schema_name, e.name),
		'has the child ' || i.inhrelid::pg_catalog.regclass::text
	FROM insula.expected_relation e
	JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name
	JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid
	UNION ALL
	SELECT 'error', g.tenant, g.object,
		pg_catalog.format('%s has %s', CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(g.grantee) END,
			g.privilege_type || CASE WHEN g.is_grantable THEN ' with grant option' ELSE '' END)
	FROM insula.foreign_grant g
	UNION ALL
	SELECT 'error', e.tenant, pg_catalog.format('%I.%I', e.schema_name, e.name), e.username || ' may not read it'
	FROM insula.expected_relation e
	JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name
	JOIN pg_catalog.pg_roles r ON r.rolname = e.username
	WHERE e.readable AND NOT (pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')
		AND pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT'))
	UNION ALL
	-- The tenants' roles.
	SELECT 'error', t.tenant, 'role ' || pg_catalog.quote_ident(t.username),
		CASE WHEN r.oid IS NULL THEN 'is missing' ELSE 'is not the one that was made for the tenant' END
	FROM insula.tenant t LEFT JOIN pg_catalog.pg_roles r ON r.rolname = t.username
	WHERE t.username IS NOT NULL AND r.oid IS DISTINCT FROM t.role_oid
	UNION ALL
	SELECT 'advice', t.tenant, 'role ' || pg_catalog.quote_ident(r.rolname), 'may not log in until insula.rotate_password()'
	FROM insula.tenant t JOIN pg_catalog.pg_roles r ON r.oid = t.role_oid AND r.rolname = t.username
	WHERE t.login AND t.status = 'active' AND NOT r.rolcanlogin
	UNION ALL
	SELECT 'error', t.tenant, 'role ' || pg_catalog.quote_ident(r.rolname), 'has been given attributes'
	FROM insula.tenant t JOIN pg_catalog.pg_roles r ON r.oid = t.role_oid AND r.rolname = t.username
	WHERE r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
	UNION ALL
	SELECT 'error', t.tenant, 'role ' || pg_catalog.quote_ident(r.rolname),
		'may log in although the tenant ' || CASE WHEN t.login THEN 'is suspended' ELSE 'has no login' END
	FROM insula.tenant t JOIN pg_catalog.pg_roles r ON r.oid = t.role_oid AND r.rolname = t.username
	WHERE r.rolcanlogin AND (t.status = 'suspended' OR NOT t.login)
	UNION ALL
	SELECT 'error', t.tenant, 'role ' || pg_catalog.quote_ident(r.rolname),
		'is a member of ' || pg_catalog.pg_get_userbyid(m.roleid) || CASE WHEN m.admin_option THEN ' with admin option' ELSE '' END
	FROM insula.tenant t
	JOIN pg_catalog.pg_roles r ON r.oid = t.role_oid AND r.rolname = t.username
	JOIN pg_catalog.pg_auth_members m ON m.member = r.oid
	WHERE pg_catalog.pg_get_userbyid(m.roleid) <> 'insula_tenant' OR m.admin_option
	UNION ALL
	SELECT 'error', t.tenant, 'role ' || pg_catalog.quote_ident(r.rolname), 'is not a member of insula_tenant'
	FROM insula.tenant t
	JOIN pg_catalog.pg_roles r ON r.oid = t.role_oid AND r.rolname = t.username
	WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members m
		WHERE m.member = r.oid AND pg_catalog.pg_get_userbyid(m.roleid) = 'insula_tenant')
	UNION ALL
	-- The four roles.
	SELECT 'error', NULL, 'role ' || n.name, CASE WHEN r.oid IS NULL THEN 'is missing' ELSE 'has LOGIN or attributes' END
	FROM (VALUES ('insula_owner'), ('insula_admin'), ('insula_runner'), ('insula_tenant')) n(name)
	LEFT JOIN pg_catalog.pg_roles r ON r.rolname = n.name
	WHERE r.oid IS NULL OR r.rolcanlogin OR r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
	UNION ALL
	SELECT 'error', NULL, 'role insula_owner',
		CASE WHEN pg_catalog.pg_get_userbyid(m.roleid) = 'insula_owner'
			THEN 'has the member ' || pg_catalog.pg_get_userbyid(m.member)
			ELSE 'is a member of ' || pg_catalog.pg_get_userbyid(m.roleid) END
	FROM pg_catalog.pg_auth_members m
	WHERE 'insula_owner' IN (pg_catalog.pg_get_userbyid(m.roleid), pg_catalog.pg_get_userbyid(m.member))
	UNION ALL
	SELECT 'warning', l.tenant, 'role ' || pg_catalog.quote_ident(l.role_name),
		'is left of a dropped tenant: DROP OWNED BY it where it owns something, then insula.reconcile(false)'
	FROM insula.leftover_role l
	UNION ALL
	-- What PostgreSQL leaves open to every role.
	SELECT DISTINCT 'advice', NULL, o.object, o.finding FROM insula.open_to_public o
	UNION ALL
	SELECT 'advice', NULL, 'tenants', count(*) || ' have no limit on connections: insula.set_tenant_limits()'
	FROM insula.tenant t WHERE t.max_connections IS NULL AND t.username IS NOT NULL HAVING count(*) > 0
	UNION ALL
	SELECT 'advice', NULL, 'setting temp_file_limit', 'is -1: any session can fill the disk'
	WHERE pg_catalog.current_setting('temp_file_limit') = '-1';
END;
COMMENT ON FUNCTION insula.audit IS
'What is not as Insula made it: level error (isolation or function is in danger), warning (something lies where it should not) or advice (what PostgreSQL leaves open to every role).  A healthy database has no finding but advice.';
