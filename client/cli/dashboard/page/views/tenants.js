// All tenants in a table that sorts, and one of them in depth.
import { html, useEffect, useState } from "../core/html.js";
import { useView } from "../core/api.js";
import { go, link } from "../core/router.js";
import { useKeys } from "../core/keys.js";
import { Badge, Empty, Panel, Shown, plain } from "../parts/common.js";
import { Icon } from "../parts/icons.js";
import { Sentence, Since, Time, bytes, count, duration } from "../core/time.js";

const columns = [
  ["tenant", "Tenant"], ["status", "State"], ["held", "Held back by"], ["ready", "Ready", "n"], ["running", "Running", "n"], ["oldest", "Oldest ready", "n"], ["wait", "Pick-up p99", "n"],
  ["failed", "Failed", "n"], [null, "Last failure", "n", "Among its hundred newest executions"], ["share", "Share of weight", "n", "Its part of all claims beside its part of the weights, since the counters began"],
  ["completed", "Completed", "n"], ["started", "Runs", "n", "Runs of tasks since the counters began; choose a tenant for what it used this month"], [null, "Limits"],
];
const heldBy = {
  suspended: "Nothing of it starts until it is resumed", "set aside": "Schedulers have died in its turn: none serves it for a while", "error of the scheduler": "The scheduler could not serve it, or a schedule of its", max_running: "As many of its tasks run as it may have", max_queued: "Its queue is full: submissions fail",
  "rate or no worker": "Tasks are ready for more than five seconds: its rate is used up, or no worker takes them", "no free worker": "Tasks are ready for more than five seconds, and no limit of its keeps them",
};

const ofScheduler = new Set(["set aside", "error of the scheduler"]);

function limitsOf(row) {
  const parts = [];
  if (row.max_running !== null) parts.push(`${count(row.running)}/${count(row.max_running)} running`);
  if (row.max_queued !== null) parts.push(`${count(row.max_queued)} queued`);
  if (row.rate_per_second !== null) parts.push(`${row.rate_per_second}/s`);
  if (row.max_connections !== null) parts.push(`${row.max_connections} sessions`);
  return parts.length ? parts.join(", ") : null;
}

function Share({ row }) {
  if (row.share === null || row.weight_share === null) return html`<span class="faint" title=${`weight ${row.weight}`}>–</span>`;
  return html`<span title=${`weight ${row.weight}`}>${percent(row.share)} <span class="faint">of ${percent(row.weight_share)}</span></span>`;
}

function HeldBy({ row }) {
  if (!row.held_by) return html`<span class="faint">–</span>`;
  return html`<span class="badge held" title=${row.error && ofScheduler.has(row.held_by) ? `${heldBy[row.held_by]}: ${plain(row.error)}` : heldBy[row.held_by]}>${row.held_by}</span>`;
}

// `last`: by tenant, once it is known.
function LastFailure({ row, last }) {
  if (!row.failed || row.failed === "0" || !last) return html`<span class="faint">–</span>`;
  const found = last.get(row.tenant);
  if (!found) return html`<span class="faint" title="Not among its hundred newest executions">long ago</span>`;
  return html`<a class="bad" href=${link(`execution/${found.execution_id}`)} title=${plain(found.error)}><${Time} at=${found.finished_at} /></a>`;
}

