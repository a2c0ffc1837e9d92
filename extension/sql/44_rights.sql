-- All rights on Insula's objects, in one list: CREATE EXTENSION grants them, audit() names excess
-- and missing rights, and reconcile(false) mends both.  The views read the catalogs with the
-- reader's rights, so that a catalog which is closed to other roles stops no superuser.

CREATE VIEW insula.intended_right WITH (security_invoker = true) AS
	SELECT r.kind, n.name, r.privilege, g.grantee
	FROM (VALUES
		('schema'::text, 'USAGE'::text, ARRAY['insula']::text[], ARRAY['insula_admin', 'insula_runner', 'insula_tenant']::text[]),
		('type', 'USAGE', ARRAY['tenant_credentials'], ARRAY['insula_admin']),
		('type', 'USAGE', ARRAY['claimed_task', 'execution_result'], ARRAY['insula_admin', 'insula_runner', 'insula_tenant']),
		('relation', 'SELECT', ARRAY[
			'tenants', 'retention', 'retention_rule', 'admin_log', 'tenant', 'tenant_number', 'tenant_error', 'scheduler_wanted', 'leftover_role',
			'open_to_public', 'tenant_activity', 'pg_stat_insula', 'tenant_counters', 'home', 'home_mark', 'expected_relation', 'intended_right',
			'guarded_object', 'granted_right', 'due_right', 'deviation', 'stray_object', 'foreign_use', 'numbers_in_use', 'snapshot_holders'],
			ARRAY['insula_admin']),
		('routine', 'EXECUTE', ARRAY[
			'create_tenant', 'drop_tenant', 'suspend_tenant', 'resume_tenant',
			'rotate_password', 'set_tenant_limits', 'set_retention', 'status', 'audit', 'read_faults',
			'harden', 'health', 'read_overdue', 'capacity', 'read_activity', 'read_counters', 'read_tenant_counters', 'stat_reset', 'upgrade_tenants',
			'reconcile', 'adopt', 'start_scheduler', 'stop_scheduler', 'read_workers', 'workers', 'metrics'],
			ARRAY['insula_admin']),
		('routine', 'EXECUTE', ARRAY[
			'current_tenant', 'is_valid_tenant_id', 'merge_patch', 'append_patch',
			'register_workflow', 'cancel', 'pause', 'resume', 'retry',
			'cancel_executions', 'pause_executions', 'resume_executions', 'retry_executions', 'delete_executions', 'scrub', 'erase',
			'pause_workflow', 'resume_workflow', 'send_event', 'explain_execution', 'explain_tenant',
			'result', 'executions', 'read_failures', 'failures', 'timeline', 'execution_source', 'leases', 'usage', 'context_size', 'workflows', 'await', 'next_fires', 'schedule', 'unschedule', 'pause_schedule', 'resume_schedule',
			'schedules', 'create_trigger', 'drop_trigger', 'fire_trigger', 'triggers'],
			ARRAY['insula_admin', 'insula_tenant']),
		('routine', 'EXECUTE', ARRAY[
			'submit', 'submit_once', 'submit_many', 'claim', 'read_claimed', 'watch', 'nudge', 'leave', 'complete', 'complete_many', 'complete_batch',
			'fail', 'defer', 'wait_event', 'submit_child', 'join_task', 'heartbeat', 'save_progress', 'checkpoint', 'wait_for_work', 'claim_when_ready'],
			ARRAY['insula_admin', 'insula_runner', 'insula_tenant'])
	) r(kind, privilege, names, grantees),
	LATERAL pg_catalog.unnest(r.names) n(name),
	LATERAL pg_catalog.unnest(r.grantees) g(grantee);
COMMENT ON VIEW insula.intended_right IS 'what the group roles may do with the extension''s own objects, by name; no other role may do anything with them';

CREATE VIEW insula.expected_relation WITH (security_invoker = true) AS
	SELECT t.tenant, t.schema_name, t.username, r.name, r.kind, r.readable
	FROM insula.tenant t, (VALUES
		('work'::text, 'r'::"char", false), ('record', 'r', false), ('id', 'S', false),
		('work_pkey', 'i', false), ('work_queue', 'i', false), ('work_limits', 'i', false), ('record_pkey', 'i', false),
		('workflow_executions', 'v', true), ('task_executions', 'v', true), ('execution_events', 'v', true),
		('schedules', 'v', true)
	) r(name, kind, readable);
