"""Tests what the command line's verbs refuse, print and end with: parts of cli.py."""

import json
import os
import re
import subprocess

from cli_tools import PATIENCE, Terminal, check, end, insula, shell, start, value, wait_until

TWO = '{"name": "two", "tasks": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}'


def sql(statement):
    return value(statement)


def make_tenants():
    for tenant in ("mine", "other"):
        sql(f"SELECT insula.create_tenant('{tenant}', login => false)")
        sql(f"SELECT insula.register_workflow('{TWO}', tenant => '{tenant}')")


def drop_tenants():
    for tenant in ("mine", "other"):
        sql(f"SELECT insula.drop_tenant('{tenant}', '0 s')")


def submit(tenant="mine"):
    return sql(f"SELECT insula.submit('two', '{{\"n\": 7}}', tenant => '{tenant}')")


def complete(tenant="mine"):
    return sql(f"SELECT insula.complete(task_id, lease) FROM insula.claim('w7', tenant => '{tenant}', max_tasks => 9)")


def status(execution):
    return sql(f"SELECT status FROM insula.result({execution})")


def run(*words):
    return insula("--yes", *words)


def ends(code, *words, out=None, error=None):
    done = run(*words)
    is_so = done.returncode == code and (out is None or out in done.stdout) and (error is None or error in done.stderr)
    check(f"{words} ends with {code}, {out!r} and {error!r}", is_so, done)
    return done


def object_of(*words):
    done = run("-o", "json", *words)
    check(f"{words} is done", done.returncode == 0, done)
    rows = json.loads(done.stdout) if done.stdout else [{}]
    return rows[0] if rows else {}


def doctor_tells_of_the_scheduler():
    make_tenants()
    sql("SELECT insula.stop_scheduler()")
    row = lambda: next((row for row in json.loads(insula("-o", "json", "doctor").stdout) if "scheduler: " in row["finding"]), {})
    seen = row()
    check("a stopped scheduler is a warning", seen.get("level") == "warning" and seen["mend"] == "SELECT insula.start_scheduler()", seen)
    ends(0, "-t", "mine", "schedule", "add", "each_second", "two", "* * * * * *")
    overdue = lambda: "overdue since 2" in insula("-t", "mine", "schedule", "list").stdout
    check("a schedule that does not fire is overdue", wait_until(overdue), insula("-t", "mine", "schedule", "list"))
    listed = insula("-o", "csv", "schedule", "list").stdout
    check("an administrator sees the schedules of all", listed.startswith("tenant,name,") and "mine,each_second," in listed, listed)
    ends(0, "-t", "mine", "schedule", "remove", "each_second")
    sql("SELECT insula.start_scheduler()")
    before = sql("SHOW insula.scheduler")
    sql("ALTER SYSTEM SET insula.scheduler = off")
    sql("SELECT pg_reload_conf()")
    check("it is off", wait_until(lambda: row().get("finding", "").startswith("scheduler: off")), row())
    seen = row()
    check("a scheduler that is off is a warning", seen["level"] == "warning" and seen["mend"].startswith("ALTER SYSTEM SET insula.scheduler = on"), seen)
    sql("ALTER SYSTEM RESET insula.scheduler")
    sql("SELECT pg_reload_conf()")
    check("it is as before", wait_until(lambda: sql("SHOW insula.scheduler") == before))
    drop_tenants()


def doctor_looks_at_no_other_server():
    for words in (["-c", "lvie"], ["--url", "dbname=postgres password=x"], ["-c", '{"a": 1}']):
        done = insula(*words, "doctor")
        check(f"{words} doctor is refused", done.returncode == 2 and done.stdout == "", done)


def refuses_ids_of_another_tenant():
    make_tenants()
    theirs, none = submit("other"), str(int(submit("mine")) + 1000)
    told = status(theirs)
    for verb in (["show"], ["events"], ["explain"], ["cancel"], ["retry"], ["pause"], ["resume"], ["scrub"], ["send-event", "go"]):
        answers = [run("-t", "mine", "execution", verb[0], id, *verb[1:]) for id in (theirs, none)]
        errors = [re.sub(r"\d+", "#", done.stderr) for done in answers]
        check(f"{verb} of another tenant is as of none", errors[0] == errors[1] == "insula: execution # does not exist\n", answers)
        check(f"{verb} is not found", [done.returncode for done in answers] == [3, 3] and not answers[0].stdout, answers)
    check("nothing has happened", status(theirs) == told, status(theirs))
    ends(0, "-t", "other", "execution", "pause", theirs)
    ends(0, "execution", "resume", theirs)
    drop_tenants()


