// One execution: why it is where it is, its graph, what happened when, and what each task has changed.
import { html, useMemo, useState } from "../core/html.js";
import { useView } from "../core/api.js";
import { go, link } from "../core/router.js";
import { useKeys } from "../core/keys.js";
import { mergePatch, writeExact } from "../core/json.js";
import { Confirm } from "../parts/dialog.js";
import { Dag } from "../parts/dag.js";
import { Command, Folding, Panel, Shown, Status, Trouble, copy, cut } from "../parts/common.js";
import { Icon } from "../parts/icons.js";
import { JsonTree, safeParse } from "../parts/json-tree.js";
import { RunDialog } from "../parts/run-dialog.js";
import { say } from "../parts/toast.js";
import { Waterfall } from "../parts/waterfall.js";
import { Sentence, Since, Time, bytes, clockTime, duration, exactTime, parseTime, serverNow } from "../core/time.js";

const overs = new Set(["completed", "failed", "cancelled"]);
const endedTasks = new Set(["completed", "failed", "cancelled", "skipped"]);
const tookOf = (task) => {
  const from = parseTime(task.started_at);
  const to = parseTime(task.finished_at);
  return from === null || to === null ? null : Math.max(0, to - from);
};

// How far a running task says that it has come.
function saysOf(state) {
  const reached = typeof state?.progress === "number" ? `${Math.round(state.progress * 100)}%` : "";
  return cut([reached, state?.note].filter(Boolean).join(" "), 1000);
}

// The tasks of the definition with their states; elements of a task for each item are counted at it.
function graphOf(data) {
  const states = data.result[0].tasks ? JSON.parse(data.result[0].tasks) : data.explain;
  let definition = null;
  try { definition = JSON.parse(data.source[0].definition); } catch { /* no definition: tasks without their order */ }
  const byName = new Map(states.map((state) => [state.task, state]));
  const list = definition?.tasks ?? states.filter((state) => !state.task.includes("[")).map((state) => ({ id: state.task }));
  const tasks = list.map((task) => {
    const state = byName.get(task.id) ?? {};
    const elements = task.for_each ? states.filter((one) => one.task.startsWith(`${task.id}[`)) : [];
    return {
      id: task.id, depends: task.depends_on ?? [], status: state.status ?? "pending", attempt: state.attempt ?? 0, took: tookOf(state), says: saysOf(state), definition: task,
      elements: elements.length ? { all: elements.length, ended: elements.filter((one) => endedTasks.has(one.status)).length } : null,
    };
  });
  return { states, tasks, depends: new Map(tasks.map((task) => [task.id, task.depends])) };
}

// Says why in words, and makes a link of an execution that is waited for.
function Why({ text, isError }) {
  const child = /^waits for execution (\d+)$/.exec(text ?? "");
  if (child) return html`waits for execution <a href=${link(`execution/${child[1]}`)}>${child[1]}</a>`;
  return isError ? cut(text, 4000) : html`<${Sentence} text=${cut(text, 4000)} />`;
}

