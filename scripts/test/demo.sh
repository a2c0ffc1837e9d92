#!/usr/bin/env bash
#
# Runs the example program, named by the first argument, twice on the cluster of
# with-cluster.sh, and compares what it writes with the file of the second
# argument; times (12ms, 3.4 s) count as equal.

set -euo pipefail

program=$1
expected=$2

mask() { sed -E 's/\b[0-9]+(\.[0-9]+)? ?(us|ms|s|seconds)\b/<time>/g' "$@"; }

psql -Xqc 'CREATE EXTENSION IF NOT EXISTS insula'

status=0
for run in first second; do
    output=$("$program") || {
        status=$?
        printf '%s\n' "$output"
        echo "the $run run failed with exit status $status"
        exit "$status"
    }
    diff -u --label "${expected##*/}" <(mask "$expected") \
        --label "$run run" <(printf '%s\n' "$output" | mask) || status=1
done
exit "$status"
