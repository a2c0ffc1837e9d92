#!/usr/bin/env python3
"""Checks the files of monitoring/ on the cluster of with-cluster.sh: each parses, each query of the exporters runs and
has the columns that it says, and each expression names metrics, and labels of them, that are there."""

import json
import os
import pathlib
import re
import subprocess
import sys

import yaml

FILES = pathlib.Path(__file__).resolve().parents[2] / "monitoring"
# Beside those of the metrics: what Prometheus adds, and what functions of its language name.
KNOWN_LABELS = {"instance", "job"}
failures = []


def check(what, is_so, seen=""):
    if not is_so:
        failures.append(what)
        print(f"FAILED: {what}\n{seen}")


def psql(sql):
    done = subprocess.run(
        ["psql", "-XAt", "-v", "ON_ERROR_STOP=1", "-c", sql], capture_output=True, text=True, env=os.environ, check=False
    )
    check(sql, done.returncode == 0, done.stderr)
    return done.stdout


def rows(sql):
    return json.loads(psql(f"SELECT coalesce(json_agg(q), '[]') FROM ({sql}) q") or "[]")


def metrics_of_server():
    """The metrics of insula.metrics(), with their labels."""
    found = {}
    for line in psql("SELECT insula.metrics()").splitlines():
        if sample := re.match(r"(insula_\w+)(?:\{(.*)\})? ", line):
            found.setdefault(sample[1], set()).update(re.findall(r"(\w+)=\"", sample[2] or ""))
    return found


def check_query(name, sql, labels, values):
    seen = rows(sql)
    check(f"{name} has rows", bool(seen), sql)
    for row in seen:
        check(f"{name} has its columns", set(row) == {*labels, *values}, row)
        check(f"{name} has numbers", all(isinstance(row[value], (int, float)) for value in values), row)


def metrics_of_postgres_exporter():
    found = {}
    for prefix, query in yaml.safe_load((FILES / "postgres_exporter.yml").read_text()).items():
        columns = {name: how["usage"] for column in query["metrics"] for name, how in column.items()}
        labels = {name for name, usage in columns.items() if usage == "LABEL"}
        values = set(columns) - labels
        check(f"{prefix}: usages", set(columns.values()) <= {"LABEL", "GAUGE", "COUNTER"}, columns)
        check_query(prefix, query["query"], labels, values)
        found.update({f"{prefix}_{value}": labels for value in values})
    return found


def metrics_of_sql_exporter():
    found = {}
    for metric in yaml.safe_load((FILES / "sql_exporter.yml").read_text())["metrics"]:
        labels = set(metric.get("key_labels", []))
        check(f"{metric['metric_name']}: type", metric["type"] in ("gauge", "counter"), metric)
        check_query(metric["metric_name"], metric["query"], labels, set(metric["values"]))
        found[metric["metric_name"]] = labels
    return found


def operands_of(expression):
    """What its outermost operators stand between."""
    depth, operands, rest = 0, [""], expression
    while rest:
        operator = re.match(r" (?:and|or|unless|[=!<>]=|[<>*/+-]) ", rest) if depth == 0 else None
        if operator:
            operands.append("")
        else:
            depth += (rest[0] in "([{") - (rest[0] in ")]}")
            operands[-1] += rest[0]
        rest = rest[operator.end() if operator else 1 :]
    return operands


def labels_of(operand, known):
    """The labels of its samples; none of a number."""
    if grouped := re.match(r"(?:sum|min|max|avg|count) by \(([^)]*)\)", operand):
        return set(re.findall(r"\w+", grouped[1]))
    names = re.findall(r"\binsula_\w+", operand)
    return known.get(names[0], set()) | KNOWN_LABELS if names else None


def check_matching(expression, known):
    """Samples match on all labels, so both sides need the same."""
    vectors = [labels for labels in (labels_of(operand, known) for operand in operands_of(expression)) if labels is not None]
    check(f"the sides of {expression} match", all(labels == vectors[0] for labels in vectors), vectors)


def check_expression(expression, known):
    names = re.findall(r"\binsula_\w+", expression)
    check(f"{expression} names a metric", bool(names))
    labels = set()
    for name in names:
        check(f"{name} exists", name in known, expression)
        labels |= known.get(name, set())
    used = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    for group in re.findall(r"\b(?:by|without|on|ignoring) \(([^)]*)\)", expression):
        used += re.findall(r"\w+", group)
    check(f"{expression} uses labels that are there", set(used) <= labels | KNOWN_LABELS, used)
    check_matching(expression, known)
    for left, right in ("()", "{}", "[]"):
        check(f"{expression} closes its brackets", expression.count(left) == expression.count(right))


def expressions():
    for group in yaml.safe_load((FILES / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            check(f"{rule['alert']} is told", {"summary", "description"} <= set(rule["annotations"]), rule)
            yield rule["expr"]
    dashboard = json.loads((FILES / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]


def check_scheduler():
    """It is running, or about to, or it is not."""
    queries = [yaml.safe_load((FILES / "postgres_exporter.yml").read_text())["insula_scheduler"]["query"]]
    metrics = yaml.safe_load((FILES / "sql_exporter.yml").read_text())["metrics"]
    queries += [metric["query"] for metric in metrics if metric["metric_name"] == "insula_scheduler_running"]
    for act, expected in (("stop", 0), ("start", 1)):
        psql(f"SELECT insula.{act}_scheduler()")
        for query in queries:
            seen = [list(row.values()) for row in rows(query)]
            check(f"insula_scheduler_running after {act}_scheduler()", seen == [[expected]], seen)


def main():
    psql("CREATE EXTENSION IF NOT EXISTS insula")
    psql("SELECT insula.create_tenant('acme')")
    psql("""SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'acme')""")
    psql("SELECT insula.submit('w', tenant => 'acme')")
    psql("SELECT insula.complete(task_id, lease) FROM insula.claim('w', tenant => 'acme')")
    psql("SELECT * FROM insula.tenant_activity")
    server = metrics_of_server()
    exporters = [metrics_of_postgres_exporter(), metrics_of_sql_exporter()]
    for exporter in exporters:
        for name, labels in exporter.items():
            check(f"{name} has the same labels everywhere", labels == server.get(name, labels), labels)
    known = {**exporters[1], **exporters[0], **server}
    for expression in expressions():
        check_expression(expression, known)
        for exporter in exporters:
            for name in re.findall(r"\binsula_\w+", expression):
                check(f"{name} is in each exporter's file", name in exporter, expression)
    check_scheduler()
    return 1 if failures else 0


sys.exit(main())
