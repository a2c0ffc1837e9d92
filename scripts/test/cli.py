#!/usr/bin/env python3
"""Tests the command line on the cluster of with-cluster.sh: what docs/cli.md shows, each command through a pipe, and
those that draw through a pseudo-terminal.

    cli.py INSULA

In the page, a line that begins with "$ " is a command, and the lines up to the next one are its output.
"""

import hashlib
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tarfile
import tempfile

sys.dont_write_bytecode = True  # nothing is left beside the sources

from cli_tools import PATIENCE, Terminal, check, end, failures, holding, insula, shell, start, value, wait_until
from cli_verbs import PARTS

ROOT = pathlib.Path(__file__).resolve().parents[2]


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
        (["tenant", "usage", "acme", "--since", "once"], 2),
        (["execution", "show", "7"], 3),
        (["execution", "show", "seven"], 2),
        (["-t", "acme", "run", "invoice", "not json"], 2),
        (["tenant", "limits", "acme", "--weight", "0"], 2),
        (["tenant", "create", "acme"], 1),
        (["tenant", "create", "x"], 2),
        (["tenant", "create", "x", "--no-login"], 2),
        (["tenant", "rotate", "nobody"], 3),
        (["--url", "host=/nowhere", "tenant", "rotate", "acme"], 4),
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


def draws():
    top = Terminal("top", "--every", "0.2")
    check("top draws", top.read_until("tenants") and top.read_until("acme"), top.seen)
    top.send("q")
    check("q ends top, and the screen is as before", top.end() == 0 and top.seen.rstrip().endswith("\033[?1049l"), top.seen[-200:])
    lines = [re.sub(r"\033\[[0-9?;]*[A-Za-z]", "", line) for line in top.seen.split("\r\n")]
    check("no line is longer than the terminal", max(len(line) for line in lines) <= 42, lines)

    followed = Terminal("-t", "acme", "run", "invoice", columns=80)
    check("run shows progress", followed.read_until("0/2"), followed.seen)
    shell("psql -XAtqc \"SELECT insula.save_progress(task_id, lease, NULL, 0.25, 'page 1 of 4') FROM insula.claim('w', tenant => 'acme', max_tasks => 9)\"")
    check("run shows what tasks say", followed.read_until("print 25% page 1 of 4"), followed.seen)
    newest = json.loads(insula("-t", "acme", "-o", "json", "execution", "list", "-n", "1").stdout)[0]["execution_id"]
    shown = insula("execution", "show", str(newest))
    check("show, too", "25%" in shown.stdout and "page 1 of 4" in shown.stdout, shown)
    shell("psql -XAtqc \"SELECT insula.leave('w')\"")
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


