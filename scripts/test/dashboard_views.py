"""Tests of what the dashboard serves and shows, and of what it changes; dashboard.py calls them."""

import concurrent.futures
import hashlib
import json
import pathlib
import re
import signal
import subprocess

from dashboard_run import PATIENCE, Dashboard, check, sql, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "client" / "cli" / "dashboard" / "page"
MARKUP = '<img src=x onerror="hacked()"><script>hacked()</script>'


def seed():
    sql("CREATE EXTENSION insula")
    for tenant in ("acme", "other"):
        sql(f"SELECT insula.create_tenant('{tenant}')")
        sql(f"""SELECT insula.register_workflow('{{"name": "w", "tasks": [{{"id": "a"}}, {{"id": "b", "depends_on": ["a"]}}]}}', tenant => '{tenant}')""")
    ids = {}
    for name, tenant in [("failed", "acme"), ("open", "acme"), ("foreign", "other")]:
        ids[name] = sql(f"""SELECT insula.submit('w', '{{"big": 9007199254740993}}', tenant => '{tenant}')""")
        if name == "failed":
            sql(f"SELECT insula.fail(task_id, lease, $m${MARKUP}$m$, false) FROM insula.claim('w', tenant => '{tenant}')")
    sql("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[120]), tenant => 'acme')")
    return ids