def fails_where_output_is_lost():
    make_tenants()
    for command in ("tenant list", "-o csv tenant list", "-o json tenant list", "metrics", "tenant show mine", "man"):
        for target in ("/dev/full", "&-"):
            seen = shell(f"insula {command} >{target}; echo $?").stdout
            check(f"{command} to {target} fails", seen.endswith("\n1\n") and "cannot write to standard output" in seen, seen)
    check("closed input and errors do no harm", shell("insula tenant list <&- 2>&-").stdout.count("mine") == 1)
    drop_tenants()


def verbs_print_rows():
    make_tenants()
    with open("two.json", "w") as file:
        file.write(TWO)
    check("register", object_of("-t", "mine", "workflow", "register", "two.json") == {"workflow": "two", "version": 1})
    id = submit()
    check("pause", object_of("execution", "pause", id) == {"execution_id": int(id), "changed": True})
    check("pause again", object_of("execution", "pause", id) == {"execution_id": int(id), "changed": False})
    check("resume all", object_of("-t", "mine", "execution", "resume", "-w", "two") == {"executions": 1})
    check("pause all", object_of("-t", "mine", "execution", "pause", "-w", "two") == {"executions": 1})
    check("paused", status(id) == "paused")
    check("a dry run", object_of("-t", "mine", "execution", "resume", "-s", "paused", "--dry-run") == {"executions": 1})
    check("send-event", object_of("execution", "send-event", id, "go", '{"x": 1}', "--key", "k") == {"execution_id": int(id), "event": "go"})
    check("cancel all", object_of("-t", "mine", "execution", "cancel", "-w", "two") == {"executions": 1})
    check("delete", object_of("-t", "mine", "execution", "delete", "-w", "two", "-s", "cancelled") == {"executions": 1})
    ends(3, "execution", "show", id)
    check("workflow pause", object_of("-t", "mine", "workflow", "pause", "two") == {"workflow": "two", "changed": True})
    check("workflow resume", object_of("-t", "mine", "workflow", "resume", "two") == {"workflow": "two", "changed": True})
    check("suspend", object_of("tenant", "suspend", "mine") == {"tenant": "mine", "status": "suspended", "changed": True})
    check("suspend again", object_of("tenant", "suspend", "mine")["changed"] is False)
    check("resume", object_of("tenant", "resume", "mine") == {"tenant": "mine", "status": "active", "changed": True})
    check("limits", object_of("tenant", "limits", "mine", "--retain", "forever")["retain"] is None)
    check("CSV", run("-o", "csv", "tenant", "suspend", "mine").stdout == "tenant,status,changed\nmine,suspended,t\n")
    ends(0, "tenant", "resume", "mine", out="resumed\n")
    drop_tenants()


def run_names_its_execution():
    make_tenants()
    running = start("-t", "mine", "run", "two")
    said = running.stderr.readline()
    check("run names its execution at once", re.fullmatch(r"execution \d+\n", said), said)
    waiting = "FROM pg_stat_activity WHERE application_name = 'insula' AND query ~ 'await'"
    check("it waits", wait_until(lambda: sql(f"SELECT count(*) {waiting}") == "1"))
    sql(f"SELECT pg_terminate_backend(pid) {waiting}")
    code, out, error = end(running)
    id = said.split()[-1]
    check("it says what it has submitted", code == 4 and f"execution {id} was submitted" in error and f"execution show {id}" in error, (code, out, error))
    drop_tenants()


def dev_is_its_own_server():
    ask = 'psql -XAtqc "SHOW data_directory"; psql -XAtqc "SHOW data_directory" "$DATABASE_URL"; insula -o csv tenant list'
    environment = {**os.environ, "PGOPTIONS": "-c insula.tenant=nobody", "INSULA_CONTEXT": "nowhere"}
    environment["PGHOSTADDR"] = "192.0.2.1"
    done = insula("dev", "--", "sh", "-c", ask, env=environment)
    lines = done.stdout.split("\n")
    check("dev's command is in dev's server", done.returncode == 0 and lines[0] == lines[1] != sql("SHOW data_directory"), done)
    check("and so is insula", lines[2:] and lines[2].startswith("tenant,") and not any(lines[3:]), done)


