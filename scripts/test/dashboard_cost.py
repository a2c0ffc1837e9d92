#!/usr/bin/env python3
"""What the views of insula dashboard cost: the buffers that each of its queries touches, as auto_explain has them, with
few tenants and a short history, and with many more of both. A view of one tenant must cost the same; one of all
tenants may grow with their number by a little for each, and not with what they have done.

    dashboard_cost.py INSULA
"""

import json
import os
import pathlib
import re
import sys

sys.dont_write_bytecode = True  # beside the sources
import dashboard_run
from dashboard_run import Dashboard, check, sql, wait_until

FEW, MANY = 3, 300
SHORT, LONG = 4000, 24000  # executions
EXPLAIN = "-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 -c auto_explain.log_analyze=on -c auto_explain.log_buffers=on -c auto_explain.log_timing=off -c auto_explain.log_format=json"
# By view: the buffers that a tenant more may cost, some more than it was seen to.
OF_ALL = {"tenants": 9, "tenants?sort=tenant&direction=up": 9, "now": 6, "names": 1, "samples": 1, "samples?tenant=acme": 1, "all_schedules": 4, "workers": 1, "server": 4}
OF_ONE = ["executions?tenant=acme", "executions?tenant=acme&status=completed", "executions?tenant=acme&from={newest}", "execution?id={newest}", "failures?since=1+hour&tenant=acme",
          "tenant?tenant=acme", "workflows?tenant=acme", "schedules?tenant=acme", "leases?tenant=acme", "last_failures?tenants=acme,tenant1,tenant2"]
SAMPLES = {"samples": "insula.metrics(", "samples?tenant=acme": "insula.read_counters($1)"}
MORE_FOR_ONE = 400  # a tree that is a level higher, a list that is full


# A transaction each: of many new tenants in one, each is dearer than the one before.
def add_tenants(first, last):
    for at in range(first, last + 1, 50):
        sql(f"""DO $$
            BEGIN
                FOR i IN {at}..{min(at + 49, last)} LOOP
                    PERFORM insula.create_tenant('tenant' || i);
                    PERFORM insula.register_workflow('{{"name": "w", "tasks": [{{"id": "a"}}]}}', tenant => 'tenant' || i);
                    PERFORM insula.submit('w', tenant => 'tenant' || i);
                    PERFORM insula.schedule('s', 'w', '0 3 1 1 *', tenant => 'tenant' || i);
                    COMMIT;
                END LOOP;
            END $$""")


# One month ago, as a history has it.
def add_history(executions):
    for _ in range(executions // 4000):
        some = 4000
        sql(f"SELECT count(*) FROM unnest(insula.submit_many('w', array_fill('{{}}'::jsonb, ARRAY[{some}]), tenant => 'acme'))")
        done = 0
        while done < some:
            done += int(sql("SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 500, tenant => 'acme')"))
    sql("UPDATE tenant_acme.work SET created_at = created_at - interval '30 days', started_at = started_at - interval '30 days', finished_at = finished_at - interval '30 days' WHERE finished_at > now() - interval '1 day'")


def settle():
    sql("VACUUM (ANALYZE)")


def plans_since(start, log):
    with log.open("rb") as file:
        file.seek(start)
        text = file.read().decode(errors="replace")
    plans = re.findall(r"plan:\n((?:\t.*\n)+)", text)
    return [json.loads(plan) for plan in plans if plan.endswith("\n\t}\n")]  # the last one may still be written


def is_of_a_sample(plan):
    return any(mark in plan["Query Text"] for mark in SAMPLES.values())


def buffers_of(dashboard_of_test, path, log):
    """The buffers of its queries, once what is read but once is known. Samples are taken beside them, every two seconds."""
    for _ in range(2):
        start = log.stat().st_size
        answer = dashboard_of_test.ask(f"/api/{path}", headers={"X-Insula-Fresh": "1"})
        check(f"{path} answers", answer.status == 200 and not [key for key in answer.json() if key.endswith("_error")], answer)
    if path in SAMPLES:
        def taken():
            return [plan for plan in plans_since(start, log) if SAMPLES[path] in plan["Query Text"]]

        wait_until(taken)
        plans = taken()[:1]
    else:
        plans = [plan for plan in plans_since(start, log) if not is_of_a_sample(plan)]
    check(f"the queries of {path} are seen", plans)
    return sum(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] for plan in plans)


def measure(log):
    newest = sql("SELECT execution_id FROM insula.executions(tenant => 'acme', max_executions => 1)")
    with Dashboard(PGOPTIONS=EXPLAIN) as one:
        return {path: buffers_of(one, path.format(newest=newest), log) for path in [*OF_ALL, *OF_ONE]}


def main():
    dashboard_run.begin()
    log = pathlib.Path(os.environ["INSULA_SERVER_LOG"])
    sql("CREATE EXTENSION insula")
    sql("SELECT insula.create_tenant('acme')")
    sql("""SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'acme')""")
    sql("SELECT insula.submit('w', tenant => 'acme')")
    sql("SELECT insula.fail(task_id, lease, 'no', false) FROM insula.claim('w', tenant => 'acme')")
    add_tenants(1, FEW)
    add_history(SHORT)
    settle()
    few = measure(log)
    add_tenants(FEW + 1, MANY)
    settle()
    many = measure(log)
    add_history(LONG - SHORT)
    settle()
    long = measure(log)
    for path, each in OF_ALL.items():
        check(f"{path}: {each} buffers a tenant at most", many[path] - few[path] <= each * (MANY - FEW), (few[path], many[path]))
        check(f"{path}: none for what tenants have done", long[path] - many[path] <= MORE_FOR_ONE, (many[path], long[path]))
    for path in OF_ONE:
        check(f"{path}: none for other tenants", many[path] - few[path] <= MORE_FOR_ONE, (few[path], many[path]))
        check(f"{path}: none for history", long[path] - many[path] <= MORE_FOR_ONE, (many[path], long[path]))
    for path in [*OF_ALL, *OF_ONE]:
        print(f"{path:50} {few[path]:8} {many[path]:8} {long[path]:8}")
    return dashboard_run.end()


sys.exit(main())
