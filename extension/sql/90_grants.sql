-- Owners and rights.  Rights that any role's default privileges have granted are revoked, and each
-- role gets the rights that insula.intended_right lists and no others.
ALTER SCHEMA insula OWNER TO insula_owner;

DO $$
DECLARE
	command text;
	stray text;
BEGIN
	-- Compiling the queries on the catalogs just in time takes longer than running them.
	PERFORM pg_catalog.set_config('jit'::text, 'off'::text, true);
	FOR command IN
		SELECT pg_catalog.format('ALTER %s %s OWNER TO insula_owner'::text,
			CASE i.type WHEN 'composite type'::text THEN 'type' ELSE i.type END, i.identity)
		FROM pg_catalog.pg_depend d, LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) i
		WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'insula'::name)
			AND d.deptype = 'e'::"char"
			-- A sequence of ours belongs to its table and follows its owner.
			AND i.type IN ('table'::text, 'view'::text, 'function'::text, 'procedure'::text, 'composite type'::text, 'type'::text)
	LOOP
		EXECUTE command;
	END LOOP;
	FOR command IN SELECT action FROM insula.deviation WHERE tenant IS NULL AND step IN (4, 5) ORDER BY step, action LOOP
		EXECUTE command;
	END LOOP;
	-- Another session may have used the right to make objects in the schema until now.
	SELECT object INTO stray FROM insula.stray_object WHERE tenant IS NULL;
	IF stray IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = pg_catalog.format('schema "insula" holds %s, which is not of Insula''s making'::text, stray),
			HINT = 'Drop the schema, then run CREATE EXTENSION again.';
	END IF;
END
$$;
