#!/usr/bin/env bash
#
# Every file that docs/architecture.md and docs/glossary.md name is there: under
# extension/src, or from the top of the tree.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

status=0
while IFS=: read -r doc line file; do
    if [[ ! -e extension/src/$file && ! -e $file ]]; then
        echo "$doc:$line: $file is not there"
        status=1
    fi
done < <(grep -noE '[a-z_]+(/[a-z_]+)*/[a-zA-Z0-9_]+\.(cpp|hpp|sql|py)' docs/architecture.md docs/glossary.md)
exit "$status"
