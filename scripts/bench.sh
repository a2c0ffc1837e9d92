#!/usr/bin/env bash
#
# Measures Insula and its peers on a throw-away server of their own, durable, with one
# configuration; see test/bench/README.md. ONLY=P6,... and QUICK=1 choose less.
#
# The peers come from the registries into build/ and touch nothing outside of it. What
# cannot be had is said here, and again at each bar that it was wanted for.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

export BENCH_PEERS=$build/bench-peers
pgq_package=postgresql-15-pgq3

# graphile-worker and pg-boss.
install_from_npm() {
    command -v node npm >/dev/null || die "there is no node with npm, which graphile-worker and pg-boss run in"
    mkdir -p "$BENCH_PEERS"
    cp "$root"/test/bench/peers/*.mjs "$BENCH_PEERS"
    cmp -s "$root/test/bench/peers/package.json" "$BENCH_PEERS/package.json" && [[ -d $BENCH_PEERS/node_modules ]] && return
    rm -rf "$BENCH_PEERS/node_modules"
    cp "$root/test/bench/peers/package.json" "$BENCH_PEERS"
    (cd "$BENCH_PEERS" && npm install --no-audit --no-fund --loglevel=error >&2)
}

# PgQ, unpacked into the private copy of the server alone.
install_pgq() {
    local bin tree=$build/pg
    bin=$("$root/scripts/server-tree.sh")
    [[ $("$bin/postgres" --version) == *' 15.'* ]] || die "Debian's PgQ is for PostgreSQL 15"
    if [[ ! -d $build/pgq/usr ]]; then
        rm -rf "$build/pgq"
        mkdir -p "$build/pgq"
        (cd "$build/pgq" && { apt-get -q download $pgq_package || apt-get -q update; } &&
            { compgen -G '*.deb' || apt-get -q download $pgq_package; } && dpkg-deb -x ./*.deb .) >&2
    fi
    cp -R "$build/pgq/usr/." "$tree/usr/"
}

"$root/scripts/deps.sh"
"$root/scripts/build-client.sh"
# The bars T have no peers.
if [[ -z ${ONLY:-} || $ONLY == *P* ]]; then
    (install_from_npm) || warn "the peers from npm are missing"
    (install_pgq) || warn "PgQ is missing"
fi
mkdir -p "$build/bench"
export BENCH_PICTURES=$build/bench

"$root/scripts/with-cluster.sh" --preload --durable --conf insula.visit_time=1s \
    --conf shared_buffers=1GB --conf max_wal_size=4GB --conf checkpoint_timeout=15min --conf max_connections=200 -- \
    "$build/client/bin/bench" "$build/bench.json"
