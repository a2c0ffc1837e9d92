#!/usr/bin/env bash
#
# Handles a PgBouncer in front of a throw-away cluster, in transaction mode, as the
# server's user; tests find this script in $INSULA_POOLER_CTL. It listens on
# 127.0.0.1 alone, checks passwords against the server's own (SCRAM), and holds two
# connections a user and database.
#
#   start     start it; prints the port
#   restart   stop and start it, at the same port
#   stop      stop it

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

: "${INSULA_PGDATA:?is not set: run under with-cluster.sh}" "${INSULA_SERVER_USER:?}" "${PGHOST:?}" "${PGPORT:?}"

dir=${INSULA_PGDATA%/*}/pooler

# A user's password is looked up at the server, as the verifier that it keeps.
configure() {
    as_user "$INSULA_SERVER_USER" mkdir -p "$dir"
    as_user "$INSULA_SERVER_USER" tee "$dir/pgbouncer.ini" >/dev/null <<-CONF
	[databases]
	* = host=$PGHOST port=$PGPORT auth_user=postgres
	[pgbouncer]
	listen_addr = 127.0.0.1
	listen_port = $1
	unix_socket_dir =
	auth_type = scram-sha-256
	auth_query = SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename = \$1
	pool_mode = transaction
	default_pool_size = 2
	max_client_conn = 1000
	server_login_retry = 1
	query_wait_timeout = 3
	logfile = $dir/log
	pidfile = $dir/pid
	CONF
    echo "$1" | as_user "$INSULA_SERVER_USER" tee "$dir/port" >/dev/null
}

# It goes into the background before it listens.
launch() {
    local pid
    (cd "$dir" && as_user "$INSULA_SERVER_USER" pgbouncer -q -d "$dir/pgbouncer.ini" >/dev/null 2>&1) || return 1
    for _ in {1..3000}; do
        if [[ -r $dir/pid ]] && read -r pid <"$dir/pid"; then
            [[ $(readlink "/proc/$pid/exe") == */pgbouncer* ]] || return 1
            (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        fi
        sleep 0.02
    done
    return 1
}

start() {
    for _ in {1..20}; do
        configure "${1:-$((20000 + (RANDOM * 32768 + RANDOM) % 12000))}"
        if launch "$(cat "$dir/port")"; then
            cat "$dir/port"
            return
        fi
    done
    cat "$dir/log" >&2
    die "PgBouncer does not start"
}

stop() {
    local pid
    [[ -r $dir/pid ]] && read -r pid <"$dir/pid" || return 0
    kill "$pid" 2>/dev/null || true
    while [[ -e /proc/$pid/exe ]] && [[ $(readlink "/proc/$pid/exe") == */pgbouncer* ]]; do
        kill -KILL "$pid" 2>/dev/null || true
        sleep 0.02
    done
    rm -f "$dir/pid"
}

case ${1:-} in
start) start ;;
restart)
    stop
    start "$(cat "$dir/port")" >/dev/null
    ;;
stop) stop ;;
*) die "usage: $0 start|restart|stop" ;;
esac
