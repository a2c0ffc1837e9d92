"""Tests of which requests the dashboard answers and which it refuses, and of what it does when clients, the database or
the system are slow or fail; dashboard.py calls them."""

import concurrent.futures
import contextlib
import errno
import http.client
import json
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

from dashboard_run import PATIENCE, Dashboard, check, memory_of, refused, sql, wait_until

TOKEN = "a token that is just long enough"


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
    done = refused("--tenant", "acme", "dashboard", "--port", "0")
    check("a role with another tenant's rights is none", done.returncode == 1 and '"other_user"' in done.stderr, done)
    sql("REVOKE other_user FROM acme_user")
    for options, code in [(["--tenant", "nobody"], 3), (["--url", "host=/nowhere"], 4), (["--url", "dbname=template1"], 1)]:
        done = refused(*options, "dashboard", "--port", "0")
        check(f"{options} ends with {code}", done.returncode == code, done)


def asks_for_its_token():
    for options in (["--listen", "0.0.0.0"], ["--listen", "::"], ["--listen", "example.com"]):
        done = refused("--port", "0", *options)
        check(f"{options} without a token", done.returncode == 2 and "token" in done.stderr, done)
    for address, host in (("127.0.0.1:8499", "127.0.0.1"), ("[::1]:8499", "::1"), ("localhost:8499", "localhost")):
        done = refused("--listen", address)
        check(f"--listen {address} names --port", done.returncode == 2 and f"--listen {host} --port 8499" in done.stderr, done)
    for token in ("short", TOKEN[:31]):
        done = refused("--port", "0", INSULA_DASHBOARD_TOKEN=token)
        check("a short token", done.returncode == 2 and "less than 32 characters" in done.stderr, done)
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

            for name, give in {"at the page": log_in, "of a program": bearer}.items():
                guesses = {give(f"guess number {i}").status for i in range(40)}
                check(f"guesses {name} are wrong, and keep nothing from the right one", guesses == {401} and give(TOKEN).status == 200, guesses)
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
    done = refused("--log-in-hours", "721")
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


def test(ids):
    refuses_requests()
    keeps_to_one_tenant(ids)
    asks_for_its_token()
    ends_log_ins()
    waits_for_no_slow_client()
    waits_for_no_slow_database()
    tells_nobody_why()
    with tempfile.TemporaryDirectory() as directory:
        listens_on(pathlib.Path(directory))
