#!/usr/bin/env bash
#
# What a compiler warns of in client/test/ignored_results.cpp: each line that says so, and no other; and
# of what is deprecated only where that is asked for.
#
#   scripts/test/ignored-results.sh COMPILER

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

source=$root/client/test/ignored_results.cpp
compiler=$1

# check MARK FLAG...: with these flags it warns of the lines that end in "// MARK".
check() {
    local mark=$1 printed warned wanted
    shift
    printed=$(LC_ALL=C "$compiler" -std=c++20 -fsyntax-only -I "$root/client/include" "$@" "$source" 2>&1) ||
        die "it does not compile: $printed"
    warned=$(sed -nE 's,^[^ ]*ignored_results\.cpp:([0-9]+):[0-9]+: warning: .*,\1,p' <<<"$printed" | sort -nu)
    wanted=$(grep -nE "// $mark\$" "$source" | cut -d: -f1)
    diff -U0 --label 'wanted lines' --label 'lines that the compiler warns of' <(echo "$wanted") <(echo "$warned")
}

check warns -Wunused-result
check deprecated -DINSULA_WARN_DEPRECATED -Wno-unused-result -Wno-unused-value
