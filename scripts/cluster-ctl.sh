#!/usr/bin/env bash
#
# Handles the server of a throw-away cluster, as the user it belongs to; tests
# find this script in $INSULA_PG_CTL. The cluster is the one that
# with-cluster.sh put into the environment.
#
#   start                       start it and wait until it takes connections
#   stop [fast|immediate|smart] stop it and wait until it is gone; fast if not told
#   restart [mode]              stop, then start
#   reload                      read the configuration again
#   kill9                       SIGKILL to the server and all its processes
#   crash                       kill9, then start
#   status                      exit status 0 if it runs

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

: "${INSULA_PGDATA:?is not set: run under with-cluster.sh}"
: "${INSULA_PGBIN:?}" "${INSULA_SERVER_LOG:?}" "${INSULA_SERVER_USER:?}"

pg_ctl() {
    cd "$INSULA_PGDATA"
    as_user "$INSULA_SERVER_USER" "$INSULA_PGBIN/pg_ctl" -s -w -t 60 \
        -D "$INSULA_PGDATA" "$@"
}

server_pid() {
    local pid
    [[ -r $INSULA_PGDATA/postmaster.pid ]] || return 1
    read -r pid <"$INSULA_PGDATA/postmaster.pid" || return 1
    [[ $pid =~ ^[0-9]+$ && -d /proc/$pid ]] || return 1
    # Only if it is this cluster's: its working directory is its data directory.
    [[ /proc/$pid/cwd -ef $INSULA_PGDATA ]] || return 1
    echo "$pid"
}

children() {
    local file key value pid
    for file in /proc/[0-9]*/status; do
        pid=${file#/proc/}
        pid=${pid%/status}
        { while read -r key value; do
            if [[ $key == PPid: ]]; then
                [[ $value != "$1" ]] || echo "$pid"
                break
            fi
        done <"$file"; } 2>/dev/null || true
    done
}

start() { pg_ctl start -l "$INSULA_SERVER_LOG"; }

stop() { [[ -z $(server_pid || true) ]] || pg_ctl stop -m "${1:-fast}"; }

kill9() {
    local pid pids
    pid=$(server_pid) || return 0
    kill -STOP "$pid" # so that it starts no more of them
    mapfile -t pids < <(children "$pid")
    kill -KILL "$pid" "${pids[@]}" 2>/dev/null || true
    for pid in "$pid" "${pids[@]}"; do
        # A zombie is gone too; only init has not looked yet.
        while grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$pid/status"; do
            sleep 0.02
        done
    done
    # Until init looks, the next server would take the zombie for a living one.
    rm -f "$INSULA_PGDATA/postmaster.pid" "${INSULA_PGDATA%/*}"/.s.PGSQL.*
}

case ${1:-} in
start) start ;;
stop) stop "${2:-}" ;;
restart)
    stop "${2:-}"
    start
    ;;
reload) pg_ctl reload ;;
kill9) kill9 ;;
crash)
    kill9
    start
    ;;
status) [[ -n $(server_pid || true) ]] ;;
*) die "usage: $0 start|stop [mode]|restart [mode]|reload|kill9|crash|status" ;;
esac