COMMENT ON VIEW insula.expected_relation IS 'the relations that each tenant''s schema should hold, and whether the tenant may read them';

-- The row types of tables and array types have no rights of their own; since PostgreSQL 17 they are
-- members of the extension.  A tenant may use its schema, and read its views.
CREATE VIEW insula.guarded_object WITH (security_invoker = true) AS
	SELECT NULL::text AS tenant, 'schema'::text AS kind, n.nspname::text AS name, 'SCHEMA'::text AS command,
		pg_catalog.quote_ident(n.nspname) AS identity, NULL::oid AS relation, n.nspowner AS owner, n.nspacl AS acl,
		pg_catalog.acldefault('n'::"char", n.nspowner) AS default_acl, NULL::oid AS reader
	FROM pg_catalog.pg_namespace n
	WHERE n.nspname = 'insula'::name
	UNION ALL
	SELECT NULL, 'relation', c.relname::text, CASE c.relkind WHEN 'S'::"char" THEN 'SEQUENCE' ELSE 'TABLE' END,
		pg_catalog.format('insula.%I'::text, c.relname), c.oid, c.relowner, c.relacl,
		pg_catalog.acldefault(CASE c.relkind WHEN 'S'::"char" THEN 's' ELSE 'r' END::"char", c.relowner), NULL
	FROM pg_catalog.pg_depend d
	JOIN pg_catalog.pg_class c ON c.oid = d.objid
	JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'insula'::name
	WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e'::"char"
		AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND c.relkind IN ('r'::"char", 'v'::"char", 'S'::"char")
	UNION ALL
	SELECT NULL, 'routine', p.proname::text, 'ROUTINE',
		pg_catalog.format('insula.%I(%s)'::text, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
		NULL, p.proowner, p.proacl, pg_catalog.acldefault('f'::"char", p.proowner), NULL
	FROM pg_catalog.pg_depend d
	JOIN pg_catalog.pg_proc p ON p.oid = d.objid
	JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'insula'::name
	WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e'::"char"
		AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
	UNION ALL
	SELECT NULL, 'type', y.typname::text, 'TYPE', pg_catalog.format('insula.%I'::text, y.typname), NULL,
		y.typowner, y.typacl, pg_catalog.acldefault('T'::"char", y.typowner), NULL
	FROM pg_catalog.pg_depend d
	JOIN pg_catalog.pg_type y ON y.oid = d.objid
	JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'insula'::name
	WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.deptype = 'e'::"char"
		AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
		AND y.typelem = 0::oid
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = y.typrelid AND c.relkind <> 'c'::"char")
	UNION ALL
	SELECT t.tenant, 'schema', n.nspname::text, 'SCHEMA', pg_catalog.quote_ident(n.nspname), NULL, n.nspowner, n.nspacl,
		pg_catalog.acldefault('n'::"char", n.nspowner), r.oid
	FROM insula.tenant t
	JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	LEFT JOIN pg_catalog.pg_roles r ON r.rolname = t.username AND r.oid = t.role_oid
	UNION ALL
	SELECT t.tenant, 'relation', c.relname::text, CASE c.relkind WHEN 'S'::"char" THEN 'SEQUENCE' ELSE 'TABLE' END,
		pg_catalog.format('%I.%I'::text, n.nspname, c.relname), c.oid, c.relowner, c.relacl,
		pg_catalog.acldefault(CASE c.relkind WHEN 'S'::"char" THEN 's' ELSE 'r' END::"char", c.relowner),
		CASE WHEN c.relname IN ('workflow_executions'::name, 'task_executions'::name, 'execution_events'::name, 'schedules'::name) THEN r.oid END
	FROM insula.tenant t
	JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind NOT IN ('i'::"char", 'I'::"char", 'c'::"char")
	LEFT JOIN pg_catalog.pg_roles r ON r.rolname = t.username AND r.oid = t.role_oid;
COMMENT ON VIEW insula.guarded_object IS 'what has rights that Insula answers for: schema insula and what is in it, tenants'' schemas and their relations; reader: the tenant''s role, where it may use or read the object';

