#!/usr/bin/env bash
#
# "make chaos": kills what makes fires, and compares cron expressions with another
# implementation, and prints what came of it. Minutes long.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

"$root/scripts/deps.sh"
"$root/scripts/server-tree.sh" >/dev/null
"$root/scripts/build-client.sh"

say "fires, whatever is killed"
INSULA_SOAK=1 GTEST_FILTER='*WhateverIsKilled' "$root/scripts/with-cluster.sh" --preload -- "$build/client/bin/clock_tests"
say "cron expressions over ten years"
ctest --test-dir "$build/client" -R cron_croniter -V --no-tests=error