const percent = (value) => `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;
const isTime = (item) => item.startsWith("wait p") || item === "running time" || item === "overhead";
function valueOf(line) {
  if (line.value === null) return "not known";
  if (line.item.startsWith("share of") || (line.question === "held back" && line.item === "max_queued")) return percent(line.value);
  if (isTime(line.item) || (line.question === "held back" && line.says.startsWith("seconds"))) return duration(line.value * 1000);
  return count(Math.round(line.value));
}

// The server's sentences are for psql: here the value has its unit already, and a time needs no fractions.
function saysOf(line) {
  if (line.item === "wait p50" || line.item === "wait p99") return line.value === null ? line.says : "of the tasks claimed in the last minutes";
  return line.says.replace(/^seconds (for which )?/, (all, rest) => rest ?? "").replace(/^that these took/, "in all");
}

const labels = { "wait p50": "half within", "wait p99": "99 % within" };

const questions = { waiting: "What waits", share: "Its share", "held back": "What holds it back", used: "What it used", failing: "What fails" };

// It reads all that the tenant keeps, so that it waits to be asked for.
function Usage({ tenant }) {
  const [asked, setAsked] = useState(false);
  const view = useView(asked ? "usage" : null, { tenant }, 0);
  if (!asked) return html`<p><button class="button small" onClick=${() => setAsked(true)}>Count what it used this month</button></p>`;
  return html`<${Shown} view=${view} rows=${2}>${({ usage }) => (usage.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="What it used this month"><table class="grid snug"><thead><tr><th>This month, by workflow</th><th class="n">Executions</th><th class="n">Completed</th><th class="n">Failed</th><th class="n">Runs of tasks</th><th class="n">Running time</th><th class="n">Contexts</th></tr></thead>
    <tbody>${usage.map((row) => html`<tr key=${row.workflow}><td class="strong">${row.workflow}</td><td class="n">${count(row.started)}</td><td class="n">${count(row.completed)}</td><td class="n">${count(row.failed)}</td><td class="n">${count(row.tasks_run)}</td><td class="n">${duration(row.run_ms)}</td><td class="n">${bytes(row.context_bytes)}</td></tr>`)}</tbody></table></div>` : html`<p class="faint">It has done nothing this month.</p>`)}<//>`;
}

export function TenantDetail({ tenant, close = null }) {
  const view = useView("tenant", { tenant }, 4000);
  return html`<${Panel} title=${tenant || "This tenant"} wide actions=${html`<a class="button small" href=${link("executions", { tenant })}>Executions</a><a class="button small" href=${link("schedules", { tenant })}>Schedules</a>${close && html`<button class="ghost" aria-label="Close" onClick=${close}><${Icon} name="close" /></button>`}`}>
    <${Shown} view=${view} rows=${6}>${({ lines }) => html`<div class="explain-tenant">${Object.entries(questions).map(([question, title]) => {
      const mine = lines.filter((line) => line.question === question);
      return html`<section key=${question}><h3>${title}</h3>${mine.length ? html`<dl>${mine.map((line, i) => html`<div key=${line.item + i}><dt>${labels[line.item] ?? line.item}</dt><dd>${valueOf(line)}</dd><dd class="says"><${Sentence} text=${plain(saysOf(line))} /></dd></div>`)}</dl>` : html`<p class="faint">${question === "failing" ? "Nothing." : "No limit is set."}</p>`}</section>`;
    })}</div>`}<//><${Usage} tenant=${tenant} /><//>`;
}

const pageSize = 100;

export function Tenants({ route }) {
  const { search = "", sort = "ready", direction = "down", after = "", after_key = "", open = "" } = route.params;
  const [text, setText] = useState(search);
  const view = useView("tenants", { search, sort, direction, after, after_key }, 3000);
  const set = (changes, replaces = false) => go("tenants", { ...route.params, after: "", after_key: "", ...changes }, replaces);
  useEffect(() => {
    if (text === search) return undefined;
    const timer = setTimeout(() => set({ search: text }, true), 250);
    return () => clearTimeout(timer);
  }, [text]);
  const all = view.data?.tenants ?? [];
  const rows = all.slice(0, pageSize);
  const matching = Number(rows[0]?.matching ?? 0);
  const failing = rows.filter((row) => row.failed && row.failed !== "0").map((row) => row.tenant).sort().join(",");
  const failures = useView(failing ? "last_failures" : null, { tenants: failing }, 20000);
  const last = failures.data && new Map(failures.data.failures.map((one) => [one.tenant, one]));
  const next = all.length > pageSize ? () => set({ after: rows[pageSize - 1].tenant, after_key: rows[pageSize - 1].sort_key }) : null;
  useKeys({ o: next });
  const sortBy = (name) => set({ sort: name, direction: sort === name && direction === "down" ? "up" : name === "tenant" && sort !== name ? "up" : "down" });
  // Where the last ones have gone, the way back stays.
  const pager = next || after ? html`<div class="pager"><button class="button" disabled=${!after} onClick=${() => set({})}><${Icon} name="left" size=${14} />First</button><span class="note">${after ? `after ${after}` : `the first ${rows.length}`}${rows.length ? ` of ${count(matching)}` : ": no more"}</span><button class="button" disabled=${!next} onClick=${next}>Next<${Icon} name="right" size=${14} /></button></div>` : null;
  return html`<div class="stack">${open && html`<${TenantDetail} key=${open} tenant=${open} close=${() => set({ open: "" })} />`}
    <${Panel} label="Tenants" flush title=${null}><div class="bar"><label class="search"><${Icon} name="search" /><input data-search type="search" placeholder="Find a tenant" aria-label="Find a tenant" value=${text} onInput=${(event) => setText(event.target.value)} /></label><span class="grow" /><span class="note">${view.data && (rows.length || !after) ? `${count(matching)} ${matching === 1 ? "tenant" : "tenants"}` : ""}</span></div>
    <${Shown} view=${view} rows=${8}>${() => (rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Table of tenants"><table class="grid"><thead><tr>${columns.map(([name, title, kind, says]) => html`<th key=${title} class=${kind ?? ""} title=${says} aria-sort=${name === sort ? (direction === "up" ? "ascending" : "descending") : undefined}>${name ? html`<button class="sort" onClick=${() => sortBy(name)}>${title}<i aria-hidden="true">${name === sort ? (direction === "up" ? "▲" : "▼") : ""}</i></button>` : title}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.tenant} class=${row.tenant === open ? "chosen" : ""}><td><a data-row class="strong" href=${link("tenants", { ...route.params, open: row.tenant })}>${row.tenant}</a></td><td><${Badge} word=${row.status} /></td><td><${HeldBy} row=${row} /></td>
        <td class="n">${count(row.ready)}</td><td class="n">${count(row.running)}</td><td class="n"><${Since} from=${row.oldest_ready_at} /></td><td class="n">${row.wait_p99_ms === null ? html`<span class="faint">–</span>` : duration(row.wait_p99_ms)}</td>
        <td class="n">${row.failed && row.failed !== "0" ? html`<a class="bad" href=${link("executions", { tenant: row.tenant, status: "failed" })}>${count(row.failed)}</a>` : "0"}</td><td class="n"><${LastFailure} row=${row} last=${last} /></td><td class="n"><${Share} row=${row} /></td>
        <td class="n">${count(row.completed ?? "0")}</td><td class="n">${count(row.started ?? "0")}</td><td class="limits">${limitsOf(row) ?? html`<span class="faint">none</span>`}</td></tr>`)}</tbody></table></div>
      ${pager}` : after ? pager : html`<${Empty} title=${search ? "No tenant has this in its name" : "No tenants yet"}>${search ? html`<button class="button" onClick=${() => setText("")}>Show all</button>` : html`<code>insula tenant create acme</code> makes one.`}<//>`)}<//><//></div>`;
}
