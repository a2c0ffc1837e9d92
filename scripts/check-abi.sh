#!/usr/bin/env bash
#
# "make check-abi": compares the ABI of the shared client library with that of the last release's
# tag, or of another revision that the argument names, by abidiff. A program that was linked with the older one
# must run with the newer, while both have one SONAME. Fails on a change that breaks it.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$root"
before=${1:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)}
if [[ -z $before ]]; then
    say "no release has a tag yet: there is no ABI to keep"
    exit 0
fi

"$root/scripts/deps.sh"
"$root/scripts/deps.sh" abigail-tools
rm -rf "$build/abi"
mkdir -p "$build/abi/before"
git archive "$before" | tar -x -C "$build/abi/before"

# library OF SOURCES: builds it in build/abi/OF-build.
library() {
    cmake -S "$2" -B "$build/abi/$1-build" -G Ninja \
        -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBUILD_SHARED_LIBS=ON
    cmake --build "$build/abi/$1-build" --target insula
}
quietly "the library of $before" library before "$build/abi/before"
quietly "the library" library after "$root"

soname() { readelf -d "$1" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p'; }
old=$(find "$build/abi/before-build" -name 'libinsula.so.*.*.*' -type f)
new=$(find "$build/abi/after-build" -name 'libinsula.so.*.*.*' -type f)
[[ -f $old && -f $new ]] || die "no library, or several: $old $new"
if [[ $(soname "$old") != "$(soname "$new")" ]]; then
    say "another SONAME: $(soname "$old") was, $(soname "$new") is"
    exit 0
fi

# Bit 1: an error; 4: a change, of which abidiff does not know whether a program notices it; 8: a function is missing.
# What has been added breaks nothing.
status=0
abidiff --headers-dir1 "$build/abi/before/client/include" --headers-dir2 "$root/client/include" \
    --drop-private-types --no-added-syms "$old" "$new" || status=$?
((!(status & 1))) || die "abidiff could not compare them"
((!status)) || die "what was linked with $before may not run with this: mend it, or give the library another SONAME"
say "what was linked with $before runs with this"
