// Which workers there are, and which task each has.
import { html } from "../core/html.js";
import { useView } from "../core/api.js";
import { link } from "../core/router.js";
import { Badge, Empty, More, Panel, Shown, cut } from "../parts/common.js";
import { Since, Time, count, parseTime, serverNow, useTick } from "../core/time.js";

const meanings = { parked: "it waits for work", busy: "it works", dead: "its session has ended; its tasks are about to be given back", "no life line": "it claims without waiting", unknown: "it holds tasks, and nothing else is known of it" };

function Lease({ from, until }) {
  useTick();
  const start = parseTime(from);
  const end = parseTime(until);
  if (start === null || end === null) return html`<span class="faint">–</span>`;
  const left = end - serverNow();
  const part = Math.max(0, Math.min(1, left / Math.max(1, end - start)));
  return html`<span class=${`lease${left < 0 ? " lapsed" : ""}`}><i aria-hidden="true"><b style=${{ width: `${part * 100}%` }} /></i>${left < 0 ? "lapsed" : html`<${Time} at=${until} />`}</span>`;
}

export function Workers({ hello, tenant }) {
  const own = hello.tenant ? "" : tenant;
  const workers = useView(hello.admin ? "workers" : null, {}, 3000);
  const leases = useView("leases", { tenant: own }, 3000);
  const all = hello.admin && !tenant;
  return html`<div class="stack">${hello.admin && html`<${Panel} title="Workers" note="of all tenants" flush><${Shown} view=${workers}>${({ workers: rows }) => (rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Table of workers"><table class="grid"><thead><tr><th>Worker</th><th>State</th><th>Serves</th><th>Role</th><th class="n">Session</th><th class="n">For</th><th class="n">Tasks</th><th class="n">Next lease ends</th></tr></thead>
      <tbody>${rows.slice(0, 500).map((row) => html`<tr key=${row.worker}><td class="strong">${cut(row.worker, 60)}</td><td title=${meanings[row.status] ?? ""}><${Badge} word=${row.status} /></td><td>${row.tenant ?? (row.status === "unknown" ? html`<span class="faint">–</span>` : "all tenants")}</td><td>${row.role ?? html`<span class="faint">–</span>`}</td><td class="n">${row.pid ?? "–"}</td><td class="n"><${Since} from=${row.since} /></td><td class="n">${count(row.tasks)}</td><td class="n"><${Time} at=${row.next_lease_expires} /></td></tr>`)}</tbody></table></div><${More} rows=${rows} most=${500} />` : html`<${Empty} title="No workers">Nothing claims tasks, and no task is leased. A program with <code>insula::Runner</code> is one, and so is a session that calls <code>insula.claim()</code>.<//>`)}<//><//>`}
    <${Panel} title="Leases" note="tasks that run, the next to end first" flush><${Shown} view=${leases}>${({ leases: rows }) => (rows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Table of leases"><table class="grid two-lines"><thead><tr><th>Task</th><th>Execution</th>${all && html`<th>Tenant</th>`}<th>Worker</th><th class="n">Attempt</th><th class="n">Runs for</th><th class="n">Lease</th><th class="n" title="When the task's time limit ends it">Limit</th></tr></thead>
      <tbody>${rows.slice(0, 500).map((row) => html`<tr key=${row.task_id}><td><b class="strong">${row.workflow}</b><div class="faint">${row.task}</div></td><td><a data-row class="mono" href=${link(`execution/${row.execution_id}`)}>${row.execution_id}</a></td>${all && html`<td>${row.tenant}</td>`}<td>${cut(row.worker, 60)}</td><td class="n">${row.attempt}</td><td class="n"><${Since} from=${row.started_at} /></td><td class="n"><${Lease} from=${row.started_at} until=${row.lease_expires} /></td><td class="n"><${Time} at=${row.deadline} /></td></tr>`)}</tbody></table></div><${More} rows=${rows} most=${500} />` : html`<${Empty} title="Nothing runs">No task is leased to a worker.<//>`)}<//><//></div>`;
}