def steers_more():
    make_tenants()
    ends(0, "-t", "mine", "trigger", "add", "t", "two", "--input", '{"a": 1}', out="added")
    ends(0, "-t", "mine", "trigger", "add", "t", "two", out="set anew")
    ends(0, "-t", "mine", "trigger", "list", out="two")
    fired = object_of("-t", "mine", "trigger", "fire", "t", '{"b": 2}')
    check("fire", fired["workflow"] == "two" and fired["fresh"] is True, fired)
    complete()
    shown = insula("execution", "show", str(fired["execution_id"])).stdout
    check("show has tenant, input and worker", re.search(r"^tenant +mine$", shown, re.M) and '"b": 2' in shown and "w7" in shown, shown)
    shown = json.loads(insula("-o", "json", "execution", "show", str(fired["execution_id"])).stdout)
    check("as JSON, too", shown["tenant"] == "mine" and shown["input"]["b"] == 2 and shown["status"] == "running", shown)
    ends(0, "-t", "mine", "trigger", "remove", "t", "-w", "two")
    ends(3, "-t", "mine", "trigger", "remove", "t", error='trigger "t" does not exist')
    ends(0, "tenant", "explain", "mine", out="waiting")
    usage = insula("-o", "csv", "tenant", "usage").stdout
    check("usage of all", usage.startswith("tenant,workflow,") and "mine,two,1," in usage, usage)
    ends(0, "-t", "mine", "schedule", "add", "s", "two", "0 3 * * *", "--starts-at", "2100-01-01 00:00+00", "--ends-at",
         "2100-01-02 00:00+00", "--max-catch-up", "7", "--catch-up", "run_all", "--overlap", "queue", "--jitter", "1 min",
         out="2100-01-01 03:00")
    row = sql("SELECT max_catch_up, starts_at = '2100-01-01 00:00+00', ends_at = '2100-01-02 00:00+00', overlap, jitter FROM tenant_mine.schedules")
    check("a schedule has all its settings", row == "7|t|t|queue|00:01:00", row)
    drop_tenants()


def ends_by_one_rule():
    make_tenants()
    id = submit()
    ends(0, "-t", "mine", "workflow", "pause", "two", out="done")
    ends(0, "-t", "mine", "workflow", "pause", "two", out="", error="was so already")
    ends(0, "-t", "mine", "workflow", "resume", "two")
    ends(0, "-t", "mine", "schedule", "add", "s", "two", "@daily")
    ends(0, "-t", "mine", "schedule", "pause", "s", out="done")
    check("already is no output", ends(0, "-t", "mine", "schedule", "pause", "s", error="was so already").stdout == "")
    ends(0, "-t", "mine", "schedule", "remove", "s")
    ends(3, "-t", "mine", "schedule", "remove", "s", error='schedule "s" does not exist')
    ends(0, "tenant", "resume", "mine", error='tenant "mine" is active already')
    ends(0, "execution", "retry", id, error="is pending already")
    ends(0, "execution", "resume", id, error="already")
    complete()
    complete()
    for verb in ("retry", "cancel", "pause", "resume"):
        done = ends(1, "execution", verb, id, error=f"cannot {verb} execution {id}: it is completed")
        check("a refusal is no output", done.stdout == "", done)
    ends(1, "execution", "send-event", id, "go", error="has ended")
    cancelled = submit()
    ends(0, "execution", "cancel", cancelled, out="done")
    ends(0, "execution", "cancel", cancelled, error="is cancelled already")
    ends(0, "execution", "scrub", cancelled)
    ends(1, "execution", "retry", cancelled, error="it was scrubbed")
    for words in (["execution", "show", "seven"], ["execution", "cancel", "99999999999999999999"], ["-t", "mine", "run", "two", "{"],
                  ["-t", "mine", "run", "two", "--at", "once"], ["-t", "mine", "execution", "list", "--after", "soon"],
                  ["-t", "mine", "execution", "list", "-s", "done"], ["-t", "mine", "execution", "cancel", "-s", "done"],
                  ["-t", "mine", "execution", "cancel", "--older-than", "long"], ["failures", "--since", "then"],
                  ["schedule", "next", "every day"], ["tenant", "erase", "mine", "$.a", "Acme"]):
        check(f"{words} prints nothing", ends(2, *words).stdout == "")
    for verb in ("cancel", "retry", "pause", "resume", "delete"):
        ends(3, "-t", "mine", "execution", verb, "-w", "typo", error='workflow "typo" does not exist')
    prompt = Terminal("tenant", "drop", "mine", columns=200)
    check("drop asks", prompt.read_until("Type yes"), prompt.seen)
    prompt.send("\x03")
    check("Ctrl-C at a prompt", prompt.end() == 130 and sql("SELECT count(*) FROM insula.tenants WHERE tenant = 'mine'") == "1", prompt.seen)
    drop_tenants()


