#!/usr/bin/env bash
#
# Measures Insula on a throw-away server of its own, durable, with one configuration;
# see test/bench/README.md. ONLY=P6,... and QUICK=1 choose less.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

"$root/scripts/deps.sh"
"$root/scripts/build-client.sh"
"$root/scripts/with-cluster.sh" --preload --durable \
    --conf shared_buffers=1GB --conf max_wal_size=4GB --conf checkpoint_timeout=15min -- \
    "$build/client/bin/bench" "$build/bench.json"
