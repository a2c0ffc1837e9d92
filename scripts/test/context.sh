#!/usr/bin/env bash
#
# Runs the examples of docs/context.md, as they stand there, on the cluster of
# with-cluster.sh; context.sql says how.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

rows=$(sed -n '/^## Examples/,$ { /^| `/ s/`//gp }' "$root/docs/context.md")
psql -XAtq -v ON_ERROR_STOP=1 -v rows="$rows" -f "$root/scripts/test/context.sql"
