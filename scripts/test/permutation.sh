#!/usr/bin/env bash
#
# permutation.sh SPEC N: runs the Nth permutation of test/isolation/specs/SPEC.spec
# alone, on the cluster of with-cluster.sh, and shows what its sessions say.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

spec=$root/test/isolation/specs/$1.spec
tester=$(dirname -- "$(pg_config --pgxs)")/../test/isolation/isolationtester

# A permutation may go on over several lines; it ends where the next one begins.
awk -v wanted="$2" '
    /^[[:space:]]*permutation/ { ++n; found = found || n == wanted }
    n == 0 || n == wanted
    END { exit !found }' "$spec" | "$tester" "dbname=$PGDATABASE"
