// The list of executions: filters that live in the address, pages by key, and what can be done to all that fit.
import { html, useEffect, useRef, useState } from "../core/html.js";
import { act, useView } from "../core/api.js";
import { go, link, savedViews, saveViews } from "../core/router.js";
import { useKeys } from "../core/keys.js";
import { Dialog } from "../parts/dialog.js";
import { Empty, Panel, Shown, Status, cut, plain } from "../parts/common.js";
import { Icon, StateIcon } from "../parts/icons.js";
import { RunDialog } from "../parts/run-dialog.js";
import { say } from "../parts/toast.js";
import { Since, Time, count, serverNow } from "../core/time.js";

const statuses = ["pending", "running", "paused", "completed", "failed", "cancelled"];
const ranges = [["", "Any time"], ["1h", "Last hour"], ["24h", "Last 24 hours"], ["7d", "Last 7 days"], ["30d", "Last 30 days"], ["!1h", "Over 1 h ago"], ["!24h", "Over 24 h ago"]];
const spans = new Map([["1h", 3600], ["24h", 86400], ["7d", 604800], ["30d", 2592000]]);
const filterNames = ["workflow", "status", "error", "with", "range", "after", "before"];
const builtIn = [
  { name: "Failed today", query: { status: "failed", range: "24h" } },
  { name: "Not completed", query: { status: "!completed" } },
  { name: "Running now", query: { status: "running" } },
  { name: "Paused", query: { status: "paused" } },
];
const pageSize = 50;

// What the server is asked for; a range is counted from its clock, by whole minutes, so that an address stays the same.
function queryOf(params, tenant) {
  const query = { tenant, workflow: params.workflow, status: params.status, error: params.error, with: params.with, after: params.after, before: params.before };
  const span = spans.get(bare(params.range));
  if (span) query[isNot(params.range) ? "before" : "after"] = new Date(Math.floor((serverNow() - span * 1000) / 60000) * 60000).toISOString();
  return query;
}

const not = (value) => (value?.startsWith("!") ? value.slice(1) : `!${value ?? ""}`);
const isNot = (value) => value?.startsWith("!") ?? false;
const bare = (value) => (isNot(value) ? value.slice(1) : value ?? "");

// A text that narrows the list a moment after it is written, with a switch for "all but these".
function TextFilter({ label, name, params, set, placeholder, negates = true, list = null, search = false, long = false }) {
  const value = params[name] ?? "";
  const [text, setText] = useState(bare(value));
  const negated = isNot(value);
  useEffect(() => setText(bare(value)), [value]);
  const apply = (next, isNegated = negated) => set({ [name]: next ? (isNegated ? `!${next}` : next.startsWith("!") ? `\\${next}` : next) : "" });
  return html`<label class=${`filter${value ? " on" : ""}${long ? " long" : ""}`}><span>${label}</span>
    ${negates && html`<button type="button" class=${`not${negated ? " on" : ""}`} aria-pressed=${negated ? "true" : "false"} title=${negated ? "All but these" : "Only these"} aria-label=${`${label}: ${negated ? "all but these" : "only these"}`} disabled=${!text} onClick=${(event) => { event.preventDefault(); apply(text, !negated); }}>${negated ? "is not" : "is"}</button>`}
    <input data-search=${search ? "" : undefined} value=${text} placeholder=${placeholder} list=${list} spellcheck="false" autocomplete="off" onInput=${(event) => setText(event.target.value)} onChange=${(event) => apply(event.target.value.trim())} onKeyDown=${(event) => { if (event.key === "Enter") apply(event.target.value.trim()); if (event.key === "Escape") event.target.blur(); }} /></label>`;
}

