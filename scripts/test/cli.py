#!/usr/bin/env python3
"""Tests the command line on the cluster of with-cluster.sh: what docs/cli.md shows, each command through a pipe, and
those that draw through a pseudo-terminal.

    cli.py INSULA

In the page, a line that begins with "$ " is a command, and the lines up to the next one are its output.
"""

import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 60
failures = []


def check(what, is_so, seen=""):
    if not is_so:
        failures.append(what)
        print(f"FAILED: {what}\n{seen}")


def shell(command, **options):
    return subprocess.run(
        ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, **options
    )


def insula(*words, **options):
    return subprocess.run(["insula", *words], capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, **options)


def run_page():
    page = (ROOT / "docs" / "cli.md").read_text()
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.S | re.M):
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            seen = shell(command).stdout
            check(command, re.sub(r" +$", "", seen, flags=re.M) == expected, f"expected:\n{expected}seen:\n{seen}")


def refuses():
    for words, code in [
        (["tenant", "show", "nobody"], 3),
        (["tenant", "usage", "nobody"], 3),
        (["tenant", "usage", "acme", "--since", "once"], 1),
        (["execution", "show", "7"], 3),
        (["execution", "show", "seven"], 1),
        (["-t", "acme", "run", "invoice", "not json"], 1),
        (["tenant", "limits", "acme", "--weight", "0"], 1),
        (["tenant", "create", "acme"], 1),
        (["tenant", "create", "x"], 1),
        (["tenant", "drop", "acme"], 5),
        (["-t", "acme", "execution", "cancel"], 2),
        (["nonsense"], 2),
        (["-o", "xml", "tenant", "list"], 2),
        (["-c", "nowhere", "tenant", "list"], 2),
        (["--url", "postgresql://me:secret@localhost/x", "tenant", "list"], 2),
        (["--url", "host=/nowhere", "tenant", "list"], 4),
        (["--url", "dbname=template1", "tenant", "list"], 1),
    ]:
        done = insula(*words)
        check(f"{words} ends with {code}", done.returncode == code and done.stdout == "" and done.stderr != "", done)
        check(f"{words} says no secret", "secret" not in done.stderr, done)


def prints():
    for words in [["tenant", "list"], ["tenant", "show", "acme"], ["tenant", "usage", "acme"], ["workflow", "list"], ["execution", "list"], ["failures"],
                  ["worker", "list"], ["lease", "list"], ["doctor"], ["-t", "acme", "schedule", "list"],
                  ["schedule", "next", "@daily"]]:
        done = insula("-o", "json", *words)
        check(f"{words} is JSON", done.returncode == 0 and isinstance(json.loads(done.stdout), list), done)
        check(f"{words} has no colours", "\033" not in insula(*words).stdout)
    # Numbers beyond those that a double holds.
    shown = insula("-o", "json", "execution", "list").stdout
    number = re.search(r'"execution_id": (\d+)', shown)
    check("ids are exact", number and int(number[1]) == json.loads(shown)[0]["execution_id"], shown)
    check("metrics", "# TYPE insula_tasks gauge" in insula("metrics").stdout)
    check("completion", subprocess.run(["bash", "-n"], input=insula("completion", "bash").stdout, text=True).returncode == 0)
    check("man", ".SH COMMANDS" in insula("man").stdout)
    check("a closed pipe", shell("set -o pipefail; insula man | true").returncode in (0, 141))
    check("dot", '"print" -> "send";' in insula("-t", "acme", "workflow", "show", "invoice", "--dot").stdout)


def changes():
    def does(*words):
        done = insula("--yes", *words)
        check(f"{words} does it", done.returncode == 0, done)

    does("-t", "acme", "schedule", "add", "nightly", "invoice", "0 3 * * *", "--timezone", "Europe/Berlin")
    does("-t", "acme", "schedule", "pause", "nightly")
    does("-t", "acme", "schedule", "resume", "nightly")
    does("-t", "acme", "schedule", "remove", "nightly")
    does("-t", "acme", "workflow", "pause", "invoice")
    does("-t", "acme", "workflow", "resume", "invoice")
    does("tenant", "suspend", "acme")
    does("tenant", "resume", "acme")
    does("tenant", "rotate", "acme")
    does("tenant", "create", "no_login", "--no-login")
    does("tenant", "create", "no_login", "--no-login", "--if-not-exists")
    does("tenant", "drop", "no_login")