def serves(ids):
    with Dashboard() as dashboard:
        page = dashboard.ask("/")
        check("it serves the page", page.status == 200 and '<div id="app">' in page.text and page.headers["content-type"].startswith("text/html"), page)
        wanted = {"/"} | {"/" + str(file.relative_to(PAGE)) for file in PAGE.rglob("*") if file.suffix in (".js", ".css", ".svg", ".html", ".txt")}
        for path in sorted(wanted):
            file = dashboard.ask(path)
            check(f"it serves {path}", file.status == 200 and "nosniff" in file.headers["x-content-type-options"], file)
            if path != "/" and file.status == 200:
                check(f"{path} is the file of the sources", file.text == (PAGE / path[1:]).read_text(), path)
        policy = page.headers["content-security-policy"]
        for rule in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]:
            check(f"the policy has {rule}", rule in policy and "unsafe" not in policy, policy)
        check("no frame", page.headers["x-frame-options"] == "DENY", page)
        check("no inline script or style", not re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=", page.text), page.text)
        check("no other origin may read", not any(name.startswith("access-control") for name in page.headers), page)
        for path in ["/", "/app.js", "/api/workflows?tenant=acme"]:
            first = dashboard.ask(path)
            again = dashboard.ask(path, headers={"If-None-Match": first.headers["etag"]})
            check(f"{path} is not sent twice", again.status == 304 and again.text == "", again)
        for view in ["hello", "now", "failures?since=1+day", "tenants", "names", "tenant?tenant=acme", "executions", f"execution?id={ids['failed']}", "workflows?tenant=acme",
                     "schedules?tenant=acme", "all_schedules", "workers", "leases", "server", "audit", "samples"]:
            seen = dashboard.ask(f"/api/{view}")
            check(f"{view} is JSON", seen.status == 200 and isinstance(seen.json(), dict) and not [key for key in seen.json() if key.endswith("_error")], seen)
        check("HEAD is served", dashboard.ask("/", "HEAD").status == 200)
        check("healthz", dashboard.ask("/healthz").text == "ok\n")
        check("metrics", "# TYPE insula_tenants gauge" in dashboard.ask("/metrics").text)
        shown = dashboard.ask(f"/api/execution?id={ids['failed']}")
        check("markup of a tenant is a string of JSON", shown.headers["content-type"].startswith("application/json") and MARKUP in shown.json()["result"][0]["error"], shown)
        check("ids and contexts keep their digits", shown.json()["result"][0]["execution_id"] == ids["failed"] and '"big": 9007199254740993' in shown.json()["source"][0]["input"], shown)
        refusal = dashboard.ask(f"/api/{MARKUP.replace(' ', '%20')}")
        check("what is refused has the policy, too", refusal.status == 404 and "content-security-policy" in refusal.headers and "<" not in refusal.text, refusal)
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            statuses = list(pool.map(lambda i: dashboard.ask(["/", "/app.js", "/api/executions", "/api/tenants"][i % 4]).status, range(400)))
        check("it serves many at once", set(statuses) == {200}, statuses)
        check("Ctrl-C ends it", dashboard.end(signal.SIGINT) == 0)


def is_pinned():
    for entry in json.loads((PAGE / "vendor" / "lock.json").read_text()):
        sum_of_file = hashlib.sha256((PAGE / "vendor" / entry["file"]).read_bytes()).hexdigest()
        check(f"{entry['file']} is as its author published it", sum_of_file == entry["sha256"], sum_of_file)
        check(f"the licence of {entry['package']} is there", f"\n{entry['package']}\n" in (PAGE / "vendor" / "licences.txt").read_text())


def lists(ids):
    with Dashboard() as dashboard:
        def ids_of(query):
            page = dashboard.ask(f"/api/executions?tenant=acme&{query}")
            return page.json()["executions"], page.json()["next"]

        first, after = ids_of("")
        second, last = ids_of(f"from={after}")
        third, end = ids_of(f"from={last}")
        whole = [row["execution_id"] for row in first + second + third]
        check("pages hold each once, and end", len(whole) == len(set(whole)) == 122 and end is None and len(first) == 50, (len(whole), end))
        check("a status", [row["execution_id"] for row in ids_of("status=failed")[0]] == [ids["failed"]])
        check("all but a status", ids["failed"] not in [row["execution_id"] for row in ids_of("status=!failed")[0]] and len(ids_of("status=!failed")[0]) == 50)
        check("all but a workflow", ids_of("workflow=!w")[0] == [])
        check("all but an error", len(ids_of("status=failed&error=!onerror")[0]) == 0 and len(ids_of("status=failed&error=onerror")[0]) == 1)
        check("an input", [row["execution_id"] for row in ids_of("with=%7B%22big%22%3A9007199254740993%7D&status=failed")[0]] == [ids["failed"]])
        for query in ["status=nonsense", "with=nonsense", "with=!%7B%7D", "after=nonsense", "from=7", "from=x"]:
            seen = dashboard.ask(f"/api/executions?tenant=acme&{query}")
            check(f"{query} is refused", seen.status == 422, seen)
        # The order does not move with the clock: the next page begins where this one ends, whenever it is asked for.
        def oldest(query=""):
            return [(row["tenant"], row["sort_key"]) for row in dashboard.ask(f"/api/tenants?sort=oldest&direction=down{query}", headers={"X-Insula-Fresh": "1"}).json()["tenants"]]

        seen = oldest()
        check("keys of an order by age stay", [tenant for tenant, _ in seen] == ["acme", "other"] and oldest() == seen, (seen, oldest()))
        check("and pages by them hold each once", oldest(f"&after_key={seen[0][1]!r}&after=acme") == seen[1:] and oldest(f"&after_key={seen[1][1]!r}&after=other") == [], seen)
        # In words of its own, of which there may be many.
        sql("SELECT FROM insula.create_tenant('telling')")
        sql("""SELECT insula.register_workflow('{"name": "told", "tasks": [{"id": "a"}]}', tenant => 'telling')""")
        told = sql("SELECT insula.submit('told', tenant => 'telling')")
        sql("SELECT insula.save_progress(task_id, lease, NULL, 0.25, repeat('page 1 of 4 ', 200)) FROM insula.claim('w', tenant => 'telling')")
        tasks = json.loads(dashboard.ask(f"/api/execution?id={told}").json()["result"][0]["tasks"])
        check("a running task says how far it is", tasks[0].get("progress") == 0.25 and tasks[0].get("note", "").startswith("page 1 of 4 "), tasks)
        sql("SELECT insula.drop_tenant('telling', '0 s')")
        for view in ("samples", "tenant", "usage"):
            seen = dashboard.ask(f"/api/{view}?tenant=nobody")
            check(f"no such tenant in {view}", seen.status == 404 and seen.kind() == "missing", seen)
        check("use is that of one tenant", dashboard.ask("/api/usage").status == 422 and dashboard.ask("/api/usage?tenant=acme").status == 200)
        check("no such tenant", dashboard.ask("/api/executions?tenant=nobody").status == 404)
        check("a quotation mark is only that", dashboard.ask("/api/executions?tenant=a%27%22%3B--").status == 404)
        check("no such execution", dashboard.ask("/api/execution?id=7").status == 404 and dashboard.ask("/api/execution?id=x").status == 422)


def changes(ids):
    with Dashboard() as dashboard:
        seen = dashboard.act({"verb": "retry", "id": ids["failed"]})
        check("it only shows", seen.status == 403 and sql(f"SELECT status FROM insula.result({ids['failed']})") == "failed", seen)
        check("and says so", dashboard.ask("/api/hello").json()["actions"] is False and "read-only" in dashboard.line)
    with Dashboard("--allow-actions", "--user-header", "X-User") as dashboard:
        seen = dashboard.act({"verb": "retry", "id": ids["failed"], "reason": "mended"}, X_User="ada\tlovelace")
        check("a retry", seen.json() == {"done": True} and sql(f"SELECT status FROM insula.result({ids['failed']})") != "failed", seen)
        event = sql(f"SELECT detail ->> 'reason' FROM insula.timeline({ids['failed']}) WHERE event = 'execution_retried'")
        check("the history tells by whom", event == "mended (dashboard: ada?lovelace, role postgres)", event)
        check("again: there is nothing to do", dashboard.act({"verb": "retry", "id": ids["failed"]}).json() == {"done": False})
        for verb in ("pause", "resume", "cancel"):
            check(verb, dashboard.act({"verb": verb, "id": ids["open"]}).json() == {"done": True})
        run = {"verb": "run", "workflow": "w", "tenant": "acme", "input": '{"big": 9007199254740995}', "key": "k1"}
        made = dashboard.act(run).json()["execution_id"]
        check("the same request again makes no other", dashboard.act(run).json()["execution_id"] == made)
        check("a new run", sql(f"SELECT input ->> 'big' FROM insula.execution_source({made})") == "9007199254740995")
        bulk = {"verb": "bulk", "action": "cancel", "filter": {"tenant": "acme", "status": "pending"}}
        counted = dashboard.act({**bulk, "dry_run": True}).json()
        check("it counts before", counted["count"] > 100 and counted["done"] == 0 and counted["all"], counted)
        done = dashboard.act({**bulk, "dry_run": False, "expect": counted["ids"]}).json()
        check("and does as many", done["done"] == counted["count"] and dashboard.act({**bulk, "dry_run": True}).json()["count"] == 0, done)
        sql("SELECT insula.schedule('s', 'w', '@daily', context => '{\"from\": \"schedule\"}', tenant => 'acme')")
        for verb, status in [("pause_schedule", "paused"), ("resume_schedule", "active")]:
            check(verb, dashboard.act({"verb": verb, "name": "s", "tenant": "acme"}).json() == {"done": True} and sql("SELECT status FROM insula.schedules('acme')") == status)
        asked = {"verb": "run_schedule", "name": "s", "tenant": "acme", "key": "k2"}
        run = dashboard.act(asked).json()["execution_id"]
        check("a schedule's run is not made twice", dashboard.act(asked).json()["execution_id"] == run)
        large = sql("SELECT insula.submit('w', jsonb_build_object('large', repeat('x', 1200000)), tenant => 'acme')")
        shown = dashboard.ask(f"/api/execution?id={large}").json()["source"][0]
        check("a large input is shown in part", len(shown["input"]) == 1000000 and int(shown["input_bytes"]) > 1200000)
        same = dashboard.act({"verb": "run_same", "id": large}).json()["execution_id"]
        check("and run again as a whole", same != large and sql(f"SELECT a.input = b.input FROM insula.execution_source({large}) a, insula.execution_source({same}) b") == "t")
        dashboard.act({"pad": "x" * 4000, "verb": "cancel", "id": "7"})
        dashboard.act({"verb": "retry", "id": "7", "reason": "\u009b2J"})
        seen = dashboard.act({"verb": "cancel", "id": large, "reason": "\u7684" * 900})
        reason = sql(f"SELECT detail ->> 'error' FROM insula.timeline({large}) WHERE event = 'execution_cancelled'")
        check("a long reason is cut at a character", reason == "\u7684" * 666 + " (dashboard: role postgres)", (seen, reason))
        check("a schedule now", sql(f"SELECT input ->> 'from' FROM insula.execution_source({run})") == "schedule")
        check("TERM ends it", dashboard.end(signal.SIGTERM) == 0)
        log = dashboard.process.stderr.read()
        check("each change is logged", log.count("-> {") >= 8 and "\t" not in log, log)
        check("by what it asks for", 'verb="cancel" id="7" -> "pad" is not known' in log and f'verb="cancel" id="{large}" reason=' in log and 'reason="?2J"' in log, log)
        check("and no control character", not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", log), log)


def acts_on_what_was_confirmed(ids):
    with Dashboard("--allow-actions") as dashboard:
        sql("SELECT insula.submit_many('w', array_fill('{\"bulk\": 1}'::jsonb, ARRAY[5]), tenant => 'acme')")
        ask = {"verb": "bulk", "action": "pause", "filter": {"tenant": "acme", "with": '{"bulk": 1}'}}
        counted = dashboard.act(ask).json()
        check("it counts them, and says which", counted["count"] == 5 and len(set(counted["ids"])) == 5 and counted["all"], counted)
        later = sql("SELECT insula.submit('w', '{\"bulk\": 1}', tenant => 'acme')")
        first, *rest = counted["ids"]
        for refused in [{}, {"expect": 5}, {"expect": "6"}, {"expect": [6]}, {"expect": ["x"]}, {"expect": [""]}, {"expect": None}, {"expect": {}}, {"expect": [first] * 10001}]:
            check(f"confirmed by {str(refused)[:40]}", dashboard.act({**ask, "dry_run": False, **refused}).status == 422)
        paused = "SELECT string_agg(execution_id::text, ' ' ORDER BY execution_id) FROM insula.executions(status => 'paused', context => '{\"bulk\": 1}', tenant => 'acme')"
        check("and nothing is changed", sql(paused) == "")
        done = dashboard.act({**ask, "dry_run": False, "expect": rest}).json()
        check("those that were confirmed are changed, and no other", done["done"] == 4 and done["gone"] == 0 and sql(paused).split() == sorted(rest, key=int), (done, later))
        # One has ended, and another that was not among the counted fits in its place.
        open_ones = {**ask, "filter": {**ask["filter"], "status": "pending"}}
        counted = dashboard.act(open_ones).json()
        sql(f"SELECT insula.cancel({first})")
        late = sql("SELECT insula.submit('w', '{\"bulk\": 1}', tenant => 'acme')")
        done = dashboard.act({**open_ones, "dry_run": False, "expect": counted["ids"]}).json()
        check("one that takes the place of another is left", done["done"] == 1 and done["gone"] == 1 and sql(f"SELECT status FROM insula.result({late})") == "pending" and sql(f"SELECT status FROM insula.result({later})") == "paused", done)
        check("an id that does not fit is none", dashboard.act({**open_ones, "dry_run": False, "expect": [ids["foreign"]]}).json()["gone"] == 1 and sql(f"SELECT status FROM insula.result({ids['foreign']})") == "pending")
        sql("SELECT count(insula.cancel(execution_id)) FROM insula.executions(context => '{\"bulk\": 1}', tenant => 'acme')")
        sql("SELECT insula.submit_many('w', array_fill('{\"bulk\": 1}'::jsonb, ARRAY[6]), tenant => 'acme')")
        for wrong in [{"Status": "failed"}, None, [], "x", {"status": None}, {"status": 7}, {"status": "!"}, {"workflow": "!"}, {"error": "!"}]:
            for dry in (True, False):
                seen = dashboard.act({"verb": "bulk", "action": "cancel", "filter": wrong, "dry_run": dry, "expect": [], "everything": True})
                check(f"a filter that is {wrong}", seen.status == 422, seen)
        seen = dashboard.act({"verb": "bulk", "action": "cancel", "filter": {}, "dry_run": False, "expect": []})
        check("all of them want a word", seen.status == 422 and "everything" in seen.text, seen)
        check("a look, too, wants what stands after !", dashboard.ask("/api/executions?status=!").status == 422)
        check("no unknown member", dashboard.act({"verb": "cancel", "id": "7", "ID": "8"}).status == 422)
        # Another session holds one of them: the others are done, and it is told.
        counted = dashboard.act(open_ones).json()["ids"]
        locked = min(counted, key=int)
        holder = subprocess.Popen(["psql", "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdin.write(f"BEGIN;\nSELECT insula.pause({locked});\n\\echo locked\n")
        holder.stdin.flush()
        while holder.stdout.readline() != "locked\n":
            pass
        done = dashboard.act({**open_ones, "dry_run": False, "expect": counted}).json()
        holder.communicate("ROLLBACK;\n", timeout=PATIENCE)
        check("one that is locked keeps no other", done["done"] == 5 and done["skipped"] == 1 and done["left"] == 0 and done["skips"][0]["id"] == locked and done["error"] is None, done)


def acts_where_numbers_began_again():
    """Numbers of executions begin anew after 2^36: an old execution that is kept has a higher one than all new ones."""
    sql("SELECT insula.create_tenant('wrapped')")
    for workflow in ("kept", "w"):
        sql(f"""SELECT insula.register_workflow('{{"name": "{workflow}", "tasks": [{{"id": "a"}}]}}', tenant => 'wrapped')""")
    sql("SELECT setval('tenant_wrapped.id', 7000)")
    old = sql("SELECT insula.submit('kept', tenant => 'wrapped')")
    sql("SELECT setval('tenant_wrapped.id', (last_value | 68719476735) - 1) FROM tenant_wrapped.id")
    sql("SELECT insula.submit_many('w', array_fill('{}'::jsonb, ARRAY[6000]), tenant => 'wrapped')")
    new = sql("SELECT insula.submit('kept', tenant => 'wrapped')")
    sql("SELECT insula.schedule('s', 'w', '* * * * * *', tenant => 'wrapped')")
    check("a number has begun anew", int(new) < int(old), (old, new))
    with Dashboard("--allow-actions") as dashboard:
        ask = {"verb": "bulk", "action": "cancel", "filter": {"tenant": "wrapped", "workflow": "kept"}}
        counted = dashboard.act(ask).json()
        check("both are counted, the older first", counted["ids"] == [old, new], counted)
        done = dashboard.act({**ask, "dry_run": False, "expect": counted["ids"]}).json()
        check("and both are changed", done["done"] == 2 and done["gone"] == 0, done)

        def last_status():
            return [row["last_status"] for row in dashboard.ask("/api/schedules?tenant=wrapped", headers={"X-Insula-Fresh": "1"}).json()["schedules"]]

        check("the newest execution has a status", wait_until(lambda: last_status() == ["pending"]), last_status())
    sql("SELECT insula.drop_tenant('wrapped', '0 s')")


def bounds_what_it_shows():
    tasks = ", ".join('{"id": "t%d"}' % i for i in range(40))
    sql(f"""SELECT insula.register_workflow('{{"name": "wide", "tasks": [{tasks}]}}', tenant => 'acme')""")
    wide = sql("SELECT insula.submit('wide', tenant => 'acme')")
    sql("SELECT count(insula.complete(task_id, lease, jsonb_build_object('k', repeat('x', 190000)))) FROM insula.claim('w', tenant => 'acme', max_tasks => 30, tasks => ARRAY(SELECT 'wide.t' || i FROM generate_series(0, 39) i))")
    sql("SELECT count(insula.fail(task_id, lease, repeat('e', 60000), false)) FROM insula.claim('w', tenant => 'acme', tasks => ARRAY(SELECT 'wide.t' || i FROM generate_series(0, 39) i))")
    with Dashboard() as dashboard:
        seen = dashboard.ask(f"/api/execution?id={wide}")
        changed = [event["changed"] is not None for event in seen.json()["timeline"] if event["changed_bytes"]]
        check("an execution's answer is bounded", seen.status == 200 and len(seen.text) < 6000000 and len(changed) > 20 and True in changed and False in changed, (seen.status, len(seen.text), changed))
        check("and errors of tasks", max(len(task.get("error") or "") for task in json.loads(seen.json()["result"][0]["tasks"])) == 500)
        events = len(seen.json()["timeline"])
        names = [row["workflow"] for row in dashboard.ask("/api/workflows?tenant=acme").json()["workflows"]]
        check("lists have all there is", sorted(names) == ["w", "wide"], names)
    # A definition of several megabytes is left out, with the execution shown; where even one row does not fit, that is told.
    sql("""SELECT insula.register_workflow(jsonb_build_object('name', 'huge', 'description', repeat('d', 5000000), 'tasks', '[{"id": "a"}]'::jsonb), tenant => 'acme')""")
    huge = sql("SELECT insula.submit('huge', jsonb_build_object('large', repeat('x', 100000)), tenant => 'acme')")
    with Dashboard() as dashboard:
        seen = dashboard.ask(f"/api/execution?id={huge}")
        source = seen.json()["source"][0]
        check("a huge definition is left out, and how large it is told", seen.status == 200 and source["definition"] is None and int(source["definition_bytes"]) > 5000000 and source["tenant"] == "acme", seen)
    with Dashboard("--megabytes", "0.05") as dashboard:
        seen = dashboard.ask(f"/api/execution?id={huge}")
        check("one row that does not fit is refused", seen.status == 422 and seen.kind() == "refused" and "--megabytes" in seen.text, seen)
    # Less than the whole fits: the first rows are shown, and that there are more. Sessions go on.
    with Dashboard("--megabytes", "0.01", "--connections", "1") as dashboard:
        seen = dashboard.ask(f"/api/execution?id={wide}").json()
        check("a result has a largest size", seen["timeline_cut"] is True and 0 < len(seen["timeline"]) < events and "source_cut" not in seen, seen)
        for i in range(25):
            sql(f"SELECT insula.create_tenant('many{i}')")
            sql(f"""SELECT insula.register_workflow('{{"name": "w", "tasks": [{{"id": "a"}}]}}', tenant => 'many{i}')""")
            sql(f"SELECT insula.cancel(insula.submit('w', tenant => 'many{i}'))")
        size = len(sql("SELECT insula.metrics()"))
        for view in ("samples", "samples?tenant=acme"):
            seen = dashboard.ask(f"/api/{view}")
            check(f"{view}: counters always fit", seen.status == 200 and int(seen.json()["samples"][-1]["submitted"]) > 100 and seen.json()["samples"][-1]["top"], seen)
        check("metrics are whole, or none", size > 10486 and dashboard.ask("/metrics").status == 503, size)
        lists = dashboard.ask("/api/schedules?tenant=acme").json()
        check("what fits is whole", not [name for name in lists if name.endswith("_cut")], lists)
        found = set()
        page = dashboard.ask("/api/executions?tenant=acme").json()
        while page["next"]:
            found |= {row["execution_id"] for row in page["executions"]}
            page = dashboard.ask(f"/api/executions?tenant=acme&from={page['next']}").json()
        found |= {row["execution_id"] for row in page["executions"]}
        check("pages that are cut go on where they ended", len(found) == int(sql("SELECT count(*) FROM insula.executions(tenant => 'acme', max_executions => 10000)")), len(found))


def mends_slots():
    """A command is proposed to drop a slot whose WAL is gone, and none for one that may still be read on."""
    def status_of(slot):
        return sql(f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{slot}'")

    def mend_of(dashboard, slot):
        seen = dashboard.ask("/api/server", headers={"X-Insula-Fresh": "1"}).json()
        return {row["mend"] for row in seen["health"] if row["object"] == f"replication slot {slot}"}

    def is_lost():
        sql("SELECT pg_logical_emit_message(true, 'test', 'x'); SELECT pg_switch_wal()")
        sql("CHECKPOINT")
        return status_of("unused") == "lost"

    sql("SELECT pg_create_physical_replication_slot('unused', true)")
    try:
        with Dashboard() as dashboard:
            check("an unused slot stays", mend_of(dashboard, "unused") == {None}, mend_of(dashboard, "unused"))
            sql("ALTER SYSTEM SET max_slot_wal_keep_size = 1")
            sql("SELECT pg_reload_conf()")
            check("its WAL is removed", wait_until(is_lost), status_of("unused"))
            check("it is dropped", "SELECT pg_drop_replication_slot('unused')" in mend_of(dashboard, "unused"), mend_of(dashboard, "unused"))
    finally:
        sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
        sql("SELECT pg_reload_conf(), pg_drop_replication_slot('unused')")


def test(ids):
    is_pinned()
    serves(ids)
    lists(ids)
    changes(ids)
    acts_on_what_was_confirmed(ids)
    acts_where_numbers_began_again()
    bounds_what_it_shows()
    mends_slots()
