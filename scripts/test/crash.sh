#!/usr/bin/env bash
#
# Tenants outlive the end of a server that comes right after they were made: their indexes are written by no statement
# of PostgreSQL's own, which would have seen to that. The server is killed, not the machine: what is not in the WAL
# shows, what was not synced does not. On a cluster of with-cluster.sh, with any wal_level.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source-path=SCRIPTDIR source=sql.sh
. "$root/scripts/test/sql.sh"

indexes="SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid,
    LATERAL (SELECT bt_index_parent_check(i.indexrelid, true)) checked
    WHERE c.relnamespace::regnamespace::text IN ('tenant_before', 'tenant_acme', 'tenant_empty')"

sql "CREATE EXTENSION insula"
sql "CREATE EXTENSION amcheck"
sql "SELECT insula.create_tenant('before', login => false)"
sql "CHECKPOINT"
# Rows of the transaction that made the index, and an index that nothing has touched since.
value "BEGIN;
    SELECT insula.create_tenant('acme', login => false);
    SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => 'acme');
    SELECT insula.submit('w', tenant => 'acme') FROM generate_series(1, 500);
    COMMIT;
    SELECT insula.create_tenant('empty', login => false)" >/dev/null
"$INSULA_PG_CTL" kill9
"$INSULA_PG_CTL" start
is "the indexes" 12 "$indexes"
is "the tasks" 500 "SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 1000, tenant => 'acme')"
is "the audit" 0 "SELECT count(*) FROM insula.audit() WHERE level <> 'advice'"
for tenant in before empty; do
    sql "SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => '$tenant')"
    sql "SELECT insula.submit('w', tenant => '$tenant') FROM generate_series(1, 500)"
    is "$tenant works" 500 "SELECT count(*) FROM insula.claim('w', max_tasks => 1000, tenant => '$tenant')"
done
is "the indexes that were used" 12 "$indexes"