def asks_in_production():
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "contexts.toml"
        file.write_text('[live]\nurl = ""\nproduction = true\n')
        environment = {**os.environ, "INSULA_CONTEXTS": str(file)}
        check("it looks unasked", insula("-c", "live", "tenant", "list", env=environment).returncode == 0)
        check("it asks before a change", insula("-c", "live", "tenant", "suspend", "acme", env=environment).returncode == 5)


def doctors():
    done = insula("--url", "dbname=template1", "doctor")
    check("the doctor misses the extension", done.returncode == 1 and "insula init" in done.stdout, done)
    shell("psql -XAtqc \"SELECT insula.stop_scheduler()\"")
    done = insula("doctor")
    check("the doctor misses the scheduler", done.returncode == 0 and "SELECT insula.start_scheduler()" in done.stdout, done)
    shell("psql -XAtqc \"SELECT insula.start_scheduler()\"")


class Terminal:
    """A command in a pseudo-terminal of that width."""

    def __init__(self, *words, columns=40):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            subprocess.run(["stty", "cols", str(columns), "rows", "24"])
            os.execvp("insula", ["insula", *words])
        self.seen = ""

    def read_until(self, text):
        end = time.monotonic() + PATIENCE
        while text not in self.seen and time.monotonic() < end:
            if not select.select([self.descriptor], [], [], 1)[0]:
                continue
            try:
                self.seen += os.read(self.descriptor, 4096).decode(errors="replace")
            except OSError:
                break
        return text in self.seen

    def send(self, text):
        os.write(self.descriptor, text.encode())

    def end(self):
        self.read_until("\0")  # never there: until it closes
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def draws():
    top = Terminal("top", "--every", "0.2")
    check("top draws", top.read_until("tenants") and top.read_until("acme"), top.seen)
    top.send("q")
    check("q ends top, and the screen is as before", top.end() == 0 and top.seen.rstrip().endswith("\033[?1049l"), top.seen[-200:])
    lines = [re.sub(r"\033\[[0-9?;]*[A-Za-z]", "", line) for line in top.seen.split("\r\n")]
    check("no line is longer than the terminal", max(len(line) for line in lines) <= 42, lines)

    followed = Terminal("-t", "acme", "run", "invoice", columns=80)
    check("run shows progress", followed.read_until("0/2"), followed.seen)
    shell("psql -XAtqc \"SELECT insula.complete(task_id, lease) FROM insula.claim('w', tenant => 'acme', max_tasks => 9)\"")
    check("run goes on", followed.read_until("1/2"), followed.seen)
    followed.send("\x03")
    code = followed.end()
    check("Ctrl-C ends run, not the execution", code == 130 and "goes on" in followed.seen, followed.seen)

    finished = Terminal("-t", "acme", "run", "invoice", columns=80)
    check("run waits", finished.read_until("0/2"), finished.seen)
    for _ in range(2):
        shell("psql -XAtqc \"SELECT insula.complete(task_id, lease) FROM insula.claim('w', tenant => 'acme', max_tasks => 9)\"")
    check("run ends with the execution", finished.end() == 0 and "completed" in finished.seen, finished.seen)
    check("in colours", "\033[32mcompleted" in finished.seen, finished.seen)


def serves_itself():
    environment = {**os.environ, "INSULA_PGBIN": os.environ["INSULA_PGBIN"]}
    done = insula("dev", "--", "sh", "-c", 'psql -XAtqc "SELECT 41 + 1" "$DATABASE_URL"; exit 7', env=environment)
    check("dev runs a command", done.stdout == "42\n" and done.returncode == 7, done)
    server = subprocess.Popen(["insula", "dev"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    url = server.stdout.readline().strip()
    seen = subprocess.run(["psql", "-XAtqc", "SELECT count(*) FROM insula.tenants", url], capture_output=True, text=True)
    check("dev is a server with the extension", seen.stdout == "0\n", seen)
    server.send_signal(signal.SIGINT)
    check("Ctrl-C ends it", server.wait(PATIENCE) == 0)
    check("and nothing is left", subprocess.run(["psql", "-c", "SELECT 1", url], capture_output=True).returncode != 0)


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    os.environ["PATH"] = f"{binary.parent}:{os.environ['PATH']}"
    os.environ.update(LC_ALL="C.UTF-8")
    os.environ.pop("DATABASE_URL", None)
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for part in (run_page, refuses, prints, changes, asks_in_production, doctors, draws, serves_itself):
            part()
        os.chdir("/")
    return 1 if failures else 0


sys.exit(main())
