#!/usr/bin/env bash
#
# "make check-sanitize": the unit tests, and all tests of the client, under AddressSanitizer with
# UndefinedBehaviorSanitizer and then under ThreadSanitizer, as the presets asan and tsan build
# them; the servers that they run against are as ever. Arguments choose among the presets.
# All run, whatever fails; the last lines say how each ended.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

presets=("$@")
((${#presets[@]})) || presets=(asan tsan)

"$root/scripts/deps.sh"
"$root/scripts/server-tree.sh" >/dev/null

# check PRESET: not to be called where "set -e" counts for nothing, as after "if".
check() {
    say "$1: building"
    cmake --preset "$1" >/dev/null
    env -u MAKEFLAGS -u MFLAGS cmake --build --preset "$1"
    say "$1: testing"
    ctest --preset "$1" --parallel "$(nproc)"
}

cd "$root"
verdicts=() failed=0
for preset in "${presets[@]}"; do
    status=0
    set +e
    (set -e && check "$preset")
    status=$?
    set -e
    if ((status == 0)); then
        verdicts+=("$preset: clean")
    else
        verdicts+=("$preset: FAILED")
        failed=1
    fi
done
echo
for verdict in "${verdicts[@]}"; do say "$verdict"; done
exit "$failed"
