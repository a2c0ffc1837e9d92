#!/usr/bin/env bash
#
# Builds the C++ client, its examples and the tests into build/client, with
# CMake; the programs come to lie in build/client/bin. Arguments choose among the
# targets; --demo is the example alone, without what only tests need. Configures
# only where that has not been done for this very directory, or for fewer targets.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

out=$build/client
generator=()
if command -v ninja >/dev/null; then
    generator=(-G Ninja)
fi

tests=ON
if [[ ${1:-} == --demo ]]; then
    tests=OFF
    set -- multi_tenant
fi

in_cache() { grep -qxF "$1" "$out/CMakeCache.txt" 2>/dev/null; }

if [[ ! -e $out/build.ninja && ! -e $out/Makefile ]] || ! in_cache "CMAKE_HOME_DIRECTORY:INTERNAL=$root"; then
    rm -rf "$out"
    cmake -S "$root" -B "$out" ${generator[@]+"${generator[@]}"} -DINSULA_TESTS="$tests"
elif [[ $tests == ON ]] && ! in_cache INSULA_TESTS:BOOL=ON; then
    cmake -S "$root" -B "$out" -DINSULA_TESTS=ON
fi
env -u MAKEFLAGS -u MFLAGS cmake --build "$out" --parallel "$(nproc)" ${1:+--target "$@"}
