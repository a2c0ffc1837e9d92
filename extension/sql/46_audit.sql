-- audit() lists deviations from what Insula makes.  It reads the catalogs with the caller's rights; function bodies
-- are bound when they are made, so no search_path matters.

CREATE FUNCTION insula.read_faults(OUT level text, OUT tenant text, OUT object text, OUT finding text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'insula_read_faults' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.read_faults IS
'What insula.audit() says of the columns, defaults, constraints, indexes and statistics of tenants'' relations, and of passwords of the group roles.  A relation that is locked against reading is passed over.';

CREATE FUNCTION insula.audit(OUT level text, OUT tenant text, OUT object text, OUT finding text)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL UNSAFE SET jit = off
BEGIN ATOMIC
	-- Relations that are missing, or have another owner or kind.
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
	-- Objects that Insula did not make.
	SELECT CASE WHEN s.tenant IS NULL THEN 'error' ELSE 'warning' END, s.tenant, s.object, 'is not of Insula''s making'
	FROM insula.stray_object s
	UNION ALL
	-- Hooks that could run a foreign role's code, or hide or show rows.
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
	SELECT 'error', u.tenant, u.object, 'uses ' || u.uses
	FROM insula.foreign_use u
	UNION ALL
	SELECT f.level, f.tenant, f.object, f.finding
	FROM insula.read_faults() f
	UNION ALL
	-- Rights, exactly.
	SELECT 'error', d.tenant, d.object, d.finding
	FROM insula.deviation d
	WHERE d.step IN (4, 5)
	UNION ALL
	SELECT 'error', NULL, CASE g.kind WHEN 'schema'::text THEN 'schema ' ELSE '' END || g.identity,
		'belongs to ' || pg_catalog.pg_get_userbyid(g.owner)::text
	FROM insula.guarded_object g
	WHERE g.tenant IS NULL AND pg_catalog.pg_get_userbyid(g.owner) <> 'insula_owner'::name
	UNION ALL
	SELECT 'error', NULL, 'database ' || pg_catalog.quote_ident(d.datname), pg_catalog.format('%s lacks %s'::text, w.role, w.privilege)
	FROM (VALUES ('insula_owner'::name, 'CREATE'::text), ('insula_owner', 'CONNECT'), ('insula_tenant', 'CONNECT')) w(role, privilege)
	JOIN pg_catalog.pg_roles r ON r.rolname = w.role
	JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
	WHERE NOT EXISTS (SELECT FROM pg_catalog.aclexplode(d.datacl) a WHERE a.grantee = r.oid AND a.privilege_type = w.privilege)
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
	-- Every tenant can act as the group, so all tenants can read its objects, which outlive the tenant that made them.
	SELECT 'error', NULL, 'role insula_tenant',
		'owns ' || CASE WHEN d.datname = pg_catalog.current_database() THEN pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid)
			ELSE 'something in database ' || pg_catalog.quote_ident(d.datname) END
	FROM pg_catalog.pg_shdepend s
	LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid
	WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o'::"char"
		AND pg_catalog.pg_get_userbyid(s.refobjid) = 'insula_tenant'::name
	UNION ALL
	SELECT DISTINCT 'warning', NULL, 'role ' || r.rolname::text, 'has settings'
	FROM pg_catalog.pg_db_role_setting s
	JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
	WHERE r.rolname IN ('insula_owner'::name, 'insula_admin'::name, 'insula_runner'::name, 'insula_tenant'::name)
	UNION ALL
	SELECT 'advice', NULL, 'role ' || g.rolname::text,
		pg_catalog.format('has the member %s%s: it %s'::text, pg_catalog.pg_get_userbyid(m.member),
			CASE WHEN m.admin_option THEN ' with admin option' END,
			CASE g.rolname WHEN 'insula_admin'::name THEN 'administers all tenants' ELSE 'works for all tenants' END)
	FROM pg_catalog.pg_auth_members m
	JOIN pg_catalog.pg_roles g ON g.oid = m.roleid AND g.rolname IN ('insula_admin'::name, 'insula_runner'::name)
	UNION ALL
	SELECT 'warning', l.tenant, 'role ' || pg_catalog.quote_ident(l.role_name),
		'is left of a dropped tenant: DROP OWNED BY it where it owns something, then insula.reconcile(false)'
	FROM insula.leftover_role l
	UNION ALL
	-- Rights that PostgreSQL leaves open to every role.
	SELECT DISTINCT 'advice', NULL, o.object, o.finding FROM insula.open_to_public o
	UNION ALL
	SELECT 'advice', NULL, 'tenants', pg_catalog.count(*) || ' have no limit on connections: insula.set_tenant_limits()'
	FROM insula.tenant t WHERE t.max_connections IS NULL AND t.username IS NOT NULL HAVING pg_catalog.count(*) > 0
	UNION ALL
	SELECT 'advice', NULL, 'setting temp_file_limit', 'is -1: any session can fill the disk'
	WHERE pg_catalog.current_setting('temp_file_limit') = '-1';
END;
COMMENT ON FUNCTION insula.audit IS
'What is not as Insula made it: level error (isolation or function is in danger), warning (something lies where it should not) or advice (what PostgreSQL leaves open to every role, and the members of insula_admin and insula_runner).  insula.reconcile(false) mends rights, the group''s settings, password and objects, and views; what it cannot mend stays.  A healthy database has no finding but advice.';