// Reasons: their meaning, where to look, and for an administrator the command that mends it.
const hints = [
  [/^waits for a worker$/, "No worker has taken it: none is free, or none handles this task.", "workers", "See the workers"],
  [/^the tenant's max_running is reached$/, "Other tasks of the tenant use all of its permits.", "leases", "See what runs", (tenant) => `SELECT insula.set_tenant_limits('${tenant}', max_running => ...)`],
  [/^the tenant's rate_per_second is used up/, "As many tasks of the tenant have started as may for now.", null, null, (tenant) => `SELECT insula.set_tenant_limits('${tenant}', rate_per_second => ...)`],
  [/^the workflow's limit of \d+ is reached$/, "As many tasks of the workflow run as it may have.", "leases", "See what runs"],
  [/^the tenant is suspended$/, "Nothing of it starts until it is resumed.", null, null, (tenant) => `SELECT insula.resume_tenant('${tenant}')`],
  [/^the workflow is paused$/, "No task of the workflow starts until it is resumed.", "workflows", "See the workflow"],
  [/its lease lapsed at/, "Its worker has gone without a word; the task is given to another one.", "workers", "See the workers"],
];

function Explanation({ data, graph, tenant, hello }) {
  const { status, error } = data.result[0];
  if (status === "completed") return null;
  const open = data.explain.filter((row) => !endedTasks.has(row.status) && row.status !== "pending");
  const failed = data.explain.filter((row) => row.status === "failed" && !row.task.includes("["));
  const stuck = overs.has(status) ? failed : open.length ? open : data.explain.filter((row) => row.status === "pending");
  const title = status === "failed" ? "Why it failed" : status === "cancelled" ? "It was cancelled" : status === "paused" ? "It is paused" : "Why it is not done yet";
  const said = new Map(graph.states.map((state) => [state.task, saysOf(state)]));
  const hint = stuck.map((row) => hints.find(([pattern]) => pattern.test(row.why ?? ""))).find(Boolean);
  return html`<section class=${`explanation t-${status === "failed" ? "bad" : status === "cancelled" ? "calm" : status === "paused" ? "held" : "live"}`} aria-label=${title}><h2>${title}</h2>
    ${error && !stuck.some((row) => row.why && error.endsWith(row.why)) && html`<p class="error-text">${cut(error, 4000)}</p>`}
    <ul>${stuck.slice(0, 6).map((row) => html`<li key=${row.task}><${Status} status=${row.status} /><b>${row.task}</b><span class=${row.status === "failed" ? "error-text" : ""}><${Why} text=${row.why} isError=${row.status === "failed"} />${said.get(row.task) && html`<br />${said.get(row.task)}`}</span></li>`)}${stuck.length > 6 && html`<li class="faint">and ${stuck.length - 6} more</li>`}</ul>
    ${hint && html`<p class="faint">${hint[1]} ${hint[2] && (hint[2] !== "workers" || hello.admin) && html`<a href=${link(hint[2] === "leases" ? "workers" : hint[2], hint[2] === "workflows" || hint[2] === "leases" ? { tenant } : {})}>${hint[3]}</a>`}</p>`}
    ${hint?.[4] && hello.admin && html`<p><${Command} text=${hint[4](tenant)} /></p>`}</section>`;
}

function Head({ data, hello, actions }) {
  const run = data.result[0];
  const { tenant, parent } = data.source[0];
  return html`<div class="execution-head"><div class="line"><${Status} status=${run.status} /><strong>${run.workflow}</strong><span class="faint">version ${run.version}</span><span class="grow" />${actions}</div>
    <dl class="facts"><div><dt>Execution</dt><dd class="mono">${run.execution_id}<button class="ghost tiny" aria-label="Copy the id" title="Copy" onClick=${() => copy(run.execution_id)}><${Icon} name="copy" size=${13} /></button></dd></div>
      ${hello.admin && html`<div><dt>Tenant</dt><dd><a href=${link("executions", { tenant })}>${tenant}</a></dd></div>`}
      ${parent && html`<div><dt>Child of</dt><dd><a class="mono" href=${link(`execution/${parent}`)}>${parent}</a></dd></div>`}
      <div><dt>Submitted</dt><dd><${Time} at=${run.created_at} /></dd></div><div><dt>Started</dt><dd><${Time} at=${run.started_at} /></dd></div>
      <div><dt>${overs.has(run.status) ? "Ended" : "Open for"}</dt><dd>${overs.has(run.status) ? html`<${Time} at=${run.finished_at} />` : html`<${Since} from=${run.created_at} />`}</dd></div>
      <div><dt>${overs.has(run.status) ? "Took" : "Runs for"}</dt><dd>${run.started_at ? html`<${Since} from=${run.started_at} to=${run.finished_at} took=${run.took_ms} />` : "–"}</dd></div><div><dt>Tasks</dt><dd>${run.task_count}</dd></div></dl></div>`;
}

// The executions that its tasks have submitted and wait for, by the events that say so.
function childrenOf(timeline) {
  return timeline.flatMap((event) => {
    if (event.event !== "task_waiting" || !event.detail) return [];
    try {
      const { child } = JSON.parse(event.detail);
      return Number.isSafeInteger(child) ? [{ task: event.task, id: String(child) }] : [];
    } catch {
      return []; // a detail that was cut
    }
  });
}

const mostChildren = 50;
const deepest = 4; // of children in children

function Children({ timeline, depth = 0 }) {
  const children = useMemo(() => childrenOf(timeline), [timeline]);
  if (!children.length) return null;
  return html`<section class="children" aria-label="Child executions"><h3>${children.length === 1 ? "Its child" : "Its children"}</h3>
    ${children.slice(-mostChildren).map(({ task, id }) => html`<${Folding} key=${id} title=${html`<b class="mono">${task}</b> waits for execution <span class="mono">${id}</span>`} open=${children.length === 1 && depth === 0}><${Child} id=${id} depth=${depth + 1} /><//>`)}
    ${children.length > mostChildren && html`<p class="faint">The newest ${mostChildren} of ${children.length}.</p>`}</section>`;
}

function Child({ id, depth }) {
  const view = useView("execution", { id }, 5000);
  const target = `execution/${id}`;
  return html`<${Shown} view=${view} rows=${2}>${(data) => html`<p class="child-line"><${Status} status=${data.result[0].status} /> <a class="strong" href=${link(target)}>${data.result[0].workflow}</a> <span class="faint">${data.result[0].took_ms === null ? html`for <${Since} from=${data.result[0].created_at} />` : `took ${duration(data.result[0].took_ms)}`}</span></p>
    ${data.result[0].error && html`<p class="error-text">${cut(data.result[0].error, 500)}</p>`}
    <${LeftOut} source=${data.source[0]} />
    <${Dag} tasks=${graphOf(data).tasks} chosen=${null} choose=${() => go(target)} />
    ${depth < deepest && html`<${Children} timeline=${data.timeline} depth=${depth} />`}`}<//>`;
}

// Without it the tasks have no order, and a graph of them would look like one of tasks that wait for nothing.
function LeftOut({ source }) {
  if (source.definition !== null || source.definition_bytes === null) return null;
  return html`<p class="foot held-text" role="status">The definition of this version has ${bytes(source.definition_bytes)}, more than this page reads: the tasks are shown without their dependencies.</p>`;
}

function TaskPanel({ id, graph, data, close }) {
  const task = graph.tasks.find((one) => one.id === id);
  if (!task) return null;
  const why = data.explain.find((row) => row.task === id);
  const events = data.timeline.filter((event) => event.task === id || event.task?.startsWith(`${id}[`));
  const { id: _, depends_on: __, ...options } = task.definition;
  return html`<div class="task-panel"><header><${Status} status=${task.status} /><h3>${id}</h3><span class="grow" /><button class="ghost" aria-label="Close" onClick=${close}><${Icon} name="close" size=${14} /></button></header>
    ${why?.why && html`<p class=${task.status === "failed" ? "error-text" : ""}><${Why} text=${why.why} isError=${task.status === "failed"} /></p>`}
    ${task.says && html`<p>${task.says}</p>`}
    <dl class="facts"><div><dt>Attempt</dt><dd>${task.attempt || "–"}</dd></div><div><dt>Took</dt><dd>${duration(task.took)}</dd></div><div><dt>After</dt><dd>${task.depends.join(", ") || "the start"}</dd></div></dl>
    ${Object.keys(options).length > 0 && html`<${Folding} title="Its definition"><${JsonTree} text=${JSON.stringify(options)} /><//>`}
    <${Events} events=${events} /></div>`;
}

const names = {
  execution_submitted: "submitted", execution_completed: "completed", execution_failed: "failed", execution_cancelled: "cancelled", execution_paused: "paused", execution_resumed: "resumed", execution_retried: "retried",
  task_started: "started", task_completed: "completed", task_failed: "failed", task_cancelled: "cancelled", task_skipped: "skipped", task_attempt_failed: "attempt failed", task_waiting: "waits", task_deferred: "deferred", event_received: "event received",
};
const toneOf = (event) => (event.includes("failed") ? "t-bad" : event.endsWith("completed") ? "t-good" : event.includes("started") ? "t-live" : "t-calm");

function says(event) {
  let detail = {};
  try { detail = event.detail ? JSON.parse(event.detail) : {}; } catch { return cut(event.detail, 1000); }
  if (!detail || typeof detail !== "object") return "";
  const parts = [];
  if (detail.error) parts.push(String(detail.error));
  if (detail.reason) parts.push(String(detail.reason));
  if (detail.event) parts.push(`${event.event === "task_waiting" ? "for event " : ""}${detail.event}`);
  if (detail.child && event.event === "task_waiting") parts.push(`for execution ${detail.child}`);
  if (detail.until) parts.push(`until ${String(detail.until).replace("T", " ").slice(0, 19)}`);
  return cut(parts.join(" · "), 1000);
}

function Events({ events }) {
  const [all, setAll] = useState(false);
  const shown = all ? events : events.slice(0, 60);
  if (!events.length) return html`<p class="faint">No event yet.</p>`;
  return html`<ol class="events">${shown.map((event, i) => {
    const at = parseTime(event.at);
    return html`<li key=${i} class=${toneOf(event.event)}><time datetime=${at === null ? undefined : new Date(at).toISOString()} title=${at === null ? "" : exactTime(at)}>${at === null ? "" : clockTime(at)}</time><span class="plus">+${duration(event.after_ms)}</span>
      <span class="what"><b>${event.task ?? "execution"}</b> ${names[event.event] ?? event.event.replaceAll("_", " ")}${event.attempt > 1 ? `, attempt ${event.attempt}` : ""}${event.worker && event.event === "task_started" ? html` <span class="faint">by ${cut(event.worker, 80)}</span>` : ""}${says(event) && html`<span class="says">${says(event)}</span>`}</span></li>`;
  })}</ol>${events.length > shown.length && html`<button class="button small" onClick=${() => setAll(true)}>All ${events.length}</button>`}`;
}

const mostSteps = 200; // each holds the whole of what was before it

// The input, then each task's patch over what was there before it, then what came out.
function Contexts({ data }) {
  const run = data.result[0];
  const source = data.source[0];
  const steps = useMemo(() => {
    let before = safeParse(source.input);
    const all = data.timeline.filter((event) => event.event === "task_completed" && event.changed_bytes !== null && !event.task.includes("["));
    return all.slice(0, mostSteps).map((event) => {
      const patch = event.changed ? safeParse(event.changed) : undefined;
      const step = { event, patch, before };
      if (patch !== undefined && before !== undefined) before = mergePatch(before, patch);
      return step;
    });
  }, [data.timeline, source.input]);
  return html`<${Folding} title="Input" open><${JsonTree} text=${source.input} size=${source.input_bytes} /><//>
    ${steps.map((step, i) => html`<${Folding} key=${i} title=${html`<b>${step.event.task}</b> changed`} open=${i < 4} count=${step.patch instanceof Map ? `${step.patch.size} ${step.patch.size === 1 ? "key" : "keys"}` : null}>${step.patch !== undefined ? html`<${JsonTree} value=${step.patch} before=${step.before} marks opens=${3} />` : html`<p class="faint">Too large to show.</p>`}<//>`)}
    ${steps.length === mostSteps && html`<p class="faint">The first ${mostSteps} changes.</p>`}
    ${run.final_context !== null && html`<${Folding} title=${run.status === "completed" ? "Final context" : "Context"}><${JsonTree} text=${run.final_context} size=${run.final_bytes} /><//>`}
    ${!steps.length && run.final_context === null && html`<p class="faint">No task has changed anything yet.</p>`}`;
}

function Actions({ run, ask, rerun }) {
  const over = overs.has(run.status);
  return html`<div class="actions">${over && run.status !== "completed" && html`<button class="button primary" onClick=${() => ask("retry")}><${Icon} name="retry" size=${14} />Retry<kbd aria-hidden="true">r</kbd></button>`}
    ${!over && (run.status === "paused" ? html`<button class="button" onClick=${() => ask("resume")}>Resume<kbd aria-hidden="true">p</kbd></button>` : html`<button class="button" onClick=${() => ask("pause")}>Pause<kbd aria-hidden="true">p</kbd></button>`)}
    ${!over && html`<button class="button danger" onClick=${() => ask("cancel")}>Cancel<kbd aria-hidden="true">c</kbd></button>`}
    <button class="button" onClick=${rerun}><${Icon} name="play" size=${14} />Run again<kbd aria-hidden="true">n</kbd></button></div>`;
}

const questions = {
  retry: ["Retry this execution?", "What failed or was cancelled runs again, with all its attempts; what was completed stays.", "Retry", "It runs again"],
  cancel: ["Cancel this execution?", "No further task of it starts; a running one is told at its next heartbeat.", "Cancel it", "It is cancelled"],
  pause: ["Pause this execution?", "No further task of it starts until it is resumed.", "Pause", "It is paused"],
  resume: ["Resume this execution?", "It goes on where it was.", "Resume", "It goes on"],
};

function Body({ data, hello, gone }) {
  const run = data.result[0];
  const { tenant } = data.source[0];
  const [chosen, setChosen] = useState(null);
  const [asked, setAsked] = useState(null);
  const [again, setAgain] = useState(false);
  const graph = useMemo(() => graphOf(data), [data]);
  const input = useMemo(() => (again ? safeParse(data.source[0].input) : undefined), [again]); // undefined: too large or too deep
  const over = overs.has(run.status);
  const ask = (verb) => setAsked(verb);
  const can = hello.actions && !gone;
  useKeys({
    r: can && over && run.status !== "completed" ? () => ask("retry") : null, c: can && !over ? () => ask("cancel") : null,
    p: can && !over ? () => ask(run.status === "paused" ? "resume" : "pause") : null, n: can ? () => setAgain(true) : null,
    u: () => go("executions", { tenant: hello.tenant ? "" : tenant }),
  });
  const question = can && asked && questions[asked];
  return html`<${Head} data=${data} hello=${hello} actions=${can && html`<${Actions} run=${run} ask=${ask} rerun=${() => setAgain(true)} />`} />
    <${Explanation} data=${data} graph=${graph} tenant=${tenant} hello=${hello} />
    <${Panel} title="Graph" note="choose a task to see more of it" flush><${LeftOut} source=${data.source[0]} /><div class="graph"><${Dag} tasks=${graph.tasks} chosen=${chosen} choose=${setChosen} />${chosen && html`<${TaskPanel} key=${chosen} id=${chosen} graph=${graph} data=${data} close=${() => setChosen(null)} />`}</div><${Children} timeline=${data.timeline} /><//>
    <${Panel} title="What happened when"><${Waterfall} events=${data.timeline} tasks=${graph.states} depends=${graph.depends} now=${over ? parseTime(run.finished_at) ?? serverNow() : serverNow()} /><//>
    <div class="columns two"><${Panel} title="Contexts" note="the input, and what each task has changed"><${Contexts} data=${data} /><//><${Panel} title="Events" note=${`${data.timeline.length}`}><${Events} events=${data.timeline} /><//></div>
    ${question && html`<${Confirm} title=${question[0]} text=${question[1]} verb=${question[2]} danger=${asked === "cancel"} request=${{ verb: asked, id: run.execution_id }} done=${() => say(question[3])} close=${() => setAsked(null)} />`}
    ${can && again && html`<${RunDialog} tenant=${hello.tenant ? "" : tenant} workflow=${run.workflow} input=${input === undefined ? "" : writeExact(input)} hidden=${input === undefined} same=${run.execution_id} hello=${hello} close=${() => setAgain(false)} />`}`;
}

function Missing({ error, hello }) {
  return html`<${Panel} label="Execution" flush><${Trouble} error=${error} instead=${html`<a class="button" href=${link("executions")}>${hello.admin ? "To the executions of all tenants" : "To the executions"}</a>`} /><//>`;
}

export function Execution({ route, hello }) {
  const id = route.rest[0] ?? "";
  const isId = /^\d+$/.test(id);
  const view = useView(isId ? "execution" : null, { id }, 2000);
  const isGone = view.error?.status === 404 || view.error?.status === 403;
  if (!isId || (isGone && !view.data)) return html`<${Missing} error=${isId ? view.error : { kind: "missing", message: "This is no id of an execution." }} hello=${hello} />`;
  return html`<div class="stack execution"><${Shown} view=${view} rows=${12}>${(data) => html`<${Body} data=${data} hello=${hello} gone=${isGone} />`}<//></div>`;
}