function StatusFilter({ params, set }) {
  const value = params.status ?? "";
  const press = (status) => set({ status: value === status ? `!${status}` : value === `!${status}` ? "" : status });
  return html`<div class="chips" role="group" aria-label="Status; press again for all others, and once more for any">${statuses.map((status) => {
    const is = value === status;
    const isOther = value === `!${status}`;
    return html`<button key=${status} class=${`chip ${is ? "on" : isOther ? "other" : ""}`} aria-pressed=${is || isOther ? "true" : "false"} aria-label=${isOther ? `not ${status}` : status} onClick=${() => press(status)}><${StateIcon} status=${status} />${isOther ? html`<s>${status}</s>` : status}</button>`;
  })}</div>`;
}

function Saved({ params, tenant }) {
  const [views, setViews] = useState(savedViews());
  const [naming, setNaming] = useState(null);
  const query = Object.fromEntries(filterNames.filter((name) => params[name]).map((name) => [name, params[name]]));
  const has = Object.keys(query).length > 0;
  const isCurrent = (one) => JSON.stringify(Object.entries(one.query).sort()) === JSON.stringify(Object.entries(query).sort());
  const keep = (next) => { saveViews(next); setViews(next); };
  const all = [...builtIn, ...views];
  return html`<div class="saved" role="group" aria-label="Saved views">
    ${all.map((one) => html`<span key=${one.name} class=${`tab${isCurrent(one) ? " on" : ""}`}><a href=${link("executions", { ...one.query, tenant })} aria-current=${isCurrent(one) ? "true" : undefined}>${one.name}</a>${views.includes(one) && html`<button class="ghost tiny" aria-label=${`Forget the view ${one.name}`} onClick=${() => keep(views.filter((other) => other !== one))}><${Icon} name="close" size=${12} /></button>`}</span>`)}
    ${has && !all.some(isCurrent) && (naming === null ? html`<button class="ghost small" onClick=${() => setNaming("")}>+ Save this view</button>` : html`<form class="name-view" onSubmit=${(event) => { event.preventDefault(); if (naming.trim()) keep([...views.filter((one) => one.name !== naming.trim()), { name: naming.trim().slice(0, 40), query }]); setNaming(null); }}><input aria-label="Name of the view" placeholder="Name" value=${naming} onInput=${(event) => setNaming(event.target.value)} onKeyDown=${(event) => { if (event.key === "Escape") setNaming(null); }} autofocus /><button class="button small">Save</button></form>`)}
    ${has && html`<a class="ghost small clear" href=${link("executions", { tenant })}>Clear</a>`}</div>`;
}

const verbs = [["retry", "Retry", "opens those again that failed or were cancelled"], ["cancel", "Cancel", "ends those that have not ended"], ["pause", "Pause", "lets no further task of them start"], ["resume", "Resume", "lets paused ones go on"]];

