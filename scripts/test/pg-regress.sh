#!/usr/bin/env bash
#
# Runs PostgreSQL's own test drivers on the cluster of with-cluster.sh:
#
#   pg-regress.sh sql NAME [TEST...]         sql/ and expected/, test/regress_schedule
#   pg-regress.sh isolation NAME [TEST...]   test/isolation/{specs,expected,schedule}
#
# Tests that are named run alone, after those that make what all others use.
# What the tests wrote is in build/NAME; the differences are shown. A test that
# lies in its directory but not in the schedule is an error.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

kind=$1
out=$build/$2
shift 2
programs=$(dirname -- "$(pg_config --pgxs)")/../test

case $kind in
sql)
    driver=$programs/regress/pg_regress
    input=$root
    schedule=$root/test/regress_schedule
    tests=("$root"/sql/*.sql)
    first=(helpers install)
    ;;
isolation)
    driver=$programs/isolation/pg_isolation_regress
    input=$root/test/isolation
    schedule=$input/schedule
    tests=("$input"/specs/*.spec)
    first=()
    ;;
*) die "sql or isolation?" ;;
esac

[[ -r $schedule ]] || die "$schedule is missing"
for test in "${tests[@]}"; do
    test=${test##*/}
    grep -Eq "^test:(.*[[:space:]])?${test%.*}([[:space:]]|$)" "$schedule" ||
        die "$test is not in ${schedule#"$root"/}"
done

chosen=(--schedule="$schedule")
(($# == 0)) || chosen=(${first[@]+"${first[@]}"} "$@")

rm -rf "$out"
mkdir -p "$out"
cd "$out"
status=0
"$driver" --inputdir="$input" --outputdir="$out" \
    --bindir="$INSULA_PGBIN" --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" \
    --dbname="insula_$kind" "${chosen[@]}" || status=$?
if ((status)) && [[ -s $out/regression.diffs ]]; then
    cat "$out/regression.diffs"
fi
exit "$status"
