#!/usr/bin/env bash
#
# "make check": installs what is missing, builds everything and runs all tests:
# pg_regress, pg_isolation_regress and GoogleTest, through ctest, each on
# throw-away clusters of its own. Arguments are handed to ctest (-R name). Fails
# if anything fails; ctest has the last word.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

"$root/scripts/deps.sh"

say "extension"
"$root/scripts/server-tree.sh" >/dev/null

say "client and tests"
"$root/scripts/build-client.sh"

say "tests"
exec ctest --test-dir "$build/client" --output-on-failure --no-tests=error \
    --parallel $((2 * $(nproc))) "$@"
