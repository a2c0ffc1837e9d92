#!/usr/bin/env bash
#
# Runs a command against a throw-away PostgreSQL cluster that has the extension
# installed, and ends with the command's exit status. The server runs from the
# private copy of server-tree.sh, as an unprivileged user when root calls, and
# listens on a unix socket alone unless told otherwise. Whatever happens (the
# command fails, Ctrl-C, TERM, even kill -9 of this script) the server is
# stopped and its directory removed.
#
#   with-cluster.sh [options] [--] command [argument]...
#
#   --preload, --no-preload   shared_preload_libraries = 'insula' (default) or ''
#   --conf 'name=value'       a line of postgresql.conf; may be repeated
#   --tcp                     listen on 127.0.0.1 too, at a free port, with passwords
#   --scram                   passwords on the socket too, for all but postgres
#   --durable                 keep fsync on
#   --tree DIR                a copy of build/pg that the caller has made, in its place
#   --interactive             Ctrl-C is the command's affair
#
# For the command: PGHOST, PGPORT, PGUSER, PGDATABASE, ADMIN_DATABASE_URL (the
# same, as a URL), INSULA_PGDATA, INSULA_PGBIN, INSULA_SERVER_LOG,
# INSULA_PRELOADED (0 or 1), INSULA_TCP_PORT (with --tcp; the host is 127.0.0.1)
# INSULA_PG_CTL, a script that starts, stops and kills the server,
# INSULA_POOLER_CTL, one that puts a PgBouncer in front of it, and
# INSULA_STANDBY_CTL, one that gives it a standby.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

preload=1 tcp=0 scram=0 durable=0 interactive=0 tree='' conf=()
while (($#)); do
    case $1 in
    --preload) preload=1 ;;
    --no-preload) preload=0 ;;
    --conf)
        [[ ${2:-} == *=* ]] || die "--conf wants name=value"
        conf+=("$2")
        shift
        ;;
    --tcp) tcp=1 ;;
    --scram) scram=1 ;;
    --durable) durable=1 ;;
    --interactive) interactive=1 ;;
    --tree)
        tree=$(cd "${2:-}" && pwd -P)
        shift
        ;;
    --)
        shift
        break
        ;;
    -*) die "unknown option $1" ;;
    *) break ;;
    esac
    shift
