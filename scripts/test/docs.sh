#!/usr/bin/env bash
#
# Runs the SQL of the pages of docs/, each page in a database of its own on the cluster of
# with-cluster.sh: the blocks of a page one after another, in one session of psql, where each line
# "-- => text" must be a line of the output, in order. A page that is not to be run has no such block: its
# SQL is marked as "sql no-test". C++ is quoted from the examples, and every code of errors.hpp has its row in
# errors.md.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

status=0
for page in "$root"/docs/*.md "$root"/docs/*/*.md; do
    [[ -e $page ]] || continue
    name=${page#"$root/docs/"}
    sql=$(awk '/^```sql$/ {on = 1; next} /^```$/ {on = 0} on' "$page")
    [[ -n $sql ]] || continue
    psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE DATABASE page TEMPLATE template0'
    if [[ $sql != *'CREATE EXTENSION insula'* ]]; then psql -Xq -d page -c 'CREATE EXTENSION insula'; fi
    diff -u --label "docs/$name" <(sed -n 's/^-- => //p' <<<"$sql") \
        --label psql <(psql -XAtq -v ON_ERROR_STOP=1 -d page <<<"$sql" 2>&1) || status=1
    psql -XAtq -d page -c "SELECT insula.drop_tenant(tenant, '0 s') FROM insula.tenants" >/dev/null
    psql -Xq -c 'DROP DATABASE page WITH (FORCE)'
    echo "$name"
done

python3 - "$root" <<'PYTHON' || status=1
import pathlib, re, sys

root = pathlib.Path(sys.argv[1])
examples = "".join(path.read_text() for path in (root / "client/examples").glob("*.cpp"))
failed = False
for page in sorted((root / "docs").rglob("*.md")):
    for block in re.findall(r"^```cpp\n(.*?)^```$", page.read_text(), re.S | re.M):
        if block not in examples:
            failed = True
            print(f"{page.name}: client/examples has no such lines:\n{block}")
sys.exit(failed)
PYTHON

while read -r code; do
    grep -q "^| \`$code\` " "$root/docs/errors.md" || { echo "docs/errors.md does not tell of $code"; status=1; }
done < <(sed -n "s/.*MAKE_SQLSTATE('I', 'S', '\(.\)', '\(.\)', '\(.\)').*/IS\1\2\3/p" "$root/extension/src/errors.hpp")
exit "$status"
