#!/usr/bin/env bash
#
# "make run": psql on a throw-away PostgreSQL that has the extension created.
# The cluster is gone when psql ends.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

"$root/scripts/deps.sh"
# shellcheck disable=SC2016
exec "$root/scripts/with-cluster.sh" --preload --interactive -- bash -c '
    "$INSULA_PGBIN/psql" -qc "CREATE EXTENSION insula" && exec "$INSULA_PGBIN/psql"'
