# shellcheck shell=bash
#
# What the other scripts share; to be sourced, after "set -euo pipefail".

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly root
# The other scripts use these.
# shellcheck disable=SC2034
readonly build=$root/build

say() { printf '== %s\n' "$*"; }
# quietly WHAT COMMAND...: says that WHAT is built and how long it took; what the
# command prints is shown where it fails.
quietly() {
    local what=$1 log
    shift
    log=$(mktemp)
    printf '== building %s ... ' "$what"
    SECONDS=0
    if "$@" >"$log" 2>&1; then
        echo "$SECONDS s"
        rm -f "$log"
    else
        echo failed
        cat "$log" >&2
        rm -f "$log"
        exit 1
    fi
}
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
    warn "$@"
    exit 1
}

# The major versions of PostgreSQL that Insula supports, the newest first, as in the Makefile.
# shellcheck disable=SC2034
readonly pg_versions=(19 18 17 16 15)

# The newest of them whose headers Debian's packages have installed, or nothing.
installed_pg_version() {
    local version
    for version in "${pg_versions[@]}"; do
        if [[ -e /usr/include/postgresql/$version/server/postgres.h ]]; then
            echo "$version"
            return
        fi
    done
}

# The PostgreSQL to work with, as in the Makefile.
pg_config() {
    local version
    version=$(installed_pg_version)
    if [[ -n ${PG_CONFIG:-} ]]; then
        "$PG_CONFIG" "$@"
    elif [[ -n $version ]]; then
        "/usr/lib/postgresql/$version/bin/pg_config" "$@"
    else
        command pg_config "$@"
    fi
}

# make_extension GOAL...: run the Makefile afresh, whichever make we run under.
make_extension() {
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make --no-print-directory -C "$root" "$@"
}

# The user a server runs as: PostgreSQL refuses to run as root.
server_user() {
    if ((EUID != 0)); then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# as_user USER COMMAND...: run a command as the server's user.
as_user() {
    local user=$1
    shift
    if ((EUID != 0)); then
        "$@"
    else
        setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- "$@"
    fi
}
