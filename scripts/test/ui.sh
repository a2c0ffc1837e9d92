#!/usr/bin/env bash
#
# "make check-ui": the dashboard in a browser. Installs chromium from Debian and, from npm and into build/, what
# drives it and what judges it (test/ui/package-lock.json has the versions); seeds tenants on a throw-away PostgreSQL
# and lets test/ui/ui.mjs look at each view and use it. Its pictures come to lie in build/ui/. Arguments choose among
# views, overlays, actions, walks, safety and pictures.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

if [[ ${UI_INSIDE:-} != 1 ]]; then
    "$root/scripts/deps.sh" chromium fonts-dejavu-core
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then "$root/scripts/deps.sh" nodejs npm; fi
    "$root/scripts/build-client.sh" insula_cli
    tools=$build/ui-tools
    if ! cmp -s "$root/test/ui/package-lock.json" "$tools/package-lock.json"; then
        rm -rf "$tools"
        mkdir -p "$tools"
        cp "$root"/test/ui/package*.json "$tools"
        npm --prefix "$tools" ci --silent --no-audit --no-fund
    fi
    UI_INSIDE=1 exec nice "$root/scripts/with-cluster.sh" --preload -- "${BASH_SOURCE[0]}" "$@"
fi

dir=$(mktemp -d /tmp/insula-ui.XXXXXX)
jobs=()
finish() {
    kill ${jobs[@]+"${jobs[@]}"} 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT

psql -XAtq -f "$root/test/ui/seed.sql" | tail -n 1 >"$dir/ids.json"
psql -XAtq -f "$root/test/ui/load.sql" >/dev/null 2>&1 &
jobs+=($!)
psql -XAtq -f "$root/test/ui/parked.sql" >/dev/null 2>&1 &
jobs+=($!)

export UI_TOOLS=$build/ui-tools UI_PICTURES=$build/ui UI_IDS=$dir/ids.json UI_INSULA=$build/client/bin/insula
UI_CHROMIUM=$(command -v chromium)
export UI_CHROMIUM
node "$root/test/ui/ui.mjs" "$@"
