// What each task did when: its attempts, its waits, and how long it was ready before a worker took it.
import { html } from "../core/html.js";
import { duration, exactTime, parseTime } from "../core/time.js";
import { cut } from "./common.js";

const mostRows = 200;
const ends = new Set(["task_completed", "task_failed", "task_cancelled", "task_skipped"]);
const oneLine = (text, most) => cut(text, most).replaceAll("\n", " ");
const words = { run: "ran", wait: "waited", failed: "failed", queue: "was ready", open: "runs" };

function detailOf(event) {
  try { return event.detail ? JSON.parse(event.detail) : {}; } catch { return {}; }
}

// Segments {kind, from, to, attempt, worker, says} of each task, in milliseconds since 1970.
export function segmentsOf(events, tasks, depends, now) {
  const rows = new Map();
  const rowOf = (task) => {
    if (!rows.has(task)) rows.set(task, { task, segments: [], waiting: null, running: null, freeFrom: null });
    return rows.get(task);
  };
  const born = events.length ? parseTime(events[0].at) : now;
  const ended = new Map();
  for (const event of events) {
    const at = parseTime(event.at);
    if (!event.task) {
      if (event.event === "execution_retried") for (const row of rows.values()) if (row.freeFrom === null || row.failed) row.freeFrom = at;
      continue;
    }
    const row = rowOf(event.task);
    const detail = detailOf(event);
    const closeWait = (to) => {
      if (row.waiting) row.segments.push({ ...row.waiting, to });
      row.waiting = null;
    };
    if (event.event === "task_started") {
      closeWait(at);
      row.running = { kind: "run", from: at, attempt: event.attempt, worker: event.worker };
    } else if (event.event === "task_attempt_failed") {
      const from = parseTime(detail.started_at) ?? at;
      closeWait(from);
      row.segments.push({ kind: "failed", from, to: at, attempt: detail.attempt, worker: detail.worker, says: detail.error });
      row.freeFrom = at;
    } else if (event.event === "task_waiting" || event.event === "task_deferred") {
      closeWait(at);
      if (row.running) row.segments.push({ ...row.running, to: at });
      row.running = null;
      row.waiting = { kind: "wait", from: at, says: detail.event ? `for event ${detail.event}` : detail.child ? `for execution ${detail.child}` : `until ${detail.until}` };
    } else if (ends.has(event.event)) {
      if (row.running) row.segments.push({ ...row.running, to: at, kind: event.event === "task_failed" ? "failed" : "run", says: event.event === "task_failed" ? detail.error : null });
      closeWait(at);
      row.running = null;
      row.failed = event.event === "task_failed";
      ended.set(event.task, at);
    }
  }
  for (const task of tasks) rowOf(task.task);
  for (const row of rows.values()) {
    if (row.running) row.segments.push({ ...row.running, to: now, kind: "open" });
    if (row.waiting) row.segments.push({ ...row.waiting, to: now });
    row.segments.sort((a, b) => a.from - b.from);
    const before = depends.get(row.task.replace(/\[\d+\]$/, "")) ?? [];
    const free = Math.max(born, ...before.map((name) => ended.get(name) ?? born));
    const status = tasks.find((task) => task.task === row.task)?.status;
    const first = row.segments[0];
    if (first && first.from - free > 0 && !row.task.includes("[")) row.segments.unshift({ kind: "queue", from: free, to: first.from });
    const last = row.segments[row.segments.length - 1];
    if (status === "ready") row.segments.push({ kind: "queue", from: Math.max(free, row.freeFrom ?? 0, last ? last.to : 0), to: now });
  }
  return [...rows.values()];
}

// The step of the axis: at most five to the whole, and a number that one would choose.
function stepOf(whole) {
  const wanted = whole / 5;
  const long = [60000, 120000, 300000, 600000, 1800000, 3600000, 7200000, 14400000, 43200000, 86400000, 172800000, 604800000, 2592000000];
  if (wanted > 30000) return long.find((step) => step >= wanted) ?? wanted;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const some = [1, 2, 5, 10].map((n) => n * power);
  if (wanted > 10000) return 30000;
  return some.find((step) => step >= wanted * 0.999);
}

function marksOf(whole) {
  const step = stepOf(whole);
  const marks = [];
  for (let at = 0; at < whole * 0.9; at += step) marks.push(at); // no mark runs into that of the end
  return { step, marks: [...marks, whole] };
}
const markText = (ms) => (ms === 0 ? "0" : duration(ms).replace(/\.0 /, " "));

const legend = [["queue", "ready, no worker yet"], ["run", "ran"], ["failed", "failed attempt"], ["wait", "waited"], ["open", "runs"]];

export function Waterfall({ events, tasks, depends, now }) {
  const order = new Map(tasks.map((task, i) => [task.task, i]));
  const rows = segmentsOf(events, tasks, depends, now).filter((row) => row.segments.length).sort((a, b) => (order.get(a.task) ?? 0) - (order.get(b.task) ?? 0));
  if (!rows.length) return html`<p class="faint">No task has started.</p>`;
  const from = Math.min(...rows.map((row) => row.segments[0].from), parseTime(events[0]?.at) ?? Infinity);
  const to = Math.max(...rows.map((row) => Math.max(...row.segments.map((one) => one.to))), from + 1);
  const whole = to - from;
  const left = (ms) => `${Math.min(100, Math.max(0, ((ms - from) / whole) * 100)).toFixed(3)}%`;
  const { step, marks } = marksOf(whole);
  const lines = { backgroundSize: `${((step / whole) * 100).toFixed(3)}% 100%` };
  const seen = new Set(rows.flatMap((row) => row.segments.map((one) => one.kind)));
  return html`<div class="waterfall" role="table" aria-label="What each task did when">
    <div class="axis" aria-hidden="true"><span /><div>${marks.map((ms, i) => html`<i key=${i} style=${{ left: `${(ms / whole) * 100}%` }}>${markText(ms)}</i>`)}</div><span /></div>
    ${rows.slice(0, mostRows).map((row) => {
      const run = row.segments.filter((one) => one.kind !== "queue" && one.kind !== "wait").reduce((sum, one) => sum + one.to - one.from, 0);
      return html`<div class="row" role="row" key=${row.task}><span class="name" role="rowheader" title=${row.task}>${row.task}</span>
        <div class="lane" role="cell" style=${lines}>${row.segments.map((one, i) => {
          const says = `${words[one.kind]} ${duration(one.to - one.from)}${one.attempt ? `, attempt ${one.attempt}` : ""}${one.worker ? `, worker ${oneLine(one.worker, 60)}` : ""}${one.says ? `: ${oneLine(one.says, 200)}` : ""}`;
          return html`<i key=${i} class=${`segment ${one.kind}`} style=${{ left: left(one.from), width: `${Math.max(0.25, ((one.to - one.from) / whole) * 100).toFixed(3)}%` }} title=${`${says}\n${exactTime(one.from)}`}><b class="unseen">${says}. </b></i>`;
        })}</div>
        <span class="took" role="cell">${run > 0 ? duration(run) : "–"}</span></div>`;
    })}
    ${rows.length > mostRows && html`<p class="faint">The first ${mostRows} of ${rows.length} tasks and elements.</p>`}
    <div class="legend" aria-hidden="true">${legend.filter(([kind]) => seen.has(kind)).map(([kind, says]) => html`<span key=${kind}><i class=${`segment ${kind}`} />${says}</span>`)}</div></div>`;
}
