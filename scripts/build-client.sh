#!/usr/bin/env bash
#
# Builds the C++ client, its examples and the tests into build/client, with
# CMake; the programs come to lie in build/client/bin. Arguments choose among the
# targets. Configures only where that has not been done for this very directory.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

out=$build/client
generator=()
if command -v ninja >/dev/null; then
    generator=(-G Ninja)
fi

configured_here() {
    [[ -e $out/build.ninja || -e $out/Makefile ]] &&
        grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$out/CMakeCache.txt"
}

if ! configured_here; then
    rm -rf "$out"
    cmake -S "$root" -B "$out" ${generator[@]+"${generator[@]}"}
fi
env -u MAKEFLAGS -u MFLAGS cmake --build "$out" --parallel "$(nproc)" ${1:+--target "$@"}
