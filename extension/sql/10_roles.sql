-- The four roles belong to the cluster: other databases with the extension share them,
-- so they are made if missing and never dropped here.  One that can log in, or that
-- carries rights of its own, is not ours.
DO $$
DECLARE
	name text;
	members text;
BEGIN
	FOREACH name IN ARRAY ARRAY['insula_owner', 'insula_admin', 'insula_runner', 'insula_tenant'] LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', name);
		ELSIF EXISTS (
			SELECT FROM pg_catalog.pg_roles
			WHERE rolname = name
				AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)) THEN
			RAISE EXCEPTION USING
				ERRCODE = 'duplicate_object',
				MESSAGE = pg_catalog.format('role "%s" exists with LOGIN or with attributes', name),
				HINT = pg_catalog.format('Insula needs this name for a group role: rename the role, or use ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS.', name);
		END IF;
	END LOOP;
	IF EXISTS (SELECT FROM pg_catalog.pg_auth_members WHERE roleid = 'insula_owner'::pg_catalog.regrole) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = 'role "insula_owner" has members',
			HINT = 'No role may act as the owner of the tenants'' tables: REVOKE insula_owner from its members.';
	END IF;
	IF EXISTS (SELECT FROM pg_catalog.pg_auth_members WHERE member = 'insula_owner'::pg_catalog.regrole) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = 'role "insula_owner" is a member of other roles',
			HINT = 'REVOKE those roles from insula_owner.';
	END IF;
	-- A role that existed before may have members, which now get the group's rights on all tenants.
	FOREACH name IN ARRAY ARRAY['insula_admin', 'insula_runner'] LOOP
		SELECT pg_catalog.string_agg(pg_catalog.pg_get_userbyid(m.member)::text, ', '::text ORDER BY pg_catalog.pg_get_userbyid(m.member))
		INTO members
		FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid = m.roleid AND r.rolname = name;
		IF members IS NOT NULL THEN
			RAISE WARNING USING
				MESSAGE = pg_catalog.format('role "%s" has members already: %s'::text, name, members),
				DETAIL = CASE name WHEN 'insula_admin'::text THEN 'They administer all tenants of this database.' ELSE 'They work for all tenants of this database.' END,
				HINT = pg_catalog.format('REVOKE %I from those that shall not.'::text, name);
		END IF;
	END LOOP;
	-- An administrator must see which of the tenants' sessions hold locks and old snapshots.
	GRANT pg_read_all_stats TO insula_admin;
	EXECUTE pg_catalog.format('GRANT CONNECT, CREATE ON DATABASE %I TO insula_owner', pg_catalog.current_database());
	EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO insula_tenant', pg_catalog.current_database());
END
$$;