def says_it_in_its_own_words():
    make_tenants()
    ends(3, "workflow", "pause", "two", error="HINT:  Here: insula -t TENANT")
    ends(2, "-t", "mine", "schedule", "add", "s", "two", "@daily", "--context", '{"a": 1}', error="--input")
    ends(2, "-t", "mine", "run", "two", "--context", '{"a": 1}', error="--context names a context")
    ends(3, "-t", "mine", "run", "typo", error="HINT:  Here: insula workflow list")
    sql("SELECT insula.set_tenant_limits('mine', max_queued => 0)")
    ends(1, "-t", "mine", "run", "two", error="Here: insula tenant limits TENANT")
    ends(2, "tenant", "lst", error="insula: insula tenant has no command lst\nHINT:  It has create, ")
    ends(2, "tenant", error="insula: insula tenant needs a command\nHINT:  It has create, ")
    ends(2, "nonsense", error="insula: insula has no command nonsense\n")
    ends(2, "-o", "yaml", "tenant", "list", error="insula: --output: yaml is none of table, json and csv\n")
    ends(2, "tenant", "show", error="insula: name is required\nHINT:  insula tenant show --help\n")
    check("help is no error", insula("tenant", "--help").returncode == 0 and insula("--help").stderr == "")
    ends(2, "tenant", "erase", "mine", "$.a", "Acme", error="A text is in quotes")
    sql("SELECT insula.set_tenant_limits('mine', max_queued => -1)")
    last = submit()
    submit()
    ends(0, "-t", "mine", "execution", "list", "-n", "2", error=f"--older-than-id {last}")
    ends(0, "-t", "mine", "execution", "list", "--older-than-id", last, out="nothing", error="")
    words = 'source <(insula completion bash); COMP_WORDS=({}); COMP_CWORD={}; _insula; echo "${{COMPREPLY[@]}}"'
    for given, at, expected in [("insula -t acme ten", 3, "tenant"), ("insula --tenant = acme ten", 4, "tenant"), ("insula -y -o csv tenant sus", 5, "suspend"),
                                ("insula execution list -n 5 --er", 5, "--error")]:
        seen = shell(words.format(given, at)).stdout
        check(f"{given} is completed", seen == expected + "\n", seen)
    drop_tenants()


def keeps_the_context():
    """Its tenant is the one to act for, in looks too."""
    make_tenants()
    mine, other = submit("mine"), submit("other")
    with open("of_mine.toml", "w") as file:
        file.write('[mine]\nurl = ""\ntenant = "mine"\n')
    environment = {**os.environ, "INSULA_CONTEXTS": os.path.abspath("of_mine.toml")}
    listed = subprocess.run(["insula", "-c", "mine", "execution", "list"], capture_output=True, text=True, timeout=PATIENCE, env=environment)
    check("a context's tenant is looked at", mine in listed.stdout and other not in listed.stdout, listed)
    done = insula("-c", "mine", "execution", "show", other, env=environment)
    check("and no other", done.returncode == 3 and done.stdout == "", done)
    drop_tenants()


PARTS = (doctor_tells_of_the_scheduler, doctor_looks_at_no_other_server, refuses_ids_of_another_tenant, fails_where_output_is_lost, verbs_print_rows,
         run_names_its_execution, steers_more, ends_by_one_rule, says_it_in_its_own_words, keeps_the_context, dev_is_its_own_server)
