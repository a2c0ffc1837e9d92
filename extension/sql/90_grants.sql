-- Owners and rights.  Rights that any role's default privileges have granted are revoked, and each
-- role gets the rights that insula.intended_right lists and no others.
ALTER SCHEMA insula OWNER TO insula_owner;

DO $$
DECLARE
	alteration text;
	stray text;
BEGIN
	-- Compiling the queries on the catalogs just in time takes longer than running them.
	PERFORM pg_catalog.set_config('jit'::text, 'off'::text, true);
	-- The list is read to its end first: no table changes its owner while a query uses it.
	FOREACH alteration IN ARRAY ARRAY(
		SELECT pg_catalog.format('ALTER %s %s OWNER TO insula_owner'::text, command, identity)
		FROM insula.guarded_object
		-- A sequence of ours belongs to its table and follows its owner.
		WHERE tenant IS NULL AND command IN ('TABLE'::text, 'ROUTINE'::text, 'TYPE'::text)
			-- An update finds most of them so, and locks none of these.
			AND owner <> 'insula_owner'::pg_catalog.regrole::oid)
	LOOP
		EXECUTE alteration;
	END LOOP;
	FOR alteration IN SELECT action FROM insula.deviation WHERE tenant IS NULL AND step IN (4, 5) ORDER BY step, action LOOP
		EXECUTE alteration;
	END LOOP;
	-- Another session may have used the right to make objects in the schema until now.
	SELECT object INTO stray FROM insula.stray_object WHERE tenant IS NULL;
	IF stray IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = pg_catalog.format('schema "insula" holds %s, which is not of Insula''s making'::text, stray),
			HINT = 'Drop it, or the schema where the extension is not in it yet, and try again.';
	END IF;
END
$$;
