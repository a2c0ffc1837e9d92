#!/usr/bin/env bash
#
# What a compiler warns of in client/test/ignored_results.cpp: each line that says so, and no other.
#
#   scripts/test/ignored-results.sh COMPILER

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

source=$root/client/test/ignored_results.cpp
printed=$(LC_ALL=C "$1" -std=c++20 -fsyntax-only -Wunused-result -I "$root/client/include" "$source" 2>&1) ||
    die "it does not compile: $printed"
warned=$(sed -nE 's,^[^ ]*ignored_results\.cpp:([0-9]+):[0-9]+: warning: .*,\1,p' <<<"$printed" | sort -nu)
wanted=$(grep -nE '// warns$' "$source" | cut -d: -f1)
diff -U0 --label 'wanted lines' --label 'lines that the compiler warns of' <(echo "$wanted") <(echo "$warned")
