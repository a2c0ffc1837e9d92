// All tenants in a table that sorts, and one of them in depth.
import { html, useEffect, useState } from "../core/html.js";
import { useView } from "../core/api.js";
import { go, link } from "../core/router.js";
import { useKeys } from "../core/keys.js";
import { Badge, Empty, Panel, Shown, plain } from "../parts/common.js";
import { Icon } from "../parts/icons.js";
import { Since, Time, count, duration } from "../core/time.js";

const columns = [
  ["tenant", "Tenant"], ["status", "State"], ["ready", "Ready", "n"], ["running", "Running", "n"], ["oldest", "Oldest ready", "n"], ["weight", "Weight", "n"],
  [null, "Limits"], ["started", "Runs", "n"], ["completed", "Completed", "n"], ["failed", "Failed", "n"], ["wait", "Pick-up p99", "n"],
];

function limitsOf(row) {
  const parts = [];
  if (row.max_running !== null) parts.push(`${count(row.running)}/${count(row.max_running)} running`);
  if (row.max_queued !== null) parts.push(`${count(row.max_queued)} queued`);
  if (row.rate_per_second !== null) parts.push(`${row.rate_per_second}/s`);
  if (row.max_connections !== null) parts.push(`${row.max_connections} sessions`);
  return parts.length ? parts.join(", ") : null;
}

const percent = (value) => `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;
const isTime = (item) => item.startsWith("wait p") || item === "running time" || item === "overhead";
function valueOf(line) {
  if (line.value === null) return "not known";
  if (line.item.startsWith("share of") || (line.question === "held back" && line.item === "max_queued")) return percent(line.value);
  if (isTime(line.item) || line.question === "held back") return duration(line.value * 1000);
  return count(Math.round(line.value));
}

// The server's sentences are for psql: here the value has its unit already, and a time needs no fractions.
function saysOf(line) {
  if (line.item === "wait p50" || line.item === "wait p99") return line.value === null ? line.says : "of the tasks claimed in the last minutes";
  return line.says.replace(/^seconds (for which )?/, (all, rest) => rest ?? "").replace(/(\d{4}-\d\d-\d\d \d\d:\d\d)\S*/, "$1").replace(/^that these took/, "in all");
}
const labels = { "wait p50": "half within", "wait p99": "99 % within" };

const questions = { waiting: "What waits", share: "Its share", "held back": "What holds it back", used: "What it used", failing: "What fails" };

export function TenantDetail({ tenant, close = null }) {
  const view = useView("tenant", { tenant }, 4000);
  return html`<${Panel} title=${tenant || "This tenant"} wide actions=${html`<a class="button small" href=${link("executions", { tenant })}>Executions</a><a class="button small" href=${link("schedules", { tenant })}>Schedules</a>${close && html`<button class="ghost" aria-label="Close" onClick=${close}><${Icon} name="close" /></button>`}`}>
    <${Shown} view=${view} rows=${6}>${({ lines }) => html`<div class="explain-tenant">${Object.entries(questions).map(([question, title]) => {
      const mine = lines.filter((line) => line.question === question);
      return html`<section key=${question}><h3>${title}</h3>${mine.length ? html`<dl>${mine.map((line, i) => html`<div key=${line.item + i}><dt>${labels[line.item] ?? line.item}</dt><dd>${valueOf(line)}</dd><dd class="says">${plain(saysOf(line))}</dd></div>`)}</dl>` : html`<p class="faint">${question === "failing" ? "Nothing." : "No limit is set."}</p>`}</section>`;
    })}</div>`}<//><//>`;
}

export function Tenants({ route }) {
  const { search = "", sort = "ready", direction = "down", offset = "0", open = "" } = route.params;
  const [text, setText] = useState(search);
  const view = useView("tenants", { search, sort, direction, offset }, 3000);
  const set = (changes, replaces = false) => go("tenants", { ...route.params, offset: "", ...changes }, replaces);
  useEffect(() => {
    if (text === search) return undefined;
    const timer = setTimeout(() => set({ search: text }, true), 250);
    return () => clearTimeout(timer);
  }, [text]);
  const start = Number(offset) || 0;
  const rows = view.data?.tenants ?? [];
  const matching = Number(rows[0]?.matching ?? 0);
  useKeys({ o: start + rows.length < matching ? () => set({ offset: start + 200 }) : null });
  const sortBy = (name) => set({ sort: name, direction: sort === name && direction === "down" ? "up" : name === "tenant" && sort !== name ? "up" : "down" });
  return html`<div class="stack">${open && html`<${TenantDetail} key=${open} tenant=${open} close=${() => set({ open: "" })} />`}
    <${Panel} label="Tenants" flush title=${null}><div class="bar"><label class="search"><${Icon} name="search" /><input data-search type="search" placeholder="Find a tenant" aria-label="Find a tenant" value=${text} onInput=${(event) => setText(event.target.value)} /></label><span class="grow" /><span class="note">${view.data ? `${count(matching)} ${matching === 1 ? "tenant" : "tenants"}` : ""}</span></div>
    <${Shown} view=${view} rows=${8}>${() => (rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Table of tenants"><table class="grid"><thead><tr>${columns.map(([name, title, kind]) => html`<th key=${title} class=${kind ?? ""} aria-sort=${name === sort ? (direction === "up" ? "ascending" : "descending") : undefined}>${name ? html`<button class="sort" onClick=${() => sortBy(name)}>${title}<i aria-hidden="true">${name === sort ? (direction === "up" ? "▲" : "▼") : ""}</i></button>` : title}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.tenant} class=${row.tenant === open ? "chosen" : ""}><td><a data-row class="strong" href=${link("tenants", { ...route.params, open: row.tenant })}>${row.tenant}</a></td><td><${Badge} word=${row.status} />${row.error && html` <span class="badge bad" title=${plain(row.error)}>set aside</span>`}</td>
        <td class="n">${count(row.ready)}</td><td class="n">${count(row.running)}</td><td class="n"><${Since} from=${row.oldest_ready_at} /></td><td class="n">${row.weight}</td><td class="limits">${limitsOf(row) ?? html`<span class="faint">none</span>`}</td>
        <td class="n">${count(row.started ?? "0")}</td><td class="n">${count(row.completed ?? "0")}</td><td class="n">${row.failed && row.failed !== "0" ? html`<a class="bad" href=${link("executions", { tenant: row.tenant, status: "failed" })}>${count(row.failed)}</a>` : "0"}</td><td class="n">${row.wait_p99_ms === null ? html`<span class="faint">–</span>` : duration(row.wait_p99_ms)}</td></tr>`)}</tbody></table></div>
      ${matching > start + rows.length || start > 0 ? html`<div class="pager"><button class="button" disabled=${start === 0} onClick=${() => set({ offset: Math.max(0, start - 200) || "" })}>Before</button><span class="note">${start + 1} to ${start + rows.length}</span><button class="button" disabled=${start + rows.length >= matching} onClick=${() => set({ offset: start + 200 })}>Next</button></div>` : null}` : html`<${Empty} title=${search ? "No tenant has this in its name" : "No tenants yet"}>${search ? html`<button class="button" onClick=${() => setText("")}>Show all</button>` : html`<code>insula tenant create acme</code> makes one.`}<//>`)}<//><//></div>`;
}