CREATE VIEW insula.granted_right WITH (security_invoker = true) AS
	SELECT g.tenant, g.kind, g.name, NULL::text AS attribute, g.command, g.identity, g.owner,
		a.grantee, a.privilege_type AS privilege, a.is_grantable
	FROM insula.guarded_object g, LATERAL pg_catalog.aclexplode(coalesce(g.acl, g.default_acl)) a
	UNION ALL
	SELECT g.tenant, g.kind, g.name, x.attname::text, g.command, g.identity, g.owner, a.grantee, a.privilege_type, a.is_grantable
	FROM insula.guarded_object g
	JOIN pg_catalog.pg_attribute x ON x.attrelid = g.relation,
	LATERAL pg_catalog.aclexplode(x.attacl) a;
COMMENT ON VIEW insula.granted_right IS 'every right granted on what insula.guarded_object lists, and on its columns; grantee 0: PUBLIC';

CREATE VIEW insula.due_right WITH (security_invoker = true) AS
	SELECT g.tenant, g.kind, g.command, g.identity, a.grantee, a.privilege_type AS privilege
	FROM insula.guarded_object g
	JOIN pg_catalog.pg_roles o ON o.oid = g.owner AND o.rolname = 'insula_owner'::name,
	LATERAL pg_catalog.aclexplode(g.default_acl) a
	WHERE a.grantee = g.owner
	UNION ALL
	SELECT NULL, g.kind, g.command, g.identity, r.oid, i.privilege
	FROM insula.guarded_object g
	JOIN insula.intended_right i ON i.kind = g.kind AND i.name = g.name
	JOIN pg_catalog.pg_roles r ON r.rolname = i.grantee
	WHERE g.tenant IS NULL
	UNION ALL
	SELECT g.tenant, g.kind, g.command, g.identity, g.reader, CASE g.kind WHEN 'schema'::text THEN 'USAGE' ELSE 'SELECT' END
	FROM insula.guarded_object g
	WHERE g.reader IS NOT NULL;
COMMENT ON VIEW insula.due_right IS 'every right that there should be on what insula.guarded_object lists';

-- Deviations, each with the command that mends it.  Only rights of the extension's own objects can be
-- mended: a function that another role owns may hold that role's code.
CREATE VIEW insula.deviation WITH (security_invoker = true) AS
	SELECT t.tenant, 1 AS step, 'schema ' || pg_catalog.quote_ident(n.nspname) AS object,
		pg_catalog.format('ALTER SCHEMA %I OWNER TO insula_owner'::text, n.nspname) AS action, false AS as_owner,
		'belongs to ' || pg_catalog.pg_get_userbyid(n.nspowner)::text AS finding, NULL::text AS view
	FROM insula.tenant t JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	WHERE pg_catalog.pg_get_userbyid(n.nspowner) <> 'insula_owner'::name
	UNION ALL
	SELECT e.tenant, CASE c.relkind WHEN 'v'::"char" THEN 3 ELSE 2 END, pg_catalog.format('%I.%I'::text, e.schema_name, e.name),
		pg_catalog.format('ALTER %s %I.%I OWNER TO insula_owner'::text,
			CASE c.relkind WHEN 'v'::"char" THEN 'VIEW' WHEN 'S'::"char" THEN 'SEQUENCE' ELSE 'TABLE' END, e.schema_name, e.name), false,
		'belongs to ' || pg_catalog.pg_get_userbyid(c.relowner)::text, CASE c.relkind WHEN 'v'::"char" THEN e.name END
	FROM insula.expected_relation e
	JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name AND c.relkind = e.kind
	WHERE c.relkind <> 'i'::"char" AND pg_catalog.pg_get_userbyid(c.relowner) <> 'insula_owner'::name
	UNION ALL
	SELECT g.tenant, 4,
		CASE g.kind WHEN 'schema'::text THEN 'schema ' ELSE '' END || g.identity || coalesce('.' || pg_catalog.quote_ident(g.attribute), ''),
		pg_catalog.format('REVOKE %s%s%s ON %s %s FROM %s CASCADE'::text, CASE WHEN g.due THEN 'GRANT OPTION FOR ' END,
			g.privilege, ' (' || pg_catalog.quote_ident(g.attribute) || ')', g.command, g.identity,
			CASE g.grantee WHEN 0::oid THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END), true,
		pg_catalog.format('%s has %s%s'::text,
			CASE g.grantee WHEN 0::oid THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(g.grantee)::text END,
			g.privilege, CASE WHEN g.is_grantable THEN ' with grant option' END), NULL
	FROM (
		SELECT h.*, false AS due FROM insula.granted_right h
		WHERE h.attribute IS NULL AND NOT EXISTS (SELECT FROM insula.due_right r
			WHERE r.command = h.command AND r.identity = h.identity AND r.grantee = h.grantee AND r.privilege = h.privilege)
		UNION ALL
		SELECT h.*, true FROM insula.granted_right h
		WHERE h.attribute IS NULL AND h.is_grantable AND EXISTS (SELECT FROM insula.due_right r
			WHERE r.command = h.command AND r.identity = h.identity AND r.grantee = h.grantee AND r.privilege = h.privilege)
		UNION ALL
		SELECT h.*, false FROM insula.granted_right h
		WHERE h.attribute IS NOT NULL
	) g
	WHERE g.grantee <> g.owner
	UNION ALL
	SELECT r.tenant, 5, CASE r.kind WHEN 'schema'::text THEN 'schema ' ELSE '' END || r.identity,
		pg_catalog.format('GRANT %s ON %s %s TO %I'::text, r.privilege, r.command, r.identity, pg_catalog.pg_get_userbyid(r.grantee)), true,
		pg_catalog.format('%s lacks %s'::text, pg_catalog.pg_get_userbyid(r.grantee), r.privilege), NULL
	FROM insula.due_right r
	WHERE NOT EXISTS (SELECT FROM insula.granted_right g
		WHERE g.attribute IS NULL AND g.command = r.command AND g.identity = r.identity
			AND g.grantee = r.grantee AND g.privilege = r.privilege);
