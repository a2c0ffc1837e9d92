#!/usr/bin/env bash
#
# "make dist": the sources of the last commit, as archives for PGXN (zip) and for packages (tar.gz), in
# build/dist. The version must be the same in each place that tells it.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

"$root/scripts/test/version.sh"
version=$(sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" "$root/extension/insula.control")
[[ -z $(git -C "$root" status --porcelain) ]] || warn "what is not committed is not in it"
mkdir -p "$build/dist"
git -C "$root" archive --prefix="insula-$version/" -o "$build/dist/insula-$version.zip" HEAD
git -C "$root" archive --prefix="insula-$version/" -o "$build/dist/insula_$version.orig.tar.gz" HEAD
ls "$build"/dist/*"$version"*
