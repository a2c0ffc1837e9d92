#!/usr/bin/env bash
#
# Writes docs/reference.md and docs/settings.md from what the extension says of itself, in a database
# of the cluster of with-cluster.sh; with --check it compares them instead, and shows what differs.
#
#   scripts/with-cluster.sh -- scripts/reference.sh [--check]

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

database=insula_reference
psql -Xq -v ON_ERROR_STOP=1 -c "CREATE DATABASE $database TEMPLATE template0"
trap 'psql -Xqc "DROP DATABASE $database WITH (FORCE)"' EXIT
query() { psql -XAtq -v ON_ERROR_STOP=1 -d "$database"; }
query <<<'CREATE EXTENSION insula'

reference() {
    cat <<'HEAD'
# Reference

Written by `scripts/reference.sh` from the comments in the database, which `\df+ insula.*` and `\d+` show
too. All names are in schema `insula`. The class of errors IS is in [errors.md](errors.md), the settings are in
[settings.md](settings.md).
HEAD
    query <<'SQL'
WITH of_role(role, title, place) AS (VALUES
	('insula_tenant', 'For a tenant, or a role that may act for it', 1),
	('insula_runner', 'For workers of all tenants', 2),
	('insula_admin', 'For administrators', 3),
	('', 'For the owner alone', 4)),
called AS (
	SELECT p.oid, p.proname, p.prokind, p.provariadic, obj_description(p.oid, 'pg_proc') AS comment,
		(SELECT r.role FROM of_role r
			WHERE r.role = '' OR has_function_privilege(r.role, p.oid, 'EXECUTE') ORDER BY r.place LIMIT 1) AS role
	FROM pg_proc p
	WHERE p.pronamespace = 'insula'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NOT NULL)
SELECT CASE WHEN row_number() OVER (PARTITION BY r.place ORDER BY c.proname) = 1 THEN E'\n## ' || r.title || E'\n' ELSE '' END
	|| format(E'\n### %s\n\n```\n%s%s(%s)%s\n```\n\n%s', c.proname,
		CASE c.prokind WHEN 'p' THEN 'CALL ' ELSE '' END, c.proname, pg_get_function_arguments(c.oid),
		CASE c.prokind WHEN 'p' THEN '' ELSE ' → ' || pg_get_function_result(c.oid) END,
		replace(replace(replace(c.comment, E'\n', E'\n\n'), '<', '\<'), '*', '\*'))
FROM called c JOIN of_role r USING (role) ORDER BY r.place, c.proname;
SELECT E'\n## Views\n';
SELECT format(E'### %s\n\n%s\n\n| column | type | meaning |\n| --- | --- | --- |\n%s\n', c.relname,
	obj_description(c.oid, 'pg_class'),
	(SELECT string_agg(format('| `%s` | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod),
			coalesce(col_description(c.oid, a.attnum), '')), E'\n' ORDER BY a.attnum)
		FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
FROM pg_class c
WHERE c.relnamespace = 'insula'::regnamespace AND c.relkind = 'v' AND obj_description(c.oid, 'pg_class') IS NOT NULL
	AND (has_table_privilege('insula_tenant', c.oid, 'SELECT') OR has_table_privilege('insula_admin', c.oid, 'SELECT'))
ORDER BY c.relname;
SQL
}

settings() {
    cat <<'HEAD'
# Settings

Written by `scripts/reference.sh` from the descriptions in the server, which `pg_settings` shows too. "At the
start of the server" are sizes of shared memory; `insula.capacity()` says what of them is used.

HEAD
    query <<'SQL'
SELECT '| setting | default | takes effect | meaning |' || E'\n' || '| --- | --- | --- | --- |';
SELECT format('| `%s` | `%s%s` | %s | %s |', name, CASE boot_val WHEN '' THEN '''''' ELSE boot_val END, ' ' || unit,
	CASE context WHEN 'postmaster' THEN 'at the start of the server' WHEN 'sighup' THEN 'at a reload'
		WHEN 'superuser' THEN 'at once, if a superuser sets it' ELSE 'at once, in a session' END,
	short_desc || coalesce(' ' || extra_desc, ''))
FROM pg_settings WHERE name LIKE 'insula.%' ORDER BY name;
SQL
}

status=0
for page in reference settings; do
    if [[ ${1:-} == --check ]]; then
        diff -u --label "docs/$page.md" "$root/docs/$page.md" --label "as the server says" <("$page") || status=1
    else
        "$page" >"$root/docs/$page.md"
    fi
done
((status == 0)) || echo "write them anew: scripts/with-cluster.sh -- scripts/reference.sh"
exit "$status"
