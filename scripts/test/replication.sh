#!/usr/bin/env bash
#
# Logical replication of a tenant's tables into another cluster: the copy has the same rows, can be read while the
# original works, does no work itself, and can take the tenant over. On a cluster of with-cluster.sh with
# wal_level = logical; the copy is on another one.
#
#   replication.sh
#   replication.sh copy HOST      (itself, on the cluster of the copy)

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source-path=SCRIPTDIR source=sql.sh
. "$root/scripts/test/sql.sh"

submit="SELECT insula.submit('w', '{\"n\": 1}', tenant => 'acme') > 0"
work="SELECT count(insula.complete(task_id, lease)) > 0 FROM insula.claim('w', max_tasks => 100, tenant => 'acme')"
clean="SELECT count(*) FROM insula.audit() WHERE level <> 'advice'"

if [[ ${1:-} == copy ]]; then
    origin=$2
    there() { PGHOST=$origin "$@"; }
    rows="SELECT (SELECT pg_catalog.md5(string_agg(w::text, ',' ORDER BY id)) FROM tenant_acme.work w) ||
        (SELECT pg_catalog.md5(string_agg(r::text, ',' ORDER BY kind, owner, name, seq)) FROM tenant_acme.record r)"
    is_equal() {
        until_true "SELECT count(*) = 2 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel"
        until_true "SELECT latest_end_lsn >= '$(there value "SELECT pg_current_wal_lsn()")' FROM pg_stat_subscription WHERE relid IS NULL"
        # Time may change the rows there between two looks at them.
        for _ in {1..600}; do
            theirs=$(there value "$rows")
            [[ $theirs != "$(value "$rows")" ]] || return 0
            sleep 0.1
        done
        is "$1" "$theirs" "$rows"
    }

    sql "CREATE EXTENSION insula"
    # Its number differs from the original's.
    sql "SELECT insula.create_tenant(t, login => false) FROM unnest(ARRAY['of_here', 'acme']) t"
    sql "SELECT insula.suspend_tenant('acme')"
    sql "CREATE SUBSCRIPTION copy CONNECTION 'host=$origin port=$PGPORT user=postgres dbname=postgres' PUBLICATION acme"
    is_equal "the rows that were there"

    there sql "$work"
    there sql "$submit"
    there sql "SELECT insula.cancel(max(insula.submit('w', tenant => 'acme'))) FROM generate_series(1, 3)"
    there sql "SELECT insula.schedule('yearly', 'w', '@yearly', tenant => 'acme')"
    is_equal "the rows that came"
    seen="SELECT status, count(*), min(context::text) FROM tenant_acme.workflow_executions GROUP BY 1 ORDER BY 1"
    is "what a reader sees" "$(there value "$seen")" "$seen"
    is "ids" t "SELECT bool_and(execution_id >> 36 = (SELECT tenant_no FROM insula.tenant WHERE tenant = 'acme')) FROM tenant_acme.workflow_executions"
    is "results" completed "SELECT (insula.result(min(execution_id))).status FROM tenant_acme.workflow_executions WHERE status = 'completed'"
    is "its schedules" 1 "SELECT count(*) FROM tenant_acme.schedules"
    is "its audit" 0 "$clean"
    is "the copy has no work" 0 "SELECT count(*) FROM insula.claim('w')"
    is "nor takes any" IS007 "$submit"

    # The tenant moves here: nothing runs there any more, all has come, and ids go on.
    there sql "SELECT insula.claim('w', max_tasks => 1, lease_for => '1 s', tenant => 'acme')"
    there sql "$submit"
    there sql "SELECT insula.suspend_tenant('acme')"
    is_equal "the last rows"
    last=$(there value "SELECT last_value FROM tenant_acme.id")
    sql "DROP SUBSCRIPTION copy"
    sql "SELECT setval('tenant_acme.id', $last)"
    sql "SELECT * FROM insula.reconcile(false)"
    sql "SELECT insula.resume_tenant('acme')"
    is "it submits" t "$submit"
    for _ in {1..600}; do
        sql "$work"
        open=$(value "SELECT count(*) FROM tenant_acme.workflow_executions WHERE status IN ('pending', 'running')")
        ((open)) || break
        sleep 0.1
    done
    ((!open)) || die "$open executions never ended"
    is "its audit" 0 "$clean"
    exit
fi

sql "CREATE EXTENSION insula"
sql "SELECT insula.create_tenant('acme')"
sql "SELECT insula.register_workflow('{\"name\": \"w\", \"tasks\": [{\"id\": \"a\"}]}', tenant => 'acme')"
sql "SELECT insula.submit('w', '{\"n\": 2}', tenant => 'acme') FROM generate_series(1, 20)"
sql "CREATE PUBLICATION acme FOR TABLES IN SCHEMA tenant_acme"
is "the audit" 0 "$clean"
preload=--no-preload
((!INSULA_PRELOADED)) || preload=--preload
"$root/scripts/with-cluster.sh" "$preload" -- "$root/scripts/test/replication.sh" copy "$PGHOST"
is "a tenant goes, whatever publishes it" '' "SELECT insula.drop_tenant('acme', '0 s')"
is "no slot is left" 0 "SELECT count(*) FROM pg_replication_slots"
