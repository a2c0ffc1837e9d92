#!/usr/bin/env bash
#
# An upgrade without an outage, walked from each released version and from this tree's to a next one, which
# next-version.py makes up: the SQL of the old version with tenants that have work, and the library of the next loaded
# first, as where others run the server; then ALTER EXTENSION UPDATE while a worker works. The catalog must be as if
# the next version had been installed at once. Then the older library finds newer SQL.
#
#   upgrade.sh preload|no_preload
#   upgrade.sh walk DIRECTORY NEXT     (itself, on the cluster)

# Databases change in subshells, on purpose.
# shellcheck disable=SC2030,SC2031
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source-path=SCRIPTDIR source=sql.sh
. "$root/scripts/test/sql.sh"

self=$root/scripts/test/${0##*/}

# ---------------------------------------------------------------------------
# The next version, and a server that has both
# ---------------------------------------------------------------------------

if [[ ${1:-} != walk ]]; then
    dir=$(mktemp -d /tmp/insula.XXXXXX)
    trap 'rm -rf "$dir"' EXIT
    chmod 755 "$dir"
    "$root/scripts/server-tree.sh" >/dev/null
    mkdir "$dir/next"
    next=$("$root/scripts/test/next-version.py" "$dir/next")
    "$root/scripts/test/install-script.py" "$dir/next/extension/sql" >/dev/null

    # Its library is this one's objects but for two.
    cd "$build/extension"
    read -r compile <inputs.compile
    read -ra objects < <(sed 's/^.* -Wl,[^ ]* //' inputs.link)
    rest=()
    for object in "${objects[@]}"; do
        if [[ $object == *.o && $object != */installed.o ]]; then rest+=("$object"); fi
    done
    eval "$compile" "-DINSULA_VERSION='\"$next\"'" -c -o "$dir/next/installed.o" "$root/extension/src/tenant/installed.cpp"
    eval "$compile" -c -o "$dir/next/motto.o" "$dir/next/motto.cpp"
    cc -shared -o "$dir/next/insula.so" "${rest[@]}" "$dir/next/installed.o" "$dir/next/motto.o"
    cp insula.so "$dir/next/insula.old.so"

    cp -a --reflink=auto "$build/pg" "$dir/pg"
    share=$dir/pg$(pg_config --sharedir)/extension
    cp "$dir/next/extension/insula--$next.sql" "$dir"/next/extension/sql/insula--*--*.sql "$share"
    cp "$dir"/next/extension/releases/*.sql "$share"
    cd /
    "$root/scripts/with-cluster.sh" "--${1//_/-}" --tree "$dir/pg" -- "$self" walk "$dir" "$next"
    exit
fi

# ---------------------------------------------------------------------------
# On its cluster
# ---------------------------------------------------------------------------

dir=$2
next=$3
tree=${INSULA_PGBIN%"$(pg_config --bindir)"}
library=$tree$(pg_config --pkglibdir)/insula.so
share=$tree$(pg_config --sharedir)/extension

# swap LIBRARY: as a package does, by another file of the same name.
swap() {
    cp "$1" "$library.new"
    mv "$library.new" "$library"
    ((!INSULA_PRELOADED)) || "$INSULA_PG_CTL" restart
}

submit="SELECT insula.submit('w', tenant => 'acme') > 0"
work="SELECT count(insula.complete(task_id, lease)) > 0 FROM insula.claim('w', max_tasks => 100, tenant => 'acme')"
fires="SELECT count(*) FROM tenant_ticking.workflow_executions"
fires_go_on() {
    local before
    before=$(value "$fires")
    until_true "SELECT ($fires) > $before"
}
serves() {
    is "$1: submit" t "$submit"
    is "$1: claim and complete" t "$work"
    is "$1: a tenant is made" t "SELECT count(*) = 1 FROM insula.create_tenant('another', login => false)"
    is "$1: and suspended, resumed and dropped" '||' \
        "SELECT insula.suspend_tenant('another'), insula.resume_tenant('another'), insula.drop_tenant('another')"
    is "$1: the audit" 0 "SELECT count(*) FROM insula.audit() WHERE level <> 'advice'"
    is "$1: its parts" t "SELECT (SELECT count(*) FROM insula.metrics()) + (SELECT count(*) FROM insula.health()) > 0"
    fires_go_on
}

released=("$dir"/next/extension/releases/insula--*.sql)
released=("${released[@]##*/insula--}")
released=("${released[@]%.sql}")

for version in "${released[@]}"; do
    createdb "from_$version"
    (
        export PGDATABASE=from_$version
        sql "CREATE EXTENSION insula VERSION '$version'"
        sql "SELECT insula.create_tenant(t, login => false) FROM unnest(ARRAY['acme', 'ticking', 'idle']) t"
        sql "SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => t)
            FROM unnest(ARRAY['acme', 'ticking', 'idle']) t"
        sql "SELECT insula.schedule('ticks', 'w', '* * * * * *', tenant => 'ticking')"
        sql "SELECT insula.submit('w', tenant => 'acme') FROM generate_series(1, 3)"
        sql "CREATE TABLE running AS SELECT task_id, lease FROM insula.claim('w', max_tasks => 2, lease_for => '1 h', tenant => 'acme')"
        is "running tasks" 2 "SELECT count(*) FROM running"
        serves "SQL $version, this library"
    )
done

# A session that has the old library goes on with it until the SQL is newer.
if ((!INSULA_PRELOADED)); then
    PGDATABASE=from_${released[0]}
    coproc OLD { PGDATABASE=$PGDATABASE exec psql -XAtq -v VERBOSITY=sqlstate 2>&1; }
    # Subshells have the copies.
    exec {to_old}>&"${OLD[1]}" {from_old}<&"${OLD[0]}"
    ask_old() {
        local answer
        printf '%s;\n' "$1" >&"$to_old"
        read -r -t 60 answer <&"$from_old"
        echo "${answer#ERROR:  }"
    }
    [[ $(ask_old "$submit") == t ]] || die "the old session"