// What is counted, shown and sent is the filter of the moment at which the dialog was opened, and the ids that were
// counted then; the page closes it when the address changes.
function Bulk({ filter: current, close }) {
  const [filter] = useState(() => Object.fromEntries(Object.entries(current).filter(([, value]) => value)));
  const [verb, setVerb] = useState(bare(filter.status) === "failed" && !isNot(filter.status) ? "retry" : filter.status === "paused" ? "resume" : "cancel");
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const [reason, setReason] = useState("");
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const everything = Object.keys(filter).length === 0;
  const look = () => {
    setFound(null);
    setTyped("");
    act({ verb: "bulk", action: verb, filter, dry_run: true }).then(setFound, setError);
  };
  useEffect(look, []);
  const danger = verb === "cancel";
  const [, title, what] = verbs.find(([name]) => name === verb);
  const ready = found && found.count > 0 && typed.trim() === String(found.count) && !busy;
  const submit = async (event) => {
    event.preventDefault();
    if (!ready) return;
    setBusy(true);
    setError(null);
    try {
      const done = await act({ verb: "bulk", action: verb, filter, dry_run: false, expect: found.ids, everything, reason });
      const rest = [done.skipped && `${count(done.skipped)} could not be changed (${done.skips[0].id}: ${plain(done.skips[0].message)})`, done.left && `${count(done.left)} are left`, done.error && plain(done.error)].filter(Boolean);
      if (rest.length) {
        setError({ message: `${count(done.done)} are changed; ${rest.join("; ")}` });
        setBusy(false);
        look();
        return;
      }
      close();
      say(`${title}: ${count(done.done)} of ${count(done.count)} changed${done.gone ? `; ${count(done.gone)} no longer fit` : ""}`);
    } catch (problem) {
      setError(problem);
      setBusy(false);
      look();
    }
  };
  return html`<${Dialog} title="Act on all that fit" close=${close}><form onSubmit=${submit}>
    <ul class="terms">${Object.entries(filter).map(([name, value]) => html`<li key=${name}><span class="faint">${name}</span> ${isNot(value) ? html`<b class="bad">is not</b>` : "is"} <code>${bare(value)}</code></li>`)}${everything && html`<li><b class="bad">No filter: all executions of all tenants</b></li>`}</ul>
    <fieldset class="verbs"><legend class="unseen">What to do</legend>${verbs.map(([name, word, does]) => html`<label key=${name} class=${verb === name ? "on" : ""}><input type="radio" name="verb" value=${name} checked=${verb === name} onChange=${() => setVerb(name)} /><b>${word}</b><span>${does}</span></label>`)}</fieldset>
    <p class="found" role="status">${error && !found ? "" : found ? html`<b>${count(found.count)}</b> ${found.count === 1 ? "execution fits" : "executions fit"}${found.all ? "" : ", and there are more: the oldest of these are done first"}. Those to which it does not apply stay as they are.` : "Counting…"}</p>
    ${found?.count > 0 && html`<label class="field"><span>Reason, for their histories <em>(may be empty)</em></span><input value=${reason} maxlength="500" onInput=${(event) => setReason(event.target.value)} autocomplete="off" /></label>
      <label class="field"><span>Type <b>${found.count}</b> to go on</span><input inputmode="numeric" value=${typed} onInput=${(event) => setTyped(event.target.value)} autocomplete="off" data-typed /></label>`}
    ${error && html`<p class="wrong" role="alert">${plain(error.message)}</p>`}
    <footer><button type="button" class="button" onClick=${close}>Leave them</button><button class=${`button ${danger ? "danger" : "primary"}`} disabled=${!ready}>${busy ? "…" : `${title} ${found ? count(found.count) : ""}`}</button></footer></form><//>`;
}

function Rows({ rows, all }) {
  return html`<div class="list executions" role="table" aria-label="Executions"><div class=${`head${all ? " all" : ""}`} role="row"><span role="columnheader">Status</span><span role="columnheader">Workflow</span><span role="columnheader">Execution</span>${all && html`<span role="columnheader">Tenant</span>`}<span role="columnheader" class="said">Error</span><span role="columnheader" class="n">Took</span><span role="columnheader" class="n">Submitted</span></div>
    ${rows.map((row) => html`<div role="row" class=${`row${all ? " all" : ""}`} key=${row.execution_id}>
      <span role="cell"><${Status} status=${row.status} /></span><span role="cell" class="what"><a data-row href=${link(`execution/${row.execution_id}`)} aria-label=${`${row.workflow}, execution ${row.execution_id}`}>${row.workflow}</a>${row.version > 1 && html`<small>v${row.version}</small>`}${row.priority !== 0 && html`<small class="badge">priority ${row.priority}</small>`}</span>
      <span role="cell" class="id">${row.execution_id}</span>${all && html`<span role="cell" class="tenant">${row.tenant}</span>`}<span role="cell" class="said">${row.error && html`<span class="error" title=${cut(row.error, 500)}>${cut(row.error.replace(/^task "([\w-]+)" failed: /, "$1: "), 300)}</span>`}</span>
      <span role="cell" class="n">${row.started_at ? html`<${Since} from=${row.started_at} to=${row.finished_at} took=${row.took_ms} />` : html`<span class="faint">–</span>`}</span><span role="cell" class="n"><${Time} at=${row.created_at} /></span></div>`)}</div>`;
}

