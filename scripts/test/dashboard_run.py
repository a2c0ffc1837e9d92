"""What the tests of insula dashboard share: checks that are counted, SQL on the cluster of with-cluster.sh, and a
dashboard that runs for as long as a block."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

PATIENCE = 60
failures = []
checks = 0
insula = None


def check(what, is_so, seen=""):
    global checks
    checks += 1
    if not is_so:
        failures.append(what)
        print(f"FAILED: {what}\n{str(seen)[:3000]}")


def begin():
    global insula
    insula = str(pathlib.Path(sys.argv[1]).resolve())
    os.environ.update(LC_ALL="C.UTF-8")
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("INSULA_DASHBOARD_TOKEN", None)


def end():
    print(f"{checks} checks, {len(failures)} failed")
    return 1 if failures else 0


def refused(*options, **environment):
    """What a dashboard says that does not start."""
    command = [insula, *options] if "dashboard" in options else [insula, "dashboard", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, **environment})


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
        if "--timeout" not in options:
            options += ("--timeout", "30")  # on a machine that does other work, too
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
