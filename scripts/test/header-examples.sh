#!/usr/bin/env bash
#
# Each line of code in the examples of the public headers' comments must stand in
# test/integration/examples_test.cpp, where it is compiled and run. Such a line is
# indented within its comment and ends in ; or a brace, but for a comment of its own.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

# Without comments at their end, and with single spaces.
plain() { sed -E 's,[[:space:]]+//.*$,,; s,[[:space:]]+, ,g; s,^ ,,; s, $,,'; }

tested=$(plain <"$root/test/integration/examples_test.cpp")
status=0
while IFS=: read -r header line; do
    code=$(sed -E 's,^ *//,,' <<<"$line" | plain)
    # A diagram may stand to the left of it.
    code=$(sed -E 's,^[^"(]*[[:space:]](\.(task|build)\(),\1,' <<<"$code")
    grep -qxF -- "$code" <<<"$tested" && continue
    warn "$header: not in examples_test.cpp: $code"
    status=1
done < <(cd "$root/client/include/insula" && grep -E '^ *//   .*[;{}]( *//.*)?$' ./*.hpp)
exit "$status"
