#!/usr/bin/env bash
#
# Copies of a database: each kind is made, must do no work by itself, and must work
# once it has been adopted; what is no copy goes on. On the cluster of
# with-cluster.sh, with archiving to ../archive; second servers are started here and
# stopped at the end.
#
#   copies.sh           all of it
#   copies.sh restored DUMP OPTION...   (itself, on a fresh cluster)
#   copies.sh upgraded [OPTION]...      (itself, on a fresh cluster) with options of pg_upgrade; INSULA_NEW_PGBIN has
#                                       the programs of another version

# Databases and ports change in subshells, on purpose.
# shellcheck disable=SC2030,SC2031
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source-path=SCRIPTDIR source=sql.sh
. "$root/scripts/test/sql.sh"

self=$root/scripts/test/${0##*/}
dir=${INSULA_PGDATA%/*}

submit="SELECT insula.submit('w', tenant => 'acme') > 0"
clean="SELECT count(*) FROM insula.audit() WHERE level <> 'advice'"
# What a worker does, in one statement.
work="SELECT count(insula.complete(task_id, lease)) > 0 FROM insula.claim('w', max_tasks => 100, tenant => 'acme')"

is_idle() {
    is "$1 submits" IS008 "$submit"
    is "$1 claims" IS008 "SELECT * FROM insula.claim('w', tenant => 'acme')"
    is "$1 claims for all" IS008 "SELECT * FROM insula.claim('w')"
    is "$1 waits" IS008 "CALL insula.wait_for_work('1 s')"
    is "$1 registers" IS008 "SELECT insula.register_workflow('{}', tenant => 'acme')"
    is "$1 cancels" IS008 "SELECT insula.cancel(execution_id) FROM tenant_acme.workflow_executions LIMIT 1"
    is "$1 drops" IS008 "SELECT insula.drop_tenant('acme')"
    is "$1 makes tenants" IS008 "SELECT insula.create_tenant('another')"
    is "$1 can be read" t "SELECT count(*) > 0 FROM tenant_acme.task_executions"
    is "$1 says so" f "SELECT value = 'yes' FROM insula.status() WHERE item = 'adopted'"
}

works() {
    is "$1: submit" t "$submit"
    is "$1: claim and complete" t "$work"
}

make_tenants() {
    sql "CREATE EXTENSION insula"
    sql "SELECT insula.create_tenant(t) FROM unnest(ARRAY['acme', 'sleepy', 'gone']) t"
    sql "SELECT insula.create_tenant('roleless', login => false)"
    sql "SELECT insula.set_tenant_limits('acme', max_connections => 7), insula.suspend_tenant('sleepy')"
    sql "SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => 'acme')"
    sql "$submit"
    is "a fresh database" 0 "$clean"
}

# A second server, in $dir/second.
port=$((PGPORT + 1))
second_bin=$INSULA_PGBIN
stop_second() {
    [[ ! -f $dir/second/postmaster.pid ]] ||
        as_user "$INSULA_SERVER_USER" "$second_bin/pg_ctl" -s -D "$dir/second" -m immediate stop || true
}
trap stop_second EXIT
second() {
    (cd "$dir" && as_user "$INSULA_SERVER_USER" "$second_bin/pg_ctl" -s -w -t 60 -D "$dir/second" \
        -l "$dir/second.log" -o "-p $port" "$@") || {
        cat "$dir/second.log" >&2
        die "the second server does not $1"
    }
}
backup() {
    rm -rf "$dir/second"
    (cd "$dir" && as_user "$INSULA_SERVER_USER" "$INSULA_PGBIN/pg_basebackup" -D "$dir/second" -c fast "$@")
}

# ---- pg_upgrade ----

if [[ ${1:-} == upgraded ]]; then
    make_tenants
    sql "SELECT insula.schedule('ticks', 'w', '* * * * * *', tenant => 'gone')
        FROM insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => 'gone')"
    sql "SELECT insula.claim('a worker', tenant => 'acme')"
    sql "$submit"
    home="SELECT system_identifier = (SELECT system_identifier::text FROM pg_control_system()) FROM insula.home"
    is "its home" t "$home"
    # Files that were carried over without pg_upgrade, as by what gives a standby another system identifier.
    "$INSULA_PG_CTL" stop
    (cd "$dir" && as_user "$INSULA_SERVER_USER" cp -r data second)
    second start -o "-c insula.scheduler=off"
    (
        export PGPORT=$port
        sql "UPDATE insula.home SET system_identifier = '1'"
        sql "UPDATE insula.home_mark SET system_identifier = '1'"
        is_idle "a copy of the files in another cluster"
        sql "SELECT insula.adopt()"
        works "an adopted copy of the files"
    )
    second -m fast stop
    # What pg_upgrade makes goes on.
    as_user "$INSULA_SERVER_USER" rm -rf "$dir/second"
    second_bin=${INSULA_NEW_PGBIN:-$INSULA_PGBIN}
    # Both clusters have checksums or none; since PostgreSQL 18 that has another default.
    same=()
    if "$second_bin/initdb" --help | grep -e --no-data-checksums >/dev/null; then same=(--no-data-checksums); fi
    as_user "$INSULA_SERVER_USER" "$second_bin/initdb" -D "$dir/second" -U postgres --locale=C.UTF-8 \
        --encoding=UTF8 --auth=trust --no-sync --no-instructions ${same[@]+"${same[@]}"} >/dev/null
    as_user "$INSULA_SERVER_USER" sh -c "grep '^[a-z]' '$INSULA_PGDATA/postgresql.conf' >>'$dir/second/postgresql.conf'"
    as_user "$INSULA_SERVER_USER" mkdir "$dir/upgrade"
    (cd "$dir/upgrade" && as_user "$INSULA_SERVER_USER" "$second_bin/pg_upgrade" "${@:2}" -U postgres -s "$dir" \
        -b "$INSULA_PGBIN" -B "$second_bin" -d "$INSULA_PGDATA" -D "$dir/second" >"$dir/upgrade/log") || {
        cat "$dir/upgrade/log" "$dir"/second/pg_upgrade_output.d/*/log/* >&2
        die "pg_upgrade failed"
    }
    second start -o "-c shared_preload_libraries="
    (
        export PGPORT=$port
        is "an upgraded cluster, without shared memory" yes "SELECT value FROM insula.status() WHERE item = 'adopted'"
        is "what was queued" t "$work"
        works "an upgraded cluster, without shared memory"
        is "its home was not written by the way" f "$home"
        PGUSER=acme_user works "its tenant"
        is "its audit" 0 "$clean"
        second -m fast restart
        before=$(value "SELECT count(*) FROM tenant_gone.workflow_executions")
        until_true "SELECT count(*) > $before FROM tenant_gone.workflow_executions"
        until_true "$home"
        works "an upgraded cluster"
        is "nothing is left to do" 0 "SELECT count(*) FROM insula.reconcile()"
    )
    exit 0
fi

# ---- a dump in a fresh cluster ----

if [[ ${1:-} == restored ]]; then
    dump=$2
    shift 2
    createdb restored
    export PGDATABASE=restored
    # The tenants' roles are not there: pg_restore complains and goes on.
    "$INSULA_PGBIN/pg_restore" -d restored "$@" "$dump" >/dev/null 2>&1 || true
    is_idle "a dump in a fresh cluster"
    is "its dry run" t "SELECT count(*) >= 3 FROM insula.reconcile()"
    is "a dry run does nothing" 0 "SELECT count(*) FROM pg_roles WHERE rolname = 'acme_user'"
    is "reconcile" 0 "SELECT count(*) FROM insula.reconcile(false) WHERE error IS NOT NULL"
    is_idle "a reconciled dump"
    is "after it, the audit" 0 "$clean"
    is "nothing is left to do" 0 "SELECT count(*) FROM insula.reconcile()"
    is "no log-in yet" f "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'acme_user'"
    is "limits" 7 "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'acme_user'"
    sql "SELECT insula.adopt()"
    sql "SELECT insula.adopt()"
    sql "SELECT insula.rotate_password('acme')"
    is "what was queued" t "$work"
    works "an adopted dump"
    PGUSER=acme_user works "its tenant"
    is "suspended tenants stay so" f "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'sleepy_user'"
    sql "DROP VIEW tenant_acme.execution_events"
    is "a lost view" 0 "SELECT count(*) FROM insula.reconcile(false) WHERE error IS NOT NULL"
    is "a lost view is back" 0 "$clean"
    sql "CREATE ROLE gone_user_2"
    sql "SELECT insula.drop_tenant('gone'), insula.drop_tenant('sleepy'), insula.drop_tenant('acme', '0 s')"
    exit 0
fi

make_tenants
dump=$dir/dump
"$INSULA_PGBIN/pg_dump" -Fc -f "$dump" postgres
chmod a+r "$dump"
"$root/scripts/with-cluster.sh" --preload -- "$self" restored "$dump"
"$root/scripts/with-cluster.sh" --no-preload -- "$self" restored "$dump" --no-owner --no-privileges
"$root/scripts/with-cluster.sh" --preload -- "$self" upgraded

# ---- TEMPLATE, in the same cluster ----

createdb -T postgres twin
(
    export PGDATABASE=twin
    is_idle "a TEMPLATE copy"
    is "it may not touch roles" IS008 "SELECT insula.reconcile(false)"
    sql "SELECT insula.adopt()"
    sql "SELECT insula.reconcile(false)"
    is "its audit" 0 "$clean"
    works "an adopted TEMPLATE copy"
    is "it has roles of its own" f "SELECT username = 'acme_user' FROM insula.tenants WHERE tenant = 'acme'"
    PGUSER=acme_user is "the original's tenant" 42501 "$submit"
    PGUSER=acme_user is "the original's tenant reads" 42501 "SELECT count(*) FROM tenant_acme.task_executions"
    sql "SELECT insula.drop_tenant('acme', '0 s')"
)
works "the original of a TEMPLATE copy"
PGUSER=acme_user works "its tenant"
is "its audit" 0 "$clean"
dropdb twin

# ---- a copy without tenants is nobody's ----

createdb empty
PGDATABASE=empty sql "CREATE EXTENSION insula"
createdb -T empty empty_too
PGDATABASE=empty_too sql "SELECT insula.create_tenant('acme', username => 'acme_too')"
PGDATABASE=empty_too is "a copy without tenants" IS002 "$submit"
PGDATABASE=empty_too sql "SELECT insula.drop_tenant('acme')"
dropdb empty_too

# ---- one tenant into another database ----

sql "$submit"
PGDATABASE=empty sql "SELECT insula.create_tenant('acme', username => 'acme_there')"
"$INSULA_PGBIN/pg_dump" -Fc --data-only -n tenant_acme postgres |
    "$INSULA_PGBIN/pg_restore" --data-only --single-transaction -d empty
(
    export PGDATABASE=empty
    is "reconcile after an import" 0 "SELECT count(*) FROM insula.reconcile(false)"
    is "the import's audit" 0 "$clean"
    is "history came along" t "SELECT count(*) > 0 FROM tenant_acme.workflow_executions WHERE status = 'completed'"
    is "what was queued came along" t "$work"
    PGUSER=acme_there works "an imported tenant"
    sql "SELECT insula.drop_tenant('acme', '0 s')"
)
dropdb empty
is "what was exported is still there" t "$work"

# ---- second servers ----

as_user "$INSULA_SERVER_USER" mkdir "$dir/archive"

# A standby reads, refuses to write, fires nothing, and once promoted goes on by itself.
fires="SELECT count(*) FROM tenant_acme.workflow_executions WHERE context ? 'scheduled_time'"
sql "SELECT insula.schedule('ticks', 'w', '* * * * * *', tenant => 'acme')"
backup -R
second start
sql "$submit"
lsn=$(value "SELECT pg_current_wal_lsn()")
(
    export PGPORT=$port
    until_true "SELECT pg_last_wal_replay_lsn() >= '$lsn'"
    is "a standby's views" t "SELECT count(*) > 0 FROM tenant_acme.task_executions"
    is "a standby's result" t "SELECT (insula.result(execution_id)).status <> '' FROM tenant_acme.workflow_executions LIMIT 1"
    is "a standby's audit" 0 "$clean"
    is "a standby's status" yes "SELECT value FROM insula.status() WHERE item = 'adopted'"
    is "a standby's activity" 4 "SELECT count(*) FROM insula.tenant_activity"
    is "a standby's tenant" acme "SET insula.tenant = 'acme'; SELECT insula.current_tenant()"
    for call in "$submit" "$work" "CALL insula.wait_for_work('1 s')" "SELECT insula.drop_tenant('gone')" \
        "SELECT * FROM insula.claim('w')" "SELECT insula.complete(1, 1)" "SELECT insula.heartbeat('{}', '{}')" \
        "SELECT insula.leave('w')" "SELECT insula.cancel(1)" "CALL insula.claim_when_ready('1 s', 'w')" \
        "SELECT insula.create_tenant('another')" "SELECT insula.adopt()" "SELECT insula.reconcile(false)"; do
        is "a standby refuses" 25006 "$call"
    done
    is "a standby's processes" 0 "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'insula %'"
    second promote
    until_true "SELECT NOT pg_is_in_recovery()"
    before=$(value "$fires")
    until_true "SELECT ($fires) > $before"
    works "a promoted standby"
)
stop_second
sql "SELECT insula.unschedule('ticks', tenant => 'acme')"

# Recovery to a point in time makes a copy, which stays one after a restart.
backup
as_user "$INSULA_SERVER_USER" touch "$dir/second/recovery.signal"
printf '%s\n' "restore_command = 'cp ../archive/%f %p'" "archive_mode = off" "recovery_target = 'immediate'" \
    "recovery_target_action = promote" "recovery_target_timeline = current" >>"$dir/second/postgresql.conf"
sql "SELECT pg_switch_wal()"
second start
(
    export PGPORT=$port
    until_true "SELECT NOT pg_is_in_recovery()"
    is_idle "a recovered cluster"
    # What pg_upgrade would make of it is a copy, too.
    until_true "SELECT NOT EXISTS (SELECT FROM insula.home_mark)"
    second -m immediate restart
    is_idle "a recovered cluster after a crash"
    sql "SELECT insula.adopt()"
    works "an adopted cluster"
    second -m fast restart
    works "an adopted cluster after a restart"
)
stop_second

# A crash is no copy.
"$INSULA_PG_CTL" crash
works "a crashed server"
PGUSER=acme_user works "its tenant"
