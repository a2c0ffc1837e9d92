#!/usr/bin/env bash
#
# Runs an example on the cluster of with-cluster.sh, with the extension installed; its output
# must be the one line that the first argument gives.
#
#   says.sh LINE program [argument]...

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

line=$1
shift
psql -XAtq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION insula'
output=$("$@")
[[ $output == "$line" ]] || die "it said: $output"
