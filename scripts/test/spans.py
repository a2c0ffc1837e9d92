#!/usr/bin/env python3
"""Runs the example of OpenTelemetry on the cluster of with-cluster.sh, and checks its spans: those of one execution and
its children are one trace, each below the submission.

    spans.py PROGRAM
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile


def main():
    subprocess.run(["psql", "-Xqc", "CREATE EXTENSION IF NOT EXISTS insula"], check=True)
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "spans.jsonl"
        done = subprocess.run(
            [sys.argv[1], os.environ["ADMIN_DATABASE_URL"], str(file)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout == "completed, completed\n", done
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    spans = [
        span
        for line in lines
        for resource in line["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    traces = {}
    for span in spans:
        assert len(span["traceId"]) == 32 and len(span["spanId"]) == 16, span
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]), span
        traces.setdefault(span["traceId"], []).append(span)
    assert len({span["spanId"] for span in spans}) == len(spans), spans
    assert len(traces) == 2, traces
    # Both: the task that waits for the child, the child's failed run and its good one.
    tasks = ["order.check", "order.send", "ship.pack", "ship.pack"]
    submitted = [trace for trace in traces.values() if any(span["kind"] == 4 for span in trace)]
    assert len(submitted) == 1, traces
    for trace in traces.values():
        runs = [span for span in trace if span["kind"] == 5]
        assert sorted(span["name"] for span in runs) == tasks, runs
        assert len({span["parentSpanId"] for span in runs}) == 1, runs
        failed = [span for span in runs if "status" in span]
        assert [span["status"] for span in failed] == [{"code": 2, "message": "no box"}], failed
    root = [span for span in submitted[0] if span["kind"] == 4]
    assert [span["name"] for span in root] == ["submit order"] and "parentSpanId" not in root[0], root
    assert {span["parentSpanId"] for span in submitted[0] if span["kind"] == 5} == {root[0]["spanId"]}, submitted


main()
