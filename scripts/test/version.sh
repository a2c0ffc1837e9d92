#!/usr/bin/env bash
#
# The control file tells the version; META.json, the packages and the list of changes must tell the
# same, and the client's library name its first two parts. From each released version an update script
# leads to the next.

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
tell debian/changelog "$(sed -n '1s/^insula (\(.*\)-[^-]*) .*/\1/p' "$root/debian/changelog")"
tell CHANGELOG.md "$(sed -n 's/^## \([^ ,]*\).*/\1/p' "$root/CHANGELOG.md" | head -n 1)"
abi=${version%.*}
[[ -e $root/debian/libinsula$abi.install ]] || { echo "debian/ has no package libinsula$abi"; status=1; }
exit "$status"
