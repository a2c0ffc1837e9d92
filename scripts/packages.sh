#!/usr/bin/env bash
#
# "make packages": Debian's packages of the extension, for each PostgreSQL that the distribution has,
# and of the client, in build/packages. They are built from a copy of the tree, by dpkg-buildpackage,
# which works in the tree as well.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

packaging=(build-essential debhelper libcli11-dev libcpp-httplib-dev libtomlplusplus-dev postgresql-server-dev-all)
"$root/scripts/deps.sh" --demo "${packaging[@]}"

out=$build/packages
rm -rf "$out"
mkdir -p "$out/insula"
tar -C "$root" --exclude=./build --exclude=./.git -cf - . | tar -C "$out/insula" -xf -
cd "$out/insula"
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL dpkg-buildpackage --build=binary --no-sign --jobs="$(nproc)"
rm -rf "$out/insula"
ls "$out"/*.deb
