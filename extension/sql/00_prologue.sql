\echo Use "CREATE EXTENSION insula" to load this file. \quit

-- CREATE EXTENSION puts schema insula in front, and an operator that another role has made there fits the types of a
-- comparison better than PostgreSQL's own.  All that the script makes is named with its schema.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The extension makes its schema.  A schema that another role made beforehand could hold traps, or
-- be changed by its owner at any time.
DO $$
DECLARE
	schema_owner oid := (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'insula');
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE oid = schema_owner AND (rolsuper OR rolname = 'insula_owner')) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_schema',
			MESSAGE = 'schema "insula" exists and belongs to a role that is not a superuser',
			HINT = 'Drop or rename the schema, then run CREATE EXTENSION again.';
	END IF;
	IF EXISTS (SELECT FROM pg_catalog.pg_depend
		WHERE refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND refobjid = 'insula'::pg_catalog.regnamespace
			AND classid NOT IN ('pg_catalog.pg_extension'::pg_catalog.regclass, 'pg_catalog.pg_default_acl'::pg_catalog.regclass)) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = 'schema "insula" is not empty',
			HINT = 'Drop or rename the schema, then run CREATE EXTENSION again.';
	END IF;
END
$$;
