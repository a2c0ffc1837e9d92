"""What the tests of the command line share: how they run it, through pipes and pseudo-terminals, and count failures."""

import contextlib
import os
import pty
import select
import subprocess
import time

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


class Terminal:
    """A command in a pseudo-terminal of that width."""

    def __init__(self, *words, columns=40):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            try:
                os.environ["TERM"] = "xterm"
                subprocess.run(["stty", "cols", str(columns), "rows", "24"])
                os.execvp("insula", ["insula", *words])
            finally:
                os._exit(127)  # the rest of the test is the parent's
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


def value(sql, database="postgres"):
    done = subprocess.run(["psql", "-XAtqc", sql, "-d", database], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def wait_until(is_so):
    end = time.monotonic() + PATIENCE
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)
    return is_so()


@contextlib.contextmanager
def holding(sql):
    """Another transaction, open until the block ends, that has run the statement."""
    with subprocess.Popen(["psql", "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdin.write(f"BEGIN; {sql};\n\\echo held\n")
        other.stdin.flush()
        check(f"{sql} is done", "held\n" in iter(other.stdout.readline, ""))
        yield
        other.stdin.close()


def start(*words):
    return subprocess.Popen(["insula", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    """Its exit code and what it has said."""
    try:
        out, error = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, error = process.communicate()
    return process.returncode, out, error
