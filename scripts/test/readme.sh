#!/usr/bin/env bash
#
# Runs the README's two programs as they stand there, on the cluster of
# with-cluster.sh: the SQL by psql, where each line "-- => text" must be a line of
# the output, in order; the C++ as the program that the first argument names,
# which CMake has made of it.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

program=$1

sql=$(awk '/^```sql$/ {on = 1; next} /^```$/ {on = 0} on' "$root/README.md")
diff -u --label README.md <(sed -n 's/^-- => //p' <<<"$sql") \
    --label psql <(psql -XAtq -v ON_ERROR_STOP=1 <<<"$sql")

output=$("$program")
[[ $output == 'Hello, Acme!' ]] || die "the C++ program said: $output"
