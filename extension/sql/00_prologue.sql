\echo Use "CREATE EXTENSION insula" to load this file. \quit

-- The schema comes with the extension.  One that somebody made beforehand could hold
-- traps, or be changed by its owner at any time.
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
	IF EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = 'insula'::pg_catalog.regnamespace)
		OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace = 'insula'::pg_catalog.regnamespace)
		OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typnamespace = 'insula'::pg_catalog.regnamespace) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = 'schema "insula" is not empty',
			HINT = 'Drop or rename the schema, then run CREATE EXTENSION again.';
	END IF;
END
$$;
