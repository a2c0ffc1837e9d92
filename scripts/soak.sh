#!/usr/bin/env bash
#
# What takes longer than a check may: the engine against its model with fresh seeds,
# ten minutes of looks for hidden work, a minute for each fuzz target, and the
# integration tests and attacks again and again on a busy machine. Fifty minutes;
# SEEDS, INSULA_FUZZ_SECONDS and ROUNDS choose otherwise. What fails says its seed.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

"$root/scripts/deps.sh"
"$root/scripts/build-client.sh"
bin=$build/client/bin
cluster=$root/scripts/with-cluster.sh

for ((i = 0; i < ${SEEDS:-10}; ++i)); do
    export INSULA_MODEL_SEED=$((RANDOM * 32768 + RANDOM)) INSULA_MODEL_EXECUTIONS=50000
    say "model, seed $INSULA_MODEL_SEED"
    GTEST_FILTER='-Hidden*' "$cluster" --preload --conf insula.scheduler=off -- "$bin/model_tests"
done

say "hidden work, in every order"
INSULA_SOAK=1 GTEST_FILTER='Watermarks*' "$bin/unit_tests"

say "hidden work, for ten minutes"
env -u INSULA_MODEL_SEED INSULA_SOAK=1 GTEST_FILTER='HiddenWork*' \
    "$cluster" --preload --conf insula.scheduler=off -- "$bin/model_tests"

say "budgets that hold next to nothing, for ten minutes"
for preload in --preload --no-preload; do
    INSULA_SOAK=1 GTEST_FILTER='BudgetsFuzz*' "$cluster" $preload -- "$bin/attack_tests"
done

say "hidden work of fleets, for seven minutes"
env -u INSULA_MODEL_SEED INSULA_SOAK=1 GTEST_FILTER='HiddenFleet*' "$cluster" --preload -- "$bin/model_tests"

for program in "$bin"/*_fuzz; do
    name=${program##*/}
    say "fuzzing, ${name%_fuzz}"
    INSULA_FUZZ_SECONDS=${INSULA_FUZZ_SECONDS:-60} "$root/scripts/test/fuzz.sh" "$program" "${name%_fuzz}"
done

# Twice as many as there are cores, so that everything comes late now and then.
busy=()
trap 'kill "${busy[@]}" 2>/dev/null || true' EXIT
for ((i = 0; i < 2 * $(nproc); ++i)); do
    (while :; do :; done) &
    busy+=($!)
done
for ((i = 0; i < ${ROUNDS:-3}; ++i)); do
    say "on a busy machine, round $((i + 1))"
    INSULA_SOAK=1 "$cluster" --preload --tcp -- "$bin/integration_tests"
    GTEST_FILTER='-*Preloaded*' "$cluster" --no-preload --tcp -- "$bin/integration_tests"
    INSULA_SOAK=1 GTEST_FILTER='-*Slot*' "$cluster" --preload -- "$bin/clock_tests"
    "$cluster" --preload --tcp --conf log_error_verbosity=verbose --conf max_prepared_transactions=5 -- \
        "$bin/attack_tests"
done
