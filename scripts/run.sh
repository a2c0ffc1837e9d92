#!/usr/bin/env bash
#
# "make run": psql on a throw-away PostgreSQL that has the extension created, or, as
# run.sh COMMAND..., a program of yours with the server's URL in DATABASE_URL and
# ADMIN_DATABASE_URL. The cluster is gone when it ends.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

"$root/scripts/deps.sh" --demo
# shellcheck disable=SC2016
exec "$root/scripts/with-cluster.sh" --preload --interactive -- bash -c '
    "$INSULA_PGBIN/psql" -qc "CREATE EXTENSION insula" || exit
    export DATABASE_URL=$ADMIN_DATABASE_URL
    exec "${@:-$INSULA_PGBIN/psql}"' run.sh "$@"
