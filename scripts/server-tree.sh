#!/usr/bin/env bash
#
# Builds the extension and installs it into a private copy of the PostgreSQL
# server, under build/pg, so that the system's own directories stay untouched.
# (A server finds its share and lib directories relative to its own binary, so
# the copy works wherever it lies.) Does only what is stale, may be run by
# several processes at once, and prints the copy's bin directory.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

umask 022
mkdir -p "$build"
exec {lock}>"$build/.server-tree.lock"
flock "$lock"

bindir=$(pg_config --bindir)
pkglibdir=$(pg_config --pkglibdir)
sharedir=$(pg_config --sharedir)
tree=$build/pg

# The server itself.
identity=$(stat -c '%n %Y %s' "$bindir/postgres" "$pkglibdir" "$sharedir/extension")
if [[ $identity != "$(cat "$tree/identity" 2>/dev/null)" ]]; then
    rm -rf "$tree"
    mkdir -p "$tree$bindir" "$tree$pkglibdir" "$tree$sharedir"
    cp -R "$bindir/." "$tree$bindir"
    # Neither the build system nor the code for just-in-time inlining is needed.
    (cd "$pkglibdir" && find . -mindepth 1 -maxdepth 1 \
        ! -name pgxs ! -name bitcode ! -name 'insula.so' \
        -exec cp -R -t "$tree$pkglibdir" {} +)
    (cd "$sharedir" && find . -mindepth 1 -maxdepth 1 ! -name man \
        -exec cp -R -t "$tree$sharedir" {} +)
    rm -f "$tree$sharedir"/extension/insula*
    printf '%s\n' "$identity" >"$tree/identity"
fi

# The extension in it.
make_extension all >&2 {lock}>&-
stamp=$tree/installed
if [[ ! -e $stamp || -n $(find "$build"/extension/insula* "$root/extension/sql" \
    "$root/extension/insula.control" -newer "$stamp" -print -quit) ]]; then
    rm -f "$tree$sharedir"/extension/insula*
    touch "$stamp.new"
    make_extension install DESTDIR="$tree" >/dev/null {lock}>&-
    mv "$stamp.new" "$stamp"
fi

echo "$tree$bindir"
