#!/usr/bin/env bash
#
# "make tidy": clang-tidy, by .clang-tidy, over what the preset tidy builds: the client, its testing
# kit and core/. Looks at what has changed since the last time; fails if it finds anything.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

"$root/scripts/deps.sh" clang-tidy

cd "$root"
# Other checks: all is to be looked at again.
[[ build/tidy/CMakeCache.txt -nt .clang-tidy ]] || rm -rf build/tidy
cmake --preset tidy >/dev/null
env -u MAKEFLAGS -u MFLAGS cmake --build --preset tidy -- -k 0
say "clang-tidy has nothing to say"
