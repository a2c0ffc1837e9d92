#!/usr/bin/env bash
#
# "make demo": installs what is missing, builds, and runs the example program
# client/examples/multi_tenant.cpp on a throw-away PostgreSQL, twice on the same
# one, as it must not mind what an earlier run left behind. Nothing remains but
# build/.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

if [[ ${1:-} == --on-the-cluster ]]; then
    # The DBA's part: one command.
    psql -Xqc 'CREATE EXTENSION insula'
    "$build/client/bin/multi_tenant"
    echo
    say "and once more, on the same cluster"
    echo
    "$build/client/bin/multi_tenant"
    exit
fi

"$root/scripts/deps.sh" --demo
quietly "the extension" "$root/scripts/server-tree.sh"
quietly "the client and the example" "$root/scripts/build-client.sh" --demo
say "client/examples/multi_tenant.cpp, on a throw-away PostgreSQL"
echo
exec "$root/scripts/with-cluster.sh" --preload --scram -- "$0" --on-the-cluster
