# shellcheck shell=bash
#
# SQL on the cluster of with-cluster.sh, and what its answers must be; for tests that are scripts, after ../lib.sh.

value() { psql -XAtq -v ON_ERROR_STOP=1 -c "SET client_min_messages = error" -c "$1"; }
sql() { value "$1" >/dev/null; }

# is WHAT EXPECTED SQL: the answer, or the SQLSTATE.
is() {
    local answer
    answer=$(psql -XAtq -v VERBOSITY=sqlstate -c "SET client_min_messages = error" -c "$3" 2>&1) || true
    answer=${answer#ERROR:  }
    [[ $answer == "$2" ]] || die "${PGDATABASE:-}: $1: expected '$2', got '$answer' from: $3"
}

# until_true SQL: waits for a minute at most.
until_true() {
    for _ in {1..1200}; do
        [[ $(psql -XAtq -c "$1" 2>/dev/null) != t ]] || return 0
        sleep 0.05
    done
    die "${PGDATABASE:-}: never came true: $1"
}