fi

# The SQL cannot overtake the library, though a script may make no function that the old library lacks.
update=$share/insula--${released[-1]}--$next.sql
cp "$update" "$dir/update.sql"
sed -i "s/'insula_motto'/'insula_resume_tenant'/" "$update"
(
    export PGDATABASE=from_${released[-1]}
    is "the SQL first" IS009 "ALTER EXTENSION insula UPDATE TO '$next'"
    sql "SELECT insula.stop_scheduler()"
    is "the SQL first, without a scheduler" IS009 "ALTER EXTENSION insula UPDATE TO '$next'"
    sql "SELECT insula.start_scheduler()"
    serves "the SQL that stayed"
)
cp "$dir/update.sql" "$update"

swap "$dir/next/insula.so"
sed "s/^default_version = .*/default_version = '$next'/" "$share/insula.control" >"$share/insula.control.new"
mv "$share/insula.control.new" "$share/insula.control"

createdb fresh
PGDATABASE=fresh sql "CREATE EXTENSION insula"
PGDATABASE=fresh psql -X -v ON_ERROR_STOP=1 -f "$root/scripts/test/catalog.sql" >"$dir/fresh"

for version in "${released[@]}"; do
    (
        export PGDATABASE=from_$version
        serves "SQL $version, library $next"
        is "a lease from before" t "SELECT insula.complete(task_id, lease) FROM (SELECT * FROM running ORDER BY task_id LIMIT 1) r"
        ((INSULA_PRELOADED)) || [[ $version != "${released[0]}" || $(ask_old "$submit") == t ]] || die "the old session, before the update"

        # A worker and a session that waits go on through the update.
        sql "CREATE TABLE rounds AS SELECT 0 AS n"
        sql "CREATE TABLE stop ()"
        psql -XAtq -v ON_ERROR_STOP=1 -c "DO \$\$
            BEGIN
                WHILE (SELECT count(*) = 0 FROM pg_attribute WHERE attrelid = 'stop'::regclass AND attname = 'now') LOOP
                    PERFORM insula.submit('w', tenant => 'acme');
                    COMMIT;
                    PERFORM insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 10, tenant => 'acme');
                    UPDATE rounds SET n = n + 1;
                    COMMIT;
                END LOOP;
            END \$\$" &
        worker=$!
        until_true "SELECT n > 5 FROM rounds"
        psql -XAtq -v ON_ERROR_STOP=1 -c "SET client_min_messages = error" \
            -c "CALL insula.wait_for_work('5 min', tenant => 'idle')" >"$dir/waited" &
        waiter=$!
        until_true "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CALL insula.wait_for_work%' AND wait_event_type = 'Extension'"
        sql "ALTER EXTENSION insula UPDATE"
        rounds=$(value "SELECT n FROM rounds")
        until_true "SELECT n > $rounds + 5 FROM rounds"
        sql "ALTER TABLE stop ADD now boolean"
        wait "$worker" || die "the worker was disturbed"
        kill -0 "$waiter" || die "the waiting session did not wait: $(<"$dir/waited")"
        sql "SELECT insula.submit('w', tenant => 'idle')"
        wait "$waiter" || die "the waiting session was disturbed"
        [[ $(<"$dir/waited") == t ]] || die "the waiting session was told: $(<"$dir/waited")"

        is "the version" "$next" "SELECT extversion FROM pg_extension WHERE extname = 'insula'"
        psql -X -v ON_ERROR_STOP=1 -f "$root/scripts/test/catalog.sql" >"$dir/updated"
        diff -u "$dir/fresh" "$dir/updated" || die "from $version: the catalog is not that of a fresh $next"
        serves "SQL and library $next"
        is "the other lease from before" t "SELECT insula.complete(task_id, lease) FROM (SELECT * FROM running ORDER BY task_id DESC LIMIT 1) r"
        is "what is new" "" "SELECT insula.motto('acme')"
        sql "UPDATE insula.tenant SET motto = 'labor omnia vincit' WHERE tenant = 'acme'"
        is "what is new" "labor omnia vincit" "SELECT insula.motto('acme')"
        is "nothing is to be mended" 0 "SELECT count(*) FROM insula.reconcile()"
        ((INSULA_PRELOADED)) || [[ $version != "${released[0]}" || $(ask_old "$submit") == IS009 ]] || die "the old session, after the update"
    )
done

# ---- a library that is older than the SQL ----

swap "$dir/next/insula.old.so"
export PGDATABASE=from_${released[0]}
for call in "$submit" "$work" "SELECT insula.create_tenant('more')" "SELECT insula.drop_tenant('acme')" \
    "CALL insula.wait_for_work('1 s')" "SELECT insula.suspend_tenant('acme')" "SELECT insula.cancel(max(execution_id)) FROM tenant_acme.workflow_executions" \
    "SELECT * FROM insula.claim('w')" "SELECT insula.complete(task_id, lease) FROM running" "SELECT insula.reconcile(false)" \
    "SELECT insula.adopt()" "SELECT insula.set_retention('acme', '1 day', 'w')" "SELECT insula.erase('acme', '\$.a', '1')"; do
    is "an older library" IS009 "$call"
done
told=$(psql -XAtq -c "$submit" 2>&1) && die "an older library works"
[[ $told == *"extension \"insula\" has version $next, its library "* && $told == *"HINT:  Install the library of version $next"* ]] ||
    die "an older library says: $told"
swap "$dir/next/insula.so"
serves "the library again"
