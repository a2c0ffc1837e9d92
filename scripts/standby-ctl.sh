#!/usr/bin/env bash
#
# Handles a standby of a throw-away cluster, as the server's user; tests find this script in
# $INSULA_STANDBY_CTL. It streams, and is synchronous: what was committed before the cluster is
# killed is there. It has the cluster's port, on a socket in a directory of its own, and
# writes to the same log.
#
#   start     make and start it, and have the cluster's commits wait for it; prints that directory
#   promote   make it a primary, and wait until it is one
#   stop      stop and remove it, and have a cluster that runs wait no more

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

: "${INSULA_PGDATA:?is not set: run under with-cluster.sh}"
: "${INSULA_PGBIN:?}" "${INSULA_SERVER_LOG:?}" "${INSULA_SERVER_USER:?}" "${PGHOST:?}"

dir=${INSULA_PGDATA%/*}/standby

run() { (cd "${dir%/*}" && as_user "$INSULA_SERVER_USER" "$INSULA_PGBIN/$1" "${@:2}"); }
pg_ctl() { run pg_ctl -s -w -t 60 -D "$dir/data" "$@"; }
sql() { "$INSULA_PGBIN/psql" -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

wait_for() { # QUERY, which says t
    for _ in {1..1200}; do
        [[ $(sql "$1") != t ]] || return 0
        sleep 0.05
    done
    die "never came true: $1"
}

start() {
    as_user "$INSULA_SERVER_USER" mkdir "$dir" "$dir/socket"
    run pg_basebackup -D "$dir/data" -R -c fast --no-sync
    pg_ctl start -l "$INSULA_SERVER_LOG" -o "-c unix_socket_directories=$dir/socket -c listen_addresses=''"
    sql "ALTER SYSTEM SET synchronous_standby_names = '*'"
    sql "SELECT pg_reload_conf()" >/dev/null
    wait_for "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
    echo "$dir/socket"
}

stop() {
    [[ -d $dir ]] || return 0
    [[ ! -f $dir/data/postmaster.pid ]] || pg_ctl stop -m immediate
    rm -rf "$dir"
    "$INSULA_PG_CTL" status || return 0
    sql "ALTER SYSTEM RESET synchronous_standby_names"
    sql "SELECT pg_reload_conf()" >/dev/null
}

case ${1:-} in
start) start ;;
promote) pg_ctl promote ;;
stop) stop ;;
*) die "usage: $0 start|promote|stop" ;;
esac