done
(($#)) || die "no command"

# Nothing of the caller's PostgreSQL may leak in.
for name in "${!PG@}"; do
    [[ $name == PG_CONFIG ]] || unset "$name"
done
export LC_ALL=C.UTF-8

if [[ -n $tree ]]; then
    bin=$tree$(pg_config --bindir)
else
    tree=$build/pg
    bin=$("$root/scripts/server-tree.sh")
fi

# ---------------------------------------------------------------------------
# Cleaning up
# ---------------------------------------------------------------------------

INSULA_SERVER_USER=$(server_user)
dir=$(mktemp -d /tmp/insula.XXXXXX) # short: a socket's path has 107 characters
export INSULA_SERVER_USER
export INSULA_PGDATA=$dir/data
export INSULA_SERVER_LOG=$dir/log
export INSULA_PGBIN=$bin
export INSULA_PG_CTL=$root/scripts/cluster-ctl.sh
export INSULA_POOLER_CTL=$root/scripts/pooler-ctl.sh
export INSULA_STANDBY_CTL=$root/scripts/standby-ctl.sh

remove_cluster() {
    "$INSULA_POOLER_CTL" stop >/dev/null 2>&1 || true
    [[ -z ${PGHOST:-} ]] || "$INSULA_STANDBY_CTL" stop >/dev/null 2>&1 || true
    "$INSULA_PG_CTL" stop immediate >/dev/null 2>&1 ||
        "$INSULA_PG_CTL" kill9 >/dev/null 2>&1 || true
    rm -rf "$dir"
}

child=
finish() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [[ -n $child ]] && kill -TERM "$child" 2>/dev/null; then
        for _ in {1..50}; do
            kill -0 "$child" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$child" 2>/dev/null || true
    fi
    if ((status != 0)) && [[ $status != 130 && -s $INSULA_SERVER_LOG ]]; then
        {
            echo "-- the server's log, last lines:"
            tail -n 40 "$INSULA_SERVER_LOG"
            echo "-- end of the server's log"
        } >&2
    fi
    remove_cluster
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# If this script itself is killed, nobody is left to clean up, so an onlooker
# outside of its process tree does: it reads from a pipe that this process alone
# holds open.
mkfifo "$dir/alive"
exec {alive}<>"$dir/alive"
setsid --fork bash -c "
    trap '' INT TERM HUP
    dir=$dir
    $(declare -f remove_cluster)
    read -r <\$dir/alive || true
    [[ ! -d \$dir ]] || remove_cluster
" </dev/null >/dev/null 2>&1 {alive}>&-

# ---------------------------------------------------------------------------
# The cluster
# ---------------------------------------------------------------------------

if ((EUID == 0)); then
    chown "$INSULA_SERVER_USER:" "$dir"
    if ! as_user "$INSULA_SERVER_USER" test -x "$bin/postgres" 2>/dev/null; then
        # The checkout is where that user cannot go, as under /root.
        cp -a "$tree" "$dir/pg"
        INSULA_PGBIN=$dir/pg${bin#"$tree"}
    fi
fi

cd "$dir"
as_user "$INSULA_SERVER_USER" "$INSULA_PGBIN/initdb" --pgdata="$INSULA_PGDATA" \
    --username=postgres --locale=C.UTF-8 --encoding=UTF8 \
    --auth-local=trust --auth-host=scram-sha-256 \
    --no-sync --no-instructions >"$dir/initdb" 2>&1 {alive}>&- || {
    cat "$dir/initdb" >&2
    die "initdb failed"
}

if ((scram)); then
    printf '%s\n' 'local all postgres trust' 'local all all scram-sha-256' \
        'host all all 127.0.0.1/32 scram-sha-256' >"$INSULA_PGDATA/pg_hba.conf"
fi

setting() { printf "%s = '%s'\n" "$1" "${2//\'/\'\'}" >>"$INSULA_PGDATA/postgresql.conf"; }

export PGHOST=$dir PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
setting unix_socket_directories "$dir"
setting listen_addresses ''
setting timezone UTC
setting log_timezone UTC
setting log_line_prefix '%m [%p] %b %q%u@%d '
if ((!durable)); then
    setting fsync off
    setting full_page_writes off
fi
if ((preload)); then
    setting shared_preload_libraries insula
fi
# A test sees what is put off only if it asks for it, however slow the machine is.
setting insula.visit_time '1 min'
for line in ${conf[@]+"${conf[@]}"}; do
    setting "${line%%=*}" "${line#*=}"
done

if ((tcp)); then
    setting listen_addresses 127.0.0.1
    for try in {1..20}; do
        # Below the ports that the kernel gives to clients by itself.
        PGPORT=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        setting port "$PGPORT"
        "$INSULA_PG_CTL" start >/dev/null 2>&1 {alive}>&- && break
        if ((try == 20)) || ! grep -q 'Address already in use' "$INSULA_SERVER_LOG"; then
            die "the server does not start"
        fi
        : >"$INSULA_SERVER_LOG"
    done
    export INSULA_TCP_PORT=$PGPORT
else
    "$INSULA_PG_CTL" start {alive}>&- || die "the server does not start"
fi

export ADMIN_DATABASE_URL="postgresql://postgres@/postgres?host=$dir&port=$PGPORT"
export INSULA_PRELOADED=$preload

# ---------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------

# In the background, so that a TERM to this script is heard at once, but with
# the signals and the input of a command in the foreground.
cd "$OLDPWD"
((!interactive)) || trap '' INT
env --default-signal=INT,QUIT -- "$@" <&0 {alive}>&- &
child=$!
status=0
wait "$child" || status=$?
child=

# A server process that dies or fails an assertion is a failure even where no
# client noticed. (Signal 9 is a test's own doing.)
if ((status == 0)) && grep -E 'was terminated by signal (4|6|7|8|11)|PANIC:|TRAP:' \
    "$INSULA_SERVER_LOG" >&2; then
    warn "a server process crashed"
    status=70
fi
exit "$status"
