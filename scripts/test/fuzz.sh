#!/usr/bin/env bash
#
# fuzz.sh PROGRAM NAME: runs a fuzz target on test/fuzz/corpus/NAME, then on what it makes
# of that, for INSULA_FUZZ_SECONDS (5). An input that fails is kept in build/fuzz/NAME;
# "PROGRAM FILE" runs it alone.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

program=$1 name=$2
out=$build/fuzz/$name
mkdir -p "$out/corpus"
exec "$program" -max_total_time="${INSULA_FUZZ_SECONDS:-5}" -timeout=10 -verbosity=1 \
    -artifact_prefix="$out/" "$out/corpus" "$root/test/fuzz/corpus/$name"
