#!/usr/bin/env bash
#
# Every file that docs/architecture.md and docs/glossary.md name is there: under
# extension/src, or from the top of the tree.  The table of the columns of `work`
# in docs/architecture.md has those of tenant/columns.hpp, each once.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

status=0
while IFS=: read -r doc line file; do
    if [[ ! -e extension/src/$file && ! -e $file ]]; then
        echo "$doc:$line: $file is not there"
        status=1
    fi
done < <(grep -noE '[a-z_]+(/[a-z_]+)*/[a-zA-Z0-9_]+\.(cpp|hpp|sql|py)' docs/architecture.md docs/glossary.md)

listed=$(sed -n '/^#define INSULA_WORK_COLUMNS/,/[^\\]$/p' extension/src/tenant/columns.hpp |
    grep -oE '^  X\([a-z_]+' | sed 's/^  X(//' | sort)
documented=$(sed -n '/^## A row of `work`/,/^## Lanes/p' docs/architecture.md |
    sed -nE 's/^\| ([^|]*) \|.*/\1/p' | grep -oE '`[a-z_]+`' | tr -d '`' | sort)
if [[ -z $listed ]] || ! diff <(echo "$listed") <(echo "$documented"); then
    echo "docs/architecture.md: not the columns of extension/src/tenant/columns.hpp (<)"
    status=1
fi
exit "$status"
