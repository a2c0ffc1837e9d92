#!/usr/bin/env bash
#
# Looks at the extension's library: it must not need libstdc++ in any way, and it
# must export what PostgreSQL looks up and nothing else of C++. That is what the SQL of each release
# looks up, too: the library is loaded before the SQL is updated.

set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

library=$1
status=0

if readelf -d "$library" | grep -E 'NEEDED.*(libstdc\+\+|libgcc_s|libc\+\+)'; then
    echo "a C++ library is linked"
    status=1
fi

# Mangled names (operator new, std::...) and the C++ runtime's own.
if nm -D --undefined-only "$library" | grep -E ' (_Z|__cxa_(throw|guard|pure|begin|atexit)|__gxx_)'; then
    echo "symbols of the C++ runtime are wanted"
    status=1
fi

if nm -D --defined-only "$library" | grep ' _Z'; then
    echo "C++ symbols are exported"
    status=1
fi

wanted=$(find "$root/extension" -name '*.sql' -exec sed -n "s/^AS 'MODULE_PATHNAME', '\([a-z0-9_]*\)'.*/\1/p" {} + | LC_ALL=C.UTF-8 sort -u)
missing=$(comm -23 <(echo "$wanted") <(nm -D --defined-only "$library" | sed 's/.* //' | LC_ALL=C.UTF-8 sort))
if [[ -z $wanted || -n $missing ]]; then
    echo "functions are not there that some version's SQL calls: ${missing//$'\n'/ }"
    status=1
fi

# A static object with a constructor would run before _PG_init.
if readelf -S -W "$library" | grep ' \.ctors ' >/dev/null || nm "$library" | grep ' _GLOBAL__sub_I'; then
    echo "there are static constructors"
    status=1
fi

exit "$status"