export function Executions({ route, hello, tenant }) {
  const { params } = route;
  const [bulk, setBulk] = useState(false);
  const [run, setRun] = useState(false);
  const own = hello.tenant ? "" : tenant;
  const filter = queryOf(params, own);
  const view = useView("executions", { ...filter, from: params.from }, params.from ? 15000 : 3000);
  const workflows = useView(own || hello.tenant ? "workflows" : null, { tenant: own }, 0);
  const main = useRef(null);
  const place = JSON.stringify([params, tenant]);
  useEffect(() => setBulk(false), [place]);
  const set = (changes) => go("executions", { ...params, from: "", ...changes });
  const older = () => { go("executions", { ...params, from: view.data.next }); main.current?.scrollIntoView({ block: "start" }); };
  useKeys({ o: view.data?.next ? older : null, b: hello.actions ? () => setBulk(true) : null, n: hello.actions ? () => setRun(true) : null });
  const mixed = hello.admin && !tenant;
  const filtered = filterNames.some((name) => params[name]);
  return html`<div class="stack" ref=${main}><div class="views-bar"><${Saved} params=${params} tenant=${own} /><span class="grow" />${hello.actions && html`<button class="button" onClick=${() => setRun(true)}><${Icon} name="play" size=${14} />Run</button><button class="button" onClick=${() => setBulk(true)}>Act on all that fit…</button>`}</div>
    <${Panel} label="Executions" title=${null} flush><div class="filters"><div class="line"><${StatusFilter} params=${params} set=${set} /><span class="grow" />${filtered && html`<a class="ghost small clear" href=${link("executions", { tenant: own })}>Clear</a>`}</div>
      <div class="fields"><${TextFilter} label="Workflow" name="workflow" params=${params} set=${set} placeholder="any" list="workflow-names" search />
        <${TextFilter} label="Error has" name="error" params=${params} set=${set} placeholder="any text" long />
        <${TextFilter} label="Input has" name="with" params=${params} set=${set} placeholder='{"customer": 7}' negates=${false} long />
        <label class=${`filter${params.range ? " on" : ""}`}><span>Submitted</span><select value=${params.range ?? ""} onChange=${(event) => set({ range: event.target.value, after: "", before: "" })}>${ranges.map(([name, title]) => html`<option key=${name} value=${name} selected=${(params.range ?? "") === name}>${title}</option>`)}</select></label></div>
      <datalist id="workflow-names">${(workflows.data?.workflows ?? []).map((one) => html`<option key=${one.workflow} value=${one.workflow} />`)}</datalist></div>
      <${Shown} view=${view} rows=${10}>${({ executions, next, searched }) => html`${executions.length ? html`<${Rows} rows=${executions} all=${mixed} />` : html`<${Empty} title=${searched ? "None among those looked through" : filtered || params.from ? "No execution fits" : "No executions yet"}>${searched ? "There are older ones: go on, or narrow the filter." : filtered ? html`<a class="button" href=${link("executions", { tenant: own })}>Show all</a>` : html`<code>insula run</code> or <code>insula.submit()</code> makes one.`}<//>`}
        ${(next || params.from) && html`<div class="pager"><button class="button" disabled=${!params.from} onClick=${() => set({})}><${Icon} name="left" size=${14} />${mixed ? "First" : "Newest"}</button><span class="note">${params.from ? `older than ${params.from}` : `the ${mixed ? "first" : "newest"} ${Math.min(pageSize, executions.length)}`}${mixed ? ", one tenant after another" : ""}</span><button class="button" disabled=${!next} onClick=${older}>Older<${Icon} name="right" size=${14} /></button></div>`}`}<//><//>
    ${bulk && html`<${Bulk} filter=${filter} close=${() => setBulk(false)} />`}
    ${run && html`<${RunDialog} tenant=${own} workflow=${bare(params.workflow)} hello=${hello} close=${() => setRun(false)} />`}</div>`;
}