COMMENT ON VIEW insula.deviation IS 'owners of tenants'' schemas and relations, and rights on them and on the extension, that are not as Insula makes them, with the command that mends each, as insula.reconcile(false) runs them in the order of step; as_owner: as insula_owner, else with the caller''s rights';

-- Objects that other roles have made among Insula's.
CREATE VIEW insula.stray_object WITH (security_invoker = true) AS
	SELECT t.tenant, (pg_catalog.pg_identify_object(d.classid, d.objid, 0)).identity AS object
	FROM insula.tenant t
	JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
	JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid
	LEFT JOIN pg_catalog.pg_class c ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.objid
	LEFT JOIN insula.expected_relation e ON e.tenant = t.tenant AND e.name = c.relname
	WHERE e.name IS NULL
		AND d.classid NOT IN ('pg_catalog.pg_default_acl'::pg_catalog.regclass, 'pg_catalog.pg_publication_namespace'::pg_catalog.regclass)
	UNION ALL
	SELECT NULL, (pg_catalog.pg_identify_object(d.classid, d.objid, 0)).identity
	FROM pg_catalog.pg_namespace n
	JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid
	WHERE n.nspname = 'insula'::name
		AND d.classid NOT IN ('pg_catalog.pg_default_acl'::pg_catalog.regclass, 'pg_catalog.pg_publication_namespace'::pg_catalog.regclass,
			'pg_catalog.pg_extension'::pg_catalog.regclass)
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend m
			JOIN pg_catalog.pg_extension x ON x.oid = m.refobjid AND x.extname = 'insula'::name
			WHERE m.classid = d.classid AND m.objid = d.objid AND m.deptype = 'e'::"char"
				AND m.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass);
COMMENT ON VIEW insula.stray_object IS 'objects in tenants'' schemas, and in schema insula, that are not of Insula''s making';

CREATE VIEW insula.foreign_use WITH (security_invoker = true) AS
	SELECT DISTINCT e.tenant, e.name, pg_catalog.format('%I.%I'::text, e.schema_name, e.name) AS object,
		(pg_catalog.pg_identify_object(d.refclassid, d.refobjid, 0)).identity AS uses
	FROM insula.expected_relation e
	JOIN pg_catalog.pg_namespace n ON n.nspname = e.schema_name
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = e.name AND c.relkind = e.kind
	JOIN pg_catalog.pg_rewrite w ON w.ev_class = c.oid
	JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid AND d.refobjid <> c.oid
	WHERE e.kind = 'v'::"char"
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_class t
			WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND t.oid = d.refobjid
				AND t.relnamespace = n.oid AND t.relname IN ('work'::name, 'record'::name))
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend m
			JOIN pg_catalog.pg_extension x ON x.oid = m.refobjid AND x.extname = 'insula'::name
			WHERE m.classid = d.refclassid AND m.objid = d.refobjid AND m.deptype = 'e'::"char"
				AND m.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass);
COMMENT ON VIEW insula.foreign_use IS 'what tenants'' views use that is neither the tenant''s nor Insula''s';