def rewritten(file, change):
    """The archive with another manifest, and sums that fit it."""
    with tarfile.open(file) as archive:
        parts = {name: archive.extractfile(name).read() for name in archive.getnames()}
    manifest = json.loads(parts["manifest.json"])
    change(manifest)
    parts["manifest.json"] = json.dumps(manifest).encode()
    names = ["work.copy", "record.copy", "manifest.json"]
    parts["SHA256SUMS"] = "".join(f"{hashlib.sha256(parts[name]).hexdigest()}  {name}\n" for name in names).encode()
    with tarfile.open("rewritten.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in [*names, "SHA256SUMS"]:
            entry = tarfile.TarInfo(name)
            entry.size = len(parts[name])
            archive.addfile(entry, io.BytesIO(parts[name]))
    return "rewritten.tar"


def keeps_files():
    """No export replaces a file, and none reads what is not Insula's."""
    value("SELECT insula.create_tenant('mover')")
    with holding("LOCK TABLE tenant_mover.work"):
        exporting = start("tenant", "export", "mover", "kept.tar")
        check("an export has begun", wait_until(lambda: os.path.exists("kept.tar.part")))
        done = insula("tenant", "export", "mover", "kept.tar")
        check("what is beside a file is told", done.returncode == 1 and "kept.tar.part" in done.stderr and "remove it" in done.stderr, done)
        pathlib.Path("kept.tar").write_text("of another")
    code, _, error = end(exporting)
    check("a file that has come is refused", code == 1 and "kept.tar: exists" in error, error)
    check("and kept", pathlib.Path("kept.tar").read_text() == "of another" and not os.path.exists("kept.tar.part"))
    value("ALTER TABLE tenant_mover.work RENAME TO other")
    value("CREATE VIEW tenant_mover.work AS SELECT * FROM tenant_mover.other")
    value("ALTER VIEW tenant_mover.work OWNER TO insula_owner")
    done = insula("tenant", "export", "mover", "view.tar")
    check("a view is not exported", done.returncode == 1 and "is not a table of insula_owner" in done.stderr and not os.path.exists("view.tar"), done)
    value("DROP VIEW tenant_mover.work")
    value("ALTER TABLE tenant_mover.other RENAME TO work")
    value("ALTER TABLE tenant_mover.work OWNER TO postgres")
    done = insula("tenant", "export", "mover", "view.tar")
    check("nor a table of another", done.returncode == 1 and done.stdout == "" and not os.path.exists("view.tar"), done)
    value("ALTER TABLE tenant_mover.work OWNER TO insula_owner")
    value("SELECT insula.drop_tenant('mover', '0 s')")


def member_of(name, size):
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


def can_be_ended():
    """A file that says that it is huge."""
    size = 1 << 40
    with open("huge.tar", "wb") as file:
        file.write(member_of("work.copy", size))
        file.seek(size, os.SEEK_CUR)
        for name in ("record.copy", "manifest.json", "SHA256SUMS"):
            file.write(member_of(name, 0))
    for which in (signal.SIGINT, signal.SIGTERM):
        verifying = start("tenant", "verify", "huge.tar")
        descriptors = pathlib.Path(f"/proc/{verifying.pid}/fd")
        reads = lambda: any(os.path.basename(os.readlink(one)) == "huge.tar" for one in descriptors.iterdir())
        check("verify reads", wait_until(reads))
        verifying.send_signal(which)
        seen = end(verifying)
        check(f"{which.name} ends verify", seen[0] == 130, seen)
    os.unlink("huge.tar")


def distrusts_files(file):
    """Neither its texts are for a terminal, nor does it stay as it was."""
    done = insula("tenant", "import", rewritten(file, lambda manifest: manifest.update(insula_version="\033[2J")))
    check("a version is printed without what a terminal obeys", done.returncode == 1 and "?[2J" in done.stderr and "\033" not in done.stderr, done)
    done = insula("tenant", "import", rewritten(file, lambda manifest: manifest["tenant"].update(tenant="\033[2J")))
    check("a name, too", done.returncode == 1 and "\033" not in done.stderr, done)
    content = pathlib.Path(file).read_bytes()
    pathlib.Path("changing.tar").write_bytes(content)
    pathlib.Path("contexts.toml").write_text('[live]\nurl = ""\nproduction = true\n')
    os.environ["INSULA_CONTEXTS"] = os.path.abspath("contexts.toml")
    importing = Terminal("-c", "live", "tenant", "import", "changing.tar", "--as", "changed", columns=200)
    check("import asks when it has verified", importing.read_until("Type yes"), importing.seen)
    with open("changing.tar", "r+b") as changing:
        changing.write(content.replace(b"there", b"thare", 1))
    importing.send("yes\n")
    code = importing.end()
    del os.environ["INSULA_CONTEXTS"]
    check("a file that has changed since is found", code == 1 and "work.copy has changed since" in importing.seen, importing.seen)
    check("and nothing is imported", value("SELECT count(*) FROM insula.tenants WHERE tenant = 'changed'") == "0")


def moves_a_tenant():
    there = {**os.environ, "PGDATABASE": "elsewhere"}
    admin = {**os.environ, "PGUSER": "mover_admin"}
    value("CREATE ROLE mover_admin LOGIN")
    value("SELECT insula.create_tenant('mover')")
    value("SELECT insula.set_tenant_limits('mover', max_running => 7, retain => '30 days')")
    value("SELECT insula.set_retention('mover', '-1', 'w')")
    value("""SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}', tenant => 'mover')""")
    value(r"""SELECT insula.submit('w', jsonb_build_object('text', E'tab\there\\and\nline', 'n', n), tenant => 'mover') FROM generate_series(1, 5) n""")
    value("SELECT insula.complete(task_id, lease) FROM insula.claim('w', max_tasks => 3, tenant => 'mover')")
    value("SELECT insula.claim('w', max_tasks => 1, tenant => 'mover')")
    done = insula("tenant", "export", "mover", "mover.tar")
    check("export", done.returncode == 0, done)
    check("the file is its owner's alone", os.stat("mover.tar").st_mode & 0o777 == 0o600)
    check("nothing is beside it", not os.path.exists("mover.tar.part"))
    check("tar and sha256sum do", shell("mkdir -p x && tar -xf mover.tar -C x && cd x && sha256sum -c --quiet SHA256SUMS").returncode == 0)
    content = pathlib.Path("mover.tar").read_bytes()
    check("no password is in it", b"SCRAM-SHA-256" not in content and b"password" not in content)
    done = insula("tenant", "export", "mover", "mover.tar")
    check("a file that exists is refused", done.returncode == 1 and "exists" in done.stderr, done)
    check("and stays", pathlib.Path("mover.tar").read_bytes() == content)
    done = insula("tenant", "export", "mover", "-")
    check("an export goes to no standard output", done.returncode == 2 and done.stdout == "" and not os.path.exists("-"), done)
    done = insula("tenant", "verify", "mover.tar", env={**os.environ, "INSULA_CONTEXT": "nowhere"})
    check("verify needs no server, and so no context", done.returncode == 0, done)
    done = insula("tenant", "export", "nobody", "nobody.tar")
    check("no such tenant", done.returncode == 3 and not os.path.exists("nobody.tar") and not os.path.exists("nobody.tar.part"), done)

    for right in ("insula_admin", "pg_read_all_data"):
        done = insula("tenant", "export", "mover", "admin.tar", env=admin)
        check("an export names the rights that it needs", done.returncode == 1 and done.stderr == "insula: an export needs a superuser, or a member of insula_admin and pg_read_all_data\n" and not os.path.exists("admin.tar"), done)
        value(f"GRANT {right} TO mover_admin")
    done = insula("tenant", "export", "mover", "admin.tar", env=admin)
    told = lambda file: {name: hashlib.sha256(tarfile.open(file).extractfile(name).read()).hexdigest() for name in ("work.copy", "record.copy")}
    check("an administrator with them exports the same", done.returncode == 0 and told("admin.tar") == told("mover.tar"), done)

    offline = {**os.environ, "PGHOST": "/nowhere"}
    check("verify needs no server", insula("tenant", "verify", "mover.tar", env=offline).returncode == 0)
    for what, broken in [
        ("a flipped byte", content.replace(b"and", b"amd", 1)),
        ("a flipped byte of the manifest", content.replace(b'"max_running": "7"', b'"max_running": "9"', 1)),
        ("a cut", content[: len(content) // 2]),
        ("a cut at a block", content[:512]),
        ("nothing", b""),
        ("another file", b"x" * 2048),
    ]:
        pathlib.Path("broken.tar").write_bytes(broken)
        for words in (["verify", "broken.tar"], ["import", "broken.tar", "--as", "broken"]):
            done = insula("tenant", *words)
            check(f"{words[0]} finds {what}", done.returncode == 1 and done.stdout == "" and "broken.tar" in done.stderr, done)
    check("no such file", insula("tenant", "verify", "nowhere.tar").returncode == 1)
    distrusts_files("mover.tar")

    done = insula("tenant", "import", "mover.tar")
    check("an existing tenant is refused", done.returncode == 1 and "already exists" in done.stderr, done)
    value("CREATE DATABASE elsewhere")
    done = insula("tenant", "import", "mover.tar", env=there)
    check("a database without the extension", done.returncode == 1 and "insula init" in done.stderr, done)
    value("CREATE EXTENSION insula", "elsewhere")
    for what, change in [
        ("another version", lambda manifest: manifest.update(insula_version="9.9.9")),
        ("another layout", lambda manifest: manifest["tenant"].update(layout_version="99")),
        ("another format", lambda manifest: manifest.update(format=99)),
        ("other columns", lambda manifest: manifest["tables"]["work"]["columns"].reverse()),
        ("a manifest without a key", lambda manifest: manifest.pop("retention")),
        ("a bad limit", lambda manifest: manifest["tenant"].update(weight="many")),
    ]:
        done = insula("tenant", "import", rewritten("mover.tar", change), "--user", "mover_there", env=there)
        check(f"{what} is refused", done.returncode == 1 and done.stdout == "", done)
        check(f"{what} leaves nothing", value("SELECT count(*) FROM insula.tenants", "elsewhere") == "0")
        check(f"{what} leaves no role", value("SELECT count(*) FROM pg_roles WHERE rolname = 'mover_there'") == "0")
    done = insula("tenant", "import", "mover.tar", env=there)
    check("a login of this cluster is not taken twice", done.returncode == 1 and "mover_user" in done.stderr, done)
    admin["PGDATABASE"] = "elsewhere"
    done = insula("tenant", "import", "mover.tar", "--user", "mover_there", env=admin)
    check("an import, too, names the rights that it needs", done.returncode == 1 and done.stderr == "insula: an import needs a superuser, or a member of insula_admin, pg_read_all_data and pg_write_all_data\n", done)
    value("GRANT pg_write_all_data TO mover_admin")
    done = insula("tenant", "import", "mover.tar", "--user", "mover_there", env=admin)
    check("import, by an administrator", done.returncode == 0 and "suspended" in done.stdout, done)
    check("whose rows they are not", value("SELECT count(*) FROM pg_class WHERE relnamespace = 'tenant_mover'::regnamespace AND relowner <> 'insula_owner'::regrole", "elsewhere") == "0")
    insula("tenant", "drop", "mover", "--yes", env=there)
    done = insula("tenant", "import", "mover.tar", "--user", "mover_there", env=there)
    check("import", done.returncode == 0 and "suspended" in done.stdout, done)
    limits = "SELECT status, max_running, retain, (SELECT retain IS NULL FROM insula.retention r WHERE r.tenant = t.tenant AND workflow = 'w') FROM insula.tenants t WHERE tenant = 'mover'"
    check("limits and rules come along", value(limits, "elsewhere") == "suspended|7|30 days|t", value(limits, "elsewhere"))
    rows = "SELECT count(*), md5(string_agg(w::text, ' ' ORDER BY id)) FROM tenant_mover.work w"
    check("rows come along", value(rows) == value(rows, "elsewhere"), value(rows, "elsewhere"))
    usage = "SELECT workflow, hour, executions_started, context_bytes FROM insula.usage('mover', '-infinity', 'infinity')"
    check("usage comes along", value(usage) == value(usage, "elsewhere"))
    check("the audit finds nothing", value("SELECT count(*) FROM insula.audit() WHERE level = 'error'", "elsewhere") == "0")
    check("it is idle", value("SELECT count(*) FROM insula.claim('w')", "elsewhere") == "0")
    check("it resumes", insula("tenant", "resume", "mover", env=there).returncode == 0)
    # What ran when it was exported lapses there; all else goes on. The clock has to be told: it may have seen already
    # that nothing is due before the lease ends.
    value("UPDATE tenant_mover.work SET due = 0 WHERE lane = 100001", "elsewhere")
    value("SELECT * FROM insula.reconcile(false)", "elsewhere")
    work = "SELECT count(insula.complete(task_id, lease)) FROM insula.claim('w', max_tasks => 100)"
    ended = "SELECT status, count(*) FROM tenant_mover.workflow_executions GROUP BY 1"
    # The scheduler, woken too, may hold a row while a claim passes by.
    wait_until(lambda: value(work, "elsewhere") and value(ended, "elsewhere") == "completed|5")
    check("it works", value(ended, "elsewhere") == "completed|5", value(ended, "elsewhere"))
    new = "SELECT insula.submit('w', tenant => 'mover') > max(execution_id) FROM tenant_mover.workflow_executions"
    check("new ids come after the old", value(new, "elsewhere") == "t")
    check("it can log in again", insula("tenant", "rotate", "mover", env=there).returncode == 0)
    value("SELECT insula.drop_tenant('mover', '0 s')", "elsewhere")
    value("DROP DATABASE elsewhere WITH (FORCE)")
    value("DROP ROLE mover_admin")
    value("SELECT insula.drop_tenant('mover', '0 s')")


def texts_of(told):
    if isinstance(told, str):
        return [told]
    parts = told.values() if isinstance(told, dict) else told if isinstance(told, list) else []
    return [text for part in parts for text in texts_of(part)]


def has_no_controls():
    value("SELECT insula.create_tenant('rude')")
    value("""SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'rude')""")
    value("SELECT insula.submit('w', tenant => 'rude')")
    said = "a\u009b31mb\u0085c\u009fd\x1b[1me\x7ff\u202eg\u2066h caf\u00e9 \u00a0 \u2019 \U0001f600"
    value(f"SELECT insula.fail(task_id, lease, '{said}', false) FROM insula.claim('w', tenant => 'rude')")
    execution = value("SELECT execution_id FROM insula.executions(tenant => 'rude')")
    shown = "a?31mb?c?d?[1me?f?g?h caf\u00e9 \u00a0 \u2019 \U0001f600"
    for words in (["-t", "rude", "execution", "list"], ["execution", "show", execution], ["execution", "events", execution]):
        done = insula(*words)
        check(f"{words} shows texts", shown in done.stdout or words[1] == "events" and "a?31mb?c?d" in done.stdout, done)
        check(f"{words} shows nothing that a terminal obeys", not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", done.stdout), done)
        done = insula("-o", "json", *words)
        check(f"{words} as JSON escapes it", not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", done.stdout), done)
        check(f"{words} as JSON has the text itself", any(said in text for text in texts_of(json.loads(done.stdout))), done)
    definition = {"name": "each", "tasks": [{"id": "a", "for_each": {"items": said}}]}
    value(f"SELECT insula.register_workflow($${json.dumps(definition)}$$, tenant => 'rude')")
    done = insula("-t", "rude", "workflow", "show", "each")
    check("a graph shows nothing that a terminal obeys", shown in done.stdout and said[1:4] not in done.stdout, done)
    table = Terminal("-o", "csv", "-t", "rude", "execution", "list")
    check("nor does CSV on a terminal", table.end() == 0 and shown in table.seen and said[1:4] not in table.seen, table.seen)
    done = insula("-o", "csv", "-t", "rude", "execution", "list")
    check("elsewhere it has the text itself", said in done.stdout, done)
    done = insula("tenant", "show", "\u009b2J")
    check("an error shows nothing that a terminal obeys", done.returncode == 3 and "?2J" in done.stderr and "\u009b" not in done.stderr, done)
    followed = Terminal("-t", "rude", "run", "w", columns=200)
    check("run begins", followed.read_until("0/1"), followed.seen)
    value(f"SELECT insula.save_progress(task_id, lease, NULL, 0.25, '{said}') FROM insula.claim('w', tenant => 'rude')")
    check("a note shows nothing that a terminal obeys", followed.read_until(shown) and said[1:4] not in followed.seen, followed.seen)
    followed.send("\x03")
    followed.end()
    value("SELECT insula.drop_tenant('rude', '0 s')")


def erases():
    done = insula("tenant", "erase", "acme", "$.customer", "7")
    check("erase asks", done.returncode == 5, done)
    done = insula("tenant", "erase", "acme", "$.customer.", "7", "--yes")
    check("a bad path is an error", done.returncode in (1, 2) and done.stderr != "", done)
    value("SELECT insula.create_tenant('eraser')")
    value("""SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}, {"id": "b"}]}', tenant => 'eraser')""")
    value("""SELECT count(insula.cancel(insula.submit('w', '{"subject": 7}', tenant => 'eraser'))) FROM generate_series(1, 11500)""")
    done = insula("-o", "json", "tenant", "erase", "eraser", "$.subject", "7", "--dry-run")
    told = json.loads(done.stdout)[0] if done.stdout else {}
    check("a dry run asks nothing, and counts over all calls", done.returncode == 0 and told.get("executions") == 11500, done)
    check("it has no receipt", told.get("receipts") == "", done)
    kept = """SELECT count(*) FROM tenant_eraser.workflow_executions WHERE context = '{"subject": 7}'"""
    check("it changes nothing", value(kept) == "11500", value(kept))
    with holding("SELECT FROM tenant_eraser.work WHERE head = (SELECT max(head) FROM tenant_eraser.work) FOR UPDATE"):
        erasing = start("-o", "json", "tenant", "erase", "eraser", "$.subject", "7", "--yes")
        waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'insula' AND wait_event_type = 'Lock'"
        check("a later call waits", wait_until(lambda: value(waits) == "1"))
        erasing.send_signal(signal.SIGINT)
        code, out, error = end(erasing)
    told = json.loads(out)[0] if out else {}
    check("what is done is told, though a later call fails", code == 130 and told.get("executions", 0) >= 10000 and told["receipts"], (code, out, error))
    value("SELECT insula.drop_tenant('eraser', '0 s')")
    check("scrub asks", insula("execution", "scrub", "7").returncode == 5)
    check("scrub of none", insula("--yes", "execution", "scrub", "7").returncode == 3)


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
        for part in (run_page, refuses, prints, changes, asks_in_production, keeps_files, can_be_ended, moves_a_tenant, has_no_controls, erases, doctors, draws, serves_itself, *PARTS):
            part()
        os.chdir("/")
    return 1 if failures else 0


sys.exit(main())
