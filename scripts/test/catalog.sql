-- What the extension consists of in this database, without Oids: two databases whose extension is the same print the same.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET search_path = pg_catalog;
SET client_min_messages = error;

CREATE TEMP VIEW member AS
	SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS what
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'insula'
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e';
-- And what hangs on a member: indexes, constraints, defaults, rules, sequences.
CREATE TEMP VIEW part AS
	SELECT * FROM member
	UNION
	SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0)
	FROM pg_depend d JOIN member m ON m.classid = d.refclassid AND m.objid = d.refobjid
	WHERE d.deptype IN ('a', 'i') AND d.classid <> 'pg_type'::regclass
		AND NOT (d.classid = 'pg_class'::regclass AND (SELECT relkind = 't' FROM pg_class WHERE oid = d.objid));
CREATE FUNCTION pg_temp.rights(acl aclitem[]) RETURNS text LANGUAGE sql AS
	$$ SELECT coalesce(string_agg(a::text, ', ' ORDER BY a::text), 'default') FROM unnest(acl) a $$;

\echo extension: version, relocatable, schema, owner; tables that are dumped
SELECT extversion, extrelocatable, extnamespace::regnamespace, extowner::regrole FROM pg_extension WHERE extname = 'insula';
SELECT c.oid::regclass, x.condition
	FROM pg_extension e, LATERAL unnest(e.extconfig, e.extcondition) x(oid, condition) JOIN pg_class c ON c.oid = x.oid
	WHERE e.extname = 'insula' ORDER BY c.oid::regclass::text;
\echo schema
SELECT nspname, nspowner::regrole, pg_temp.rights(nspacl) FROM pg_namespace WHERE nspname = 'insula';
\echo parts
SELECT what FROM part ORDER BY 1;
\echo dependencies
SELECT DISTINCT p.what, d.deptype, pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) AS refers
	FROM part p JOIN pg_depend d ON d.classid = p.classid AND d.objid = p.objid ORDER BY 1, 2, 3;
\echo comments
SELECT m.what, c.objsubid, c.description FROM member m JOIN pg_description c ON c.classoid = m.classid AND c.objoid = m.objid ORDER BY 1, 2;
\echo functions
SELECT pg_get_functiondef(p.oid), proowner::regrole, pg_temp.rights(proacl), prorows, procost
	FROM member m JOIN pg_proc p ON p.oid = m.objid WHERE m.classid = 'pg_proc'::regclass ORDER BY m.what;
\echo relations: kind, persistence, owner, rights, options, row security, view
SELECT m.what, relkind, relpersistence, relowner::regrole, pg_temp.rights(relacl), reloptions, relrowsecurity, relforcerowsecurity,
		CASE relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END
	FROM member m JOIN pg_class c ON c.oid = m.objid WHERE m.classid = 'pg_class'::regclass ORDER BY 1;
\echo columns, of composite types too
SELECT m.what, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity,
		a.attcollation::regcollation, a.attstorage, pg_temp.rights(a.attacl)
	FROM member m LEFT JOIN pg_type y ON m.classid = 'pg_type'::regclass AND y.oid = m.objid
	JOIN pg_class c ON c.oid = CASE WHEN m.classid = 'pg_class'::regclass THEN m.objid ELSE y.typrelid END
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum ORDER BY 1, 2;
\echo constraints, indexes
SELECT m.what, k.conname, pg_get_constraintdef(k.oid)
	FROM member m JOIN pg_constraint k ON k.conrelid = m.objid WHERE m.classid = 'pg_class'::regclass ORDER BY 1, 2;
SELECT pg_get_indexdef(i.indexrelid)
	FROM member m JOIN pg_index i ON i.indrelid = m.objid WHERE m.classid = 'pg_class'::regclass ORDER BY 1;
\echo types: owner, rights
SELECT m.what, y.typowner::regrole, pg_temp.rights(y.typacl)
	FROM member m JOIN pg_type y ON y.oid = m.objid WHERE m.classid = 'pg_type'::regclass ORDER BY 1;
