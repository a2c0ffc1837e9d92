#!/usr/bin/env bash
#
# The control file tells the version; META.json, the client, the packages, the list of changes and the
# documents must tell the same, and the client's library name its first two parts. From each released
# version an update script leads to the next.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

version=$(sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" "$root/extension/insula.control")
status=0
"$root/scripts/update-script.py" --check || status=1
tell() { # FILE VERSION
    [[ $2 == "$version" ]] && return
    echo "$1 says version '$2', extension/insula.control '$version'"
    status=1
}
tell META.json "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])' "$root/META.json")"
tell META.json "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["provides"]["insula"]["version"])' "$root/META.json")"
tell client/src/wire/version.hpp "$(sed -n 's/.*library_version = "\(.*\)";.*/\1/p' "$root/client/src/wire/version.hpp")"
tell debian/changelog "$(sed -n '1s/^insula (\(.*\)-[^-]*) .*/\1/p' "$root/debian/changelog")"
tell CHANGELOG.md "$(sed -n 's/^## \([^ ,]*\).*/\1/p' "$root/CHANGELOG.md" | head -n 1)"
abi=${version%.*}
for file in control control.in; do
    grep -qx "Package: libinsula$abi" "$root/debian/$file" || { echo "debian/$file has no package libinsula$abi"; status=1; }
done
tell docs/install.md "$(sed -n 's/.*insula-\([0-9.]*\)\.zip.*/\1/p' "$root/docs/install.md")"
grep -q "find_package(insula $abi " "$root/client/README.md" || { echo "client/README.md does not look for $abi"; status=1; }
[[ -e $root/debian/libinsula$abi.install ]] || { echo "debian/ has no package libinsula$abi"; status=1; }
exit "$status"
