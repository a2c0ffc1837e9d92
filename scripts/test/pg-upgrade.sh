#!/usr/bin/env bash
#
# pg-upgrade.sh VERSION: "pg_upgrade --link" from that PostgreSQL, which is installed as well, to the one that the tree is
# built for (copies.sh upgraded).

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

# A tree of its own, since build/ is of one PostgreSQL.
older=$build/older
mkdir -p "$older"
tar -C "$root" --exclude=./build --exclude=./.git -cf - . | tar -C "$older" -xf -
INSULA_NEW_PGBIN=$("$root/scripts/server-tree.sh")
export INSULA_NEW_PGBIN
export PG_CONFIG=/usr/lib/postgresql/$1/bin/pg_config
"$older/scripts/server-tree.sh"
"$root/scripts/with-cluster.sh" --preload --tree "$older/build/pg" -- "$root/scripts/test/copies.sh" upgraded --link
