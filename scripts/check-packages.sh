#!/usr/bin/env bash
#
# "make check-packages": builds Debian's packages on Debian 12 and 13, and tries each in a Debian that
# has nothing yet (scripts/test/packages.sh). Arguments choose among the Debians (in-debian.sh). The
# packages come to lie in build/packages. Where no other Debian can be had it says so, and all is well.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

suites=("$@")
((${#suites[@]})) || suites=(bookworm trixie)
mkdir -p "$build/packages"
for suite in "${suites[@]}"; do
    log=$build/packages/$suite.log
    tar=$build/packages/$suite.tar
    say "$suite: the packages; the output is in $log"
    status=0
    INSULA_DEPS="--demo build-essential debhelper libcli11-dev libcpp-httplib-dev libtomlplusplus-dev postgresql-server-dev-all" "$root/scripts/in-debian.sh" "$suite" -- \
        sh -c 'scripts/packages.sh >&2 && tar -C build/packages -cf - .' >"$tar" 2>"$log" || status=$?
    if ((status == 77)); then
        tail -n 1 "$log" >&2
        exit 0
    fi
    ((status == 0)) || die "building them failed"
    say "$suite: installed where nothing is"
    "$root/scripts/in-debian.sh" --bare "$suite" -- scripts/test/packages.sh <"$tar" 2>>"$log" || die "they do not work"
done
