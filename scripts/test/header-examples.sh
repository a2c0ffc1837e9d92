#!/usr/bin/env bash
#
# Each line of code in the examples of the public headers' comments must stand in
# test/integration/examples_test.cpp, and each in client/README.md's, after its first program, in
# test/integration/readme_test.cpp, where it is compiled and run. Such a line ends in ; or a
# brace, but for a comment of its own; in a header it is indented within its comment. In the
# README each line of such an example is one.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

# Without comments at their end, and with single spaces.
plain() { sed -E 's,[[:space:]]+//.*$,,; s,[[:space:]]+, ,g; s,^ ,,; s, $,,'; }

status=0
# require PLACE CODE TEST TESTED: the code stands in the test.
require() {
    grep -qxF -- "$2" <<<"$4" && return
    warn "$1: not in $3: $2"
    status=1
}

tested=$(plain <"$root/test/integration/examples_test.cpp")
while IFS=: read -r header line; do
    code=$(sed -E 's,^ *//,,' <<<"$line" | plain)
    # A diagram may stand to the left of it.
    code=$(sed -E 's,^[^"(]*[[:space:]](\.(task|build)\(),\1,' <<<"$code")
    require "$header" "$code" examples_test.cpp "$tested"
done < <(cd "$root/client/include/insula" && grep -E '^ *//   .*[;{}]( *//.*)?$' ./*.hpp)

tested=$(plain <"$root/test/integration/readme_test.cpp")
lines=0
while IFS= read -r code; do
    [[ -n $code && $code != //* ]] || continue
    lines=$((lines + 1))
    require client/README.md "$code" readme_test.cpp "$tested"
done < <(awk '/^```/ { inside = /^```cpp/; blocks += inside; next } inside && blocks > 1' \
    "$root/client/README.md" | plain)
((lines > 0)) || die "client/README.md has no example"
exit "$status"
