#!/usr/bin/env python3
"""Tests insula dashboard without a browser, on the cluster of with-cluster.sh: what it serves, to which requests it
answers, what it refuses, and what it does when clients or the database are slow.

    dashboard.py INSULA
"""

import concurrent.futures
import contextlib
import errno
import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "client" / "cli" / "dashboard" / "page"
PATIENCE = 60
MARKUP = '<img src=x onerror="hacked()"><script>hacked()</script>'
TOKEN = "a token that is long enough"
failures = []
checks = 0
insula = None


def check(what, is_so, seen=""):
    global checks
    checks += 1
    if not is_so:
        failures.append(what)
        print(f"FAILED: {what}\n{str(seen)[:3000]}")


def sql(text):
    done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


def memory_of(pid):
    return int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def wait_until(is_so):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.05)
    return False


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode(errors="replace")

    def json(self):
        return json.loads(self.text)

    def kind(self):
        return self.json()["error"]["kind"]

    def __repr__(self):
        return f"{self.status} {self.headers} {self.text[:500]}"


class Dashboard:
    """One that runs, until the end of the block."""

    def __init__(self, *options, **environment):
        self.process = subprocess.Popen(
            [insula, "dashboard", "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        line = self.process.stdout.readline()
        found = re.match(r"http://[^/]*:(\d+)/", line)
        if not found:
            raise RuntimeError(f"it does not start: {line} {self.process.stderr.read()}")
        self.line = line
        self.port = int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGINT)

    def end(self, how):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def ask(self, path, method="GET", body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def act(self, body, **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("/api/action", "POST", json.dumps(body), {"Content-Type": "application/json", "X-Insula": "1", **names})

    def raw(self, data, wait=PATIENCE):
        """The status of the answer to these bytes; 0 where the connection just ends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            connection.sendall(data)
            seen = b""
            with contextlib.suppress(ConnectionResetError):
                while chunk := connection.recv(65536):
                    seen += chunk
        found = re.match(rb"HTTP/1\.1 (\d+)", seen)
        return int(found[1]) if found else 0


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
        for view in ("samples", "tenant", "usage"):
            seen = dashboard.ask(f"/api/{view}?tenant=nobody")
            check(f"no such tenant in {view}", seen.status == 404 and seen.kind() == "missing", seen)
        check("use is that of one tenant", dashboard.ask("/api/usage").status == 422 and dashboard.ask("/api/usage?tenant=acme").status == 200)
        check("no such tenant", dashboard.ask("/api/executions?tenant=nobody").status == 404)
        check("a quotation mark is only that", dashboard.ask("/api/executions?tenant=a%27%22%3B--").status == 404)
        check("no such execution", dashboard.ask("/api/execution?id=7").status == 404 and dashboard.ask("/api/execution?id=x").status == 422)


def refuses_requests():
    with Dashboard("--allow-actions", "--host", "insula.example.com") as dashboard:
        port = dashboard.port
        for host, status in [("evil.example.com", 421), (f"evil.example.com:{port}", 421), ("localhost.evil.com", 421), ("127.0.0.1.evil.com", 421), ("", 421), ("[::1", 421), ("localhost:x", 421),
                             (f"localhost:{port}", 200), (f"127.0.0.1:{port}", 200), ("[::1]:80", 200), ("INSULA.example.com", 200)]:
            seen = dashboard.raw(f"GET /api/hello HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            check(f"host {host!r}: {status}", seen == status, seen)
        check("no host", dashboard.raw(b"GET / HTTP/1.1\r\n\r\n") == 421)
        check("two hosts", dashboard.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.com\r\n\r\n") == 421)
        body = {"verb": "cancel", "id": "7"}
        check("a change without its header", dashboard.ask("/api/action", "POST", json.dumps(body), {"Content-Type": "application/json"}).status == 403)
        check("a form", dashboard.ask("/api/action", "POST", json.dumps(body), {"Content-Type": "text/plain", "X-Insula": "1"}).status == 403)
        for origin in ["https://evil.com", "null", f"http://localhost:{port}.evil.com", "http://127.0.0.1", f"ftp://127.0.0.1:{port}"]:
            check(f"a change of origin {origin}", dashboard.act(body, Origin=origin).status == 403)
        check("a change of this page", dashboard.act(body, Origin=f"http://127.0.0.1:{port}").status == 404)
        for site in ["cross-site", "same-site"]:
            check(f"a look from a page that is {site}", dashboard.ask("/api/hello", headers={"Sec-Fetch-Site": site}).status == 403)
            check(f"a change from a page that is {site}", dashboard.act(body, Sec_Fetch_Site=site).status == 403)
        for method in ["DELETE", "PUT", "OPTIONS", "PATCH", "TRACE", "BREW"]:
            seen = dashboard.ask("/", method, headers={"Origin": "https://evil.com"})
            check(f"{method} is refused", 400 <= seen.status < 500 and "access-control-allow-origin" not in seen.headers, seen)
        for path in ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd", "/vendor/../app.js%00", "/vendor/lock.json", "/api/../app.js", "/api/", "/API/hello", "/index.html/", "/%", "/\\..\\app.js", "/" + "a" * 3000, "/?" + "a" * 6000]:
            seen = dashboard.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            check(f"path {path[:40]}", 400 <= seen < 500, seen)
        check("nothing but HTTP", dashboard.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n") in (0, 400))
        check("a long header", 400 <= dashboard.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20000 + b"\r\n\r\n") < 500)
        for name in ["Range", "rAnGe", " Range ", "If-Range"]:
            check(f"{name!r} is refused", dashboard.raw(f"GET /vendor/uplot.js HTTP/1.1\r\nHost: localhost\r\n{name}: bytes={'-,' * 3000}-\r\n\r\n".encode()) == 400)
        before = memory_of(dashboard.process.pid)
        for endless in (b"A: " + b"y" * 65536, b"a:b\r\n" * 10000, b"a\n" * 30000):
            status = 0
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                status = dashboard.raw(b"GET / HTTP/1.1\r\n" + endless * 100)
            check(f"a head without an end: {endless[:4]}", status in (0, 431), status)
        check("costs no memory", memory_of(dashboard.process.pid) - before < 20000, (before, memory_of(dashboard.process.pid)))
        check("many headers", dashboard.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X%d: a\r\n" % i for i in range(100)) + b"\r\n") == 431)
        change = b"POST /api/action HTTP/1.1\r\nHost: localhost\r\nX-Insula: 1\r\nContent-Type: application/json\r\n"
        check("a large body", dashboard.raw(change + b"Content-Length: 99999999\r\n\r\n") == 413)
        check("no length", dashboard.raw(change + b"\r\n") == 411)
        check("two lengths", 400 <= dashboard.raw(change + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}") < 500)
        check("chunks", dashboard.raw(change + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n") == 415)
        check("a compressed body", dashboard.raw(change + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}") == 415)
        check("a GET with a body", dashboard.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\nGET /api/hello HTTP/1.1\r\nHost: localhost\r\n\r\n") == 400)
        for text in ["", "{", "[]", "7", '{"verb": 7}', '{"verb": "drop_tenant", "name": "acme"}', '{"verb": "cancel"}', '{"verb": "cancel", "id": "7; DROP"}', '{"verb": "bulk", "action": "delete"}', '{"verb": "bulk", "action": "cancel", "dry_run": "no"}', "[" * 20000, '{"verb": "cancel", "id": ' + "[" * 400000 + "]" * 400000 + "}", '{"verb": "run", "workflow": "w", "tenant": "acme", "input": "[1]"}']:
            seen = dashboard.ask("/api/action", "POST", text, {"Content-Type": "application/json", "X-Insula": "1"})
            check(f"a change that is {text[:40]!r}", seen.status in (411, 422), seen)


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
        for refused in [{}, {"expect": 5}, {"expect": "6"}, {"expect": [6]}, {"expect": None}, {"expect": {}}, {"expect": [first] * 10001}]:
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
        check("a huge definition is left out", seen.status == 200 and seen.json()["source"][0]["definition"] is None and seen.json()["source"][0]["tenant"] == "acme", seen)
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


def keeps_to_one_tenant(ids):
    with Dashboard("--allow-actions", "--tenant", "acme") as dashboard:
        check("it is that tenant", dashboard.ask("/api/hello").json()["tenant"] == "acme" and dashboard.ask("/api/hello").json()["role"] == "acme_user")
        rows = dashboard.ask("/api/executions?tenant=other").json()["executions"]
        check("another tenant cannot be asked for", rows and {row["tenant"] for row in rows} == {"acme"}, rows)
        for path in [f"execution?id={ids['foreign']}", "tenants", "names", "workers", "server", "audit", "now", "all_schedules"]:
            check(f"{path} is not its", dashboard.ask(f"/api/{path}").status in (403, 404))
        check("nor metrics", dashboard.ask("/metrics").status == 403)
        check("nor another's execution", dashboard.act({"verb": "cancel", "id": ids["foreign"]}).status == 404)
        check("nor a run for another", sql("SELECT count(*) FROM insula.executions(tenant => 'other')") == "1" and dashboard.act({"verb": "run", "workflow": "w", "tenant": "other"}).status == 200 and sql("SELECT count(*) FROM insula.executions(tenant => 'other')") == "1")
        check("nor many of another", dashboard.act({"verb": "bulk", "action": "cancel", "filter": {"tenant": "other"}, "everything": True, "expect": [ids["foreign"]], "dry_run": False}).json()["done"] == 0 and sql(f"SELECT status FROM insula.result({ids['foreign']})") == "pending")
        for view in ["samples", "tenant", "workflows", "schedules", "leases", "failures?since=1+day"]:
            check(f"{view} is its own", dashboard.ask(f"/api/{view}").status == 200, view)
        users = sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'insula dashboard'")
        check("few connections", int(users) <= 4, users)
    # A login that may act for two, and is one of them by a setting.
    sql("CREATE ROLE ops LOGIN IN ROLE acme_user, other_user; ALTER ROLE ops SET insula.tenant = 'acme'; CREATE ROLE chief LOGIN IN ROLE insula_admin; ALTER ROLE chief SET insula.tenant = 'acme'")
    with Dashboard("--allow-actions", "--tenant", "acme", PGUSER="ops") as dashboard:
        check("a setting makes no tenant", dashboard.ask("/api/hello").json()["role"] == "acme_user", dashboard.ask("/api/hello"))
        check("and shows no other's", dashboard.ask(f"/api/execution?id={ids['foreign']}").status == 404 and dashboard.act({"verb": "cancel", "id": ids["foreign"]}).status == 404)
    with Dashboard(PGUSER="chief") as dashboard:
        tenants = {row["tenant"] for row in dashboard.ask("/api/executions?status=pending").json()["executions"]}
        check("nor does it keep an administrator from all", "other" in tenants and dashboard.ask("/api/hello").json()["tenant"] is None, tenants)
    sql("GRANT other_user TO acme_user")
    done = subprocess.run([insula, "--tenant", "acme", "dashboard", "--port", "0"], capture_output=True, text=True, timeout=PATIENCE)
    check("a role with another tenant's rights is none", done.returncode == 1 and '"other_user"' in done.stderr, done)
    sql("REVOKE other_user FROM acme_user")
    for options, code in [(["--tenant", "nobody"], 3), (["--url", "host=/nowhere"], 4), (["--url", "dbname=template1"], 1)]:
        done = subprocess.run([insula, *options, "dashboard", "--port", "0"], capture_output=True, text=True, timeout=PATIENCE)
        check(f"{options} ends with {code}", done.returncode == code, done)


def asks_for_its_token():
    for options in (["--listen", "0.0.0.0"], ["--listen", "::"], ["--listen", "example.com"]):
        done = subprocess.run([insula, "dashboard", "--port", "0", *options], capture_output=True, text=True, timeout=PATIENCE)
        check(f"{options} without a token", done.returncode == 2 and "token" in done.stderr, done)
    done = subprocess.run([insula, "dashboard", "--port", "0"], capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, "INSULA_DASHBOARD_TOKEN": "short"})
    check("a short token", done.returncode == 2, done)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(TOKEN + "\n")
        file.flush()
        with Dashboard("--listen", "0.0.0.0", "--token-file", file.name, "--allow-actions") as dashboard:
            check("the page itself is no secret", dashboard.ask("/").status == 200 and dashboard.ask("/healthz").status == 200)
            for path in ["/api/hello", "/api/executions", "/metrics", "/api/nothing"]:
                check(f"{path} without the token", dashboard.ask(path).status == 401)
                check(f"{path} with another", dashboard.ask(path, headers={"Authorization": f"Bearer {TOKEN}x"}).status == 401)
            check("a change without the token", dashboard.act({"verb": "cancel", "id": "7"}).status == 401)
            check("with the token", dashboard.ask("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200)

            def log_in(token):
                return dashboard.ask("/api/login", "POST", json.dumps({"token": token}), {"Content-Type": "application/json", "X-Insula": "1"})

            def bearer(token):
                return dashboard.ask("/api/hello", headers={"Authorization": f"Bearer {token}"})

            # Wrong ones are told to wait; the right one opens all the while, whatever others of its address do.
            for name, guess in {"at the page": log_in, "of a program": bearer}.items():
                check(f"guesses {name} are told to wait", wait_until(lambda: 429 in [guess(f"guess number {i}").status for i in range(20)]))
                check(f"and the right one is looked at, {name}", [guess(f"guess number {i}").status for i in range(8)] and guess(TOKEN).status == 200)
            check("a guess is wrong", wait_until(lambda: bearer("guess").status == 401))
            many = [bearer(TOKEN).status for _ in range(40)]
            check("the right one is not counted", set(many) == {200}, many)
            right = log_in(TOKEN)
            cookie = right.headers.get("set-cookie", "")
            check("the cookie is not the token", right.status == 200 and "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Max-Age=43200" in cookie and TOKEN not in cookie, cookie)
            check("each browser has its own", log_in(TOKEN).headers["set-cookie"] != cookie)
            session = cookie.split(";")[0]
            check("the cookie opens", dashboard.ask("/api/hello", headers={"Cookie": f"a=b; {session}"}).status == 200)
            check("another does not", dashboard.ask("/api/hello", headers={"Cookie": session[:-1] + ("0" if session[-1] != "0" else "1")}).status == 401)
            check("a cookie is not enough for another site", dashboard.ask("/api/action", "POST", "{}", {"Content-Type": "application/json", "X-Insula": "1", "Cookie": session, "Origin": "https://evil.com"}).status == 403)


def ends_log_ins():
    with Dashboard("--log-in-hours", "0.0005", INSULA_DASHBOARD_TOKEN=TOKEN) as dashboard:
        # It lasts for less than two seconds: on a slow machine the first look may come after its end.
        def opens():
            nonlocal cookie, session
            answer = dashboard.ask("/api/login", "POST", json.dumps({"token": TOKEN}), {"Content-Type": "application/json", "X-Insula": "1"})
            cookie = answer.headers["set-cookie"]
            session = {"Cookie": cookie.split(";")[0]}
            return dashboard.ask("/api/hello", headers=session).status == 200

        cookie, session = "", {}
        check("a log-in opens", wait_until(opens))
        check("the browser is told how long it lasts", "Max-Age=2;" in cookie, cookie)
        check("a log-in ends, whatever the browser does", wait_until(lambda: dashboard.ask("/api/hello", headers=session).status == 401))
    done = subprocess.run([insula, "dashboard", "--log-in-hours", "721"], capture_output=True, text=True, timeout=PATIENCE)
    check("no log-in is for ever", done.returncode == 2, done)


def waits_for_no_slow_client():
    with Dashboard() as dashboard:
        slow = [socket.create_connection(("127.0.0.1", dashboard.port)) for _ in range(12)]
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: local")
        began = time.monotonic()
        check("others are served", dashboard.ask("/api/hello").status == 200 and time.monotonic() - began < 4)
        slow[0].settimeout(PATIENCE)
        seen = b"-"
        with contextlib.suppress(ConnectionResetError):
            while seen:
                seen = slow[0].recv(4096)
        check("one that stays silent is ended", time.monotonic() - began < 20, time.monotonic() - began)
        # Many more of them than there are threads: each is given up as soon as others wait. By their limit alone, sixteen
        # at a time, they would keep others out for most of a minute.
        more = []
        for _ in range(150):
            with contextlib.suppress(OSError):
                more.append(socket.create_connection(("127.0.0.1", dashboard.port), timeout=1))
        began = time.monotonic()
        check("nor do many of them stop it", dashboard.ask("/api/hello").status == 200 and time.monotonic() - began < 20, (len(more), time.monotonic() - began))
        for connection in slow + more:
            connection.close()


def waits_for_no_slow_database():
    with Dashboard("--timeout", "0.5", "--connections", "2") as dashboard:
        check("it is well", dashboard.ask("/api/tenants").status == 200)
        holder = subprocess.Popen(["psql", "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdin.write("BEGIN;\nLOCK TABLE insula.tenant IN ACCESS EXCLUSIVE MODE;\n\\echo locked\n")
        holder.stdin.flush()
        holder.stdout.readline()
        began = time.monotonic()
        seen = dashboard.ask("/api/names")
        check("a slow answer is told", seen.status == 503 and seen.kind() == "timeout" and time.monotonic() - began < 10, seen)
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            asked = list(pool.map(lambda i: dashboard.ask(f"/api/names?search={i}"), range(24)))
        check("many that wait are told, too", {answer.status for answer in asked} == {503} and {answer.kind() for answer in asked} <= {"timeout", "busy"}, asked[:3])
        check("over few connections", int(sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'insula dashboard'")) <= 2)
        check("the page is served all the while", dashboard.ask("/").status == 200)
        holder.stdin.write("ROLLBACK;\n")
        holder.communicate(timeout=PATIENCE)
        check("then all is well", dashboard.ask("/api/names").status == 200)
        sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'insula dashboard'")
        statuses = [dashboard.ask(f"/api/names?search={i}").status for i in range(4)]
        check("it connects again", statuses[-1] == 200, statuses)
        check("its sessions cannot write", sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'insula dashboard' AND state = 'idle in transaction'") == "0")


REFUSING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
static int refuses(void) {
  const char *file = getenv("REFUSE_ONCE");
  if (!file || unlink(file) != 0) return 0;
  errno = atoi(getenv("REFUSE_BY"));
  return 1;
}
int accept(int socket, struct sockaddr *address, socklen_t *size) {
  if (refuses()) return -1;
  return ((int (*)(int, struct sockaddr *, socklen_t *))dlsym(RTLD_NEXT, "accept"))(socket, address, size);
}
int accept4(int socket, struct sockaddr *address, socklen_t *size, int flags) {
  if (refuses()) return -1;
  return ((int (*)(int, struct sockaddr *, socklen_t *, int))dlsym(RTLD_NEXT, "accept4"))(socket, address, size, flags);
}
"""


def listens_on(directory):
    """accept() fails as it does now and then: the dashboard goes on, with the connections that it has, too."""
    source, library, flag = (directory / name for name in ("refuse.c", "refuse.so", "once"))
    source.write_text(REFUSING)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    for error in (errno.ECONNABORTED, errno.EMFILE, errno.ENOMEM):
        with Dashboard(LD_PRELOAD=str(library), REFUSE_ONCE=str(flag), REFUSE_BY=str(error)) as dashboard:
            check("it listens", dashboard.ask("/api/hello").status == 200)
            flag.touch()
            check("a connection that cannot be accepted is seen", wait_until(lambda: dashboard.ask("/api/hello").status == 200 and not flag.exists()))
            check("and others are, at once", dashboard.ask("/api/hello").status == 200)
            check("it ends well", dashboard.end(signal.SIGINT) == 0)
            check("and has said so", dashboard.process.stderr.read().count("could not be accepted") == 1)
    with Dashboard(LD_PRELOAD=str(library), REFUSE_ONCE=str(flag), REFUSE_BY=str(errno.EINVAL)) as dashboard:
        flag.touch()
        with contextlib.suppress(OSError, http.client.HTTPException):
            dashboard.ask("/api/hello")  # accept() fails after this one
        with contextlib.suppress(OSError, http.client.HTTPException):
            dashboard.ask("/api/hello")
        check("a port that is lost ends it", dashboard.process.wait(PATIENCE) == 1)
        check("with a word", "cannot listen any more" in dashboard.process.stderr.read())


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


def tells_nobody_why():
    sql("CREATE ROLE away LOGIN IN ROLE insula_admin")
    with Dashboard(PGUSER="away") as dashboard:
        check("it is well", dashboard.ask("/healthz").status == 200)
        sql("ALTER ROLE away NOLOGIN")
        sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'away'")
        until = time.monotonic() + PATIENCE
        while (seen := dashboard.ask("/healthz")).status == 200 and time.monotonic() < until:
            time.sleep(0.1)
        check("healthz says no more than that it is not well", seen.status == 503 and seen.text == "not ok\n", seen)


def main():
    global insula
    insula = str(pathlib.Path(sys.argv[1]).resolve())
    os.environ.update(LC_ALL="C.UTF-8")
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("INSULA_DASHBOARD_TOKEN", None)
    ids = seed()
    is_pinned()
    serves(ids)
    lists(ids)
    refuses_requests()
    changes(ids)
    acts_on_what_was_confirmed(ids)
    bounds_what_it_shows()
    keeps_to_one_tenant(ids)
    asks_for_its_token()
    ends_log_ins()
    waits_for_no_slow_client()
    waits_for_no_slow_database()
    tells_nobody_why()
    mends_slots()
    with tempfile.TemporaryDirectory() as directory:
        listens_on(pathlib.Path(directory))
    print(f"{checks} checks, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
