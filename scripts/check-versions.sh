#!/usr/bin/env bash
#
# "make check-versions": builds the extension and runs a server's tests on every
# PostgreSQL that Debian has, each in a Debian of its own (in-debian.sh): the SQL
# regression with and without shared_preload_libraries, the isolation tests, the
# attacks; and pg_upgrade from PostgreSQL 15. Arguments choose among the Debians. Prints a table and
# fails if one of them fails; experimental, which has a PostgreSQL before its release, may. The tests'
# output is in build/versions. Where no other Debian can be had it says so, and all is well.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

readonly tests=(regress_preload regress_no_preload isolation attacks pg_upgrade)
readonly older=15 # as in older-postgres.sh

# In the other Debian: --here TEST...
if [[ ${1:-} == --here ]]; then
    shift
    echo "version $(pg_config --version)"
    bin=$("$root/scripts/server-tree.sh")
    echo "built for $("$bin/postgres" --version)"
    "$root/scripts/build-client.sh" attack_tests
    status=0
    run() {
        if [[ $1 == pg_upgrade ]]; then
            "$root/scripts/test/pg-upgrade.sh" "$older"
        else
            ctest --test-dir "$build/client" --output-on-failure --no-tests=error -R "^$1\$"
        fi
    }
    for test in "$@"; do
        if run "$test"; then
            echo "passed $test"
        else
            echo "failed $test"
            status=1
        fi
    done
    exit "$status"
fi

suites=("$@")
((${#suites[@]})) || suites=(bookworm trixie sid experimental)
logs=$build/versions
mkdir -p "$logs"

# verdict LOG TEST
verdict() {
    if grep -qx "passed $2" "$1"; then
        echo ok
    elif grep -qx "failed $2" "$1"; then
        echo FAILED
    else
        echo -
    fi
}

readonly row='%-14s %-14s %-8s %-10s %-14s %-11s %-9s %s\n'
# shellcheck disable=SC2059
table=$(printf "$row" PostgreSQL Debian build "SQL tests" "no preload" isolation attacks "pg_upgrade from $older")
failed=0
for suite in "${suites[@]}"; do
    log=$logs/$suite.log
    say "$suite: the output is in $log"
    status=0
    here=("${tests[@]}")
    export INSULA_OLDER=1
    if [[ $suite == bookworm ]]; then
        unset 'here[-1]'
        INSULA_OLDER=
    fi
    "$root/scripts/in-debian.sh" "$suite" -- scripts/check-versions.sh --here "${here[@]}" >"$log" 2>&1 || status=$?
    if ((status == 77)); then
        tail -n 1 "$log" >&2
        exit 0
    fi
    version=$(sed -n 's/^version PostgreSQL \([^ ]*\).*/\1/p' "$log")
    verdicts=(FAILED)
    if grep -q '^built for ' "$log"; then verdicts=(ok); fi
    for test in "${tests[@]}"; do verdicts+=("$(verdict "$log" "$test")"); done
    # shellcheck disable=SC2059
    table+=$'\n'$(printf "$row" "${version:--}" "$suite" "${verdicts[@]}")
    if ((status)) && [[ $suite != experimental ]]; then failed=1; fi
done
echo "$table"
exit "$failed"
