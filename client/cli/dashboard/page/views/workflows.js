// The workflows of a tenant, to run, pause and resume.
import { html, useState } from "../core/html.js";
import { useView } from "../core/api.js";
import { link } from "../core/router.js";
import { Confirm } from "../parts/dialog.js";
import { Badge, Empty, More, Panel, Shown, plain } from "../parts/common.js";
import { RunDialog } from "../parts/run-dialog.js";
import { say } from "../parts/toast.js";
import { Time } from "../core/time.js";

export function Workflows({ hello, tenant }) {
  const own = hello.tenant ? "" : tenant;
  const view = useView("workflows", { tenant: own }, 10000);
  const [asked, setAsked] = useState(null);
  const [run, setRun] = useState(null);
  const all = hello.admin && !tenant;
  const whose = (row) => (hello.tenant ? "" : row.tenant);
  return html`<div class="stack"><${Panel} label="Workflows" title=${null} flush><${Shown} view=${view} rows=${8}>${({ workflows }) => (workflows.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Table of workflows"><table class=${`grid${workflows.some((row) => row.description) ? " two-lines" : ""}`}><thead><tr><th>Workflow</th>${all && html`<th>Tenant</th>`}<th>State</th><th class="n">Version</th><th class="n">Tasks</th><th class="n">Since</th><th><span class="unseen">Actions</span></th></tr></thead>
    <tbody>${workflows.slice(0, 500).map((row) => html`<tr key=${`${row.tenant}/${row.workflow}`}><td><a data-row class="strong" href=${link("executions", { tenant: whose(row), workflow: row.workflow })}>${row.workflow}</a>${row.description && html`<div class="faint clip">${plain(row.description)}</div>`}</td>${all && html`<td>${row.tenant}</td>`}<td><${Badge} word=${row.status} /></td><td class="n">${row.version}</td><td class="n">${row.tasks}</td><td class="n"><${Time} at=${row.registered_at} /></td>
      <td class="row-actions">${hello.actions && html`<button class="button small" onClick=${() => setRun(row)}>Run</button><button class="button small" onClick=${() => setAsked(row)}>${row.status === "paused" ? "Resume" : "Pause"}</button>`}</td></tr>`)}</tbody></table></div><${More} rows=${workflows} most=${500} />` : html`<${Empty} title="No workflows">A worker registers its own when it starts, and <code>insula workflow register</code> does, too.<//>`)}<//><//>
    ${asked && html`<${Confirm} title=${`${asked.status === "paused" ? "Resume" : "Pause"} ${asked.workflow}?`} text=${asked.status === "paused" ? "Its tasks are claimed again." : "No task of it is claimed any more; what runs may end, and submissions wait."} verb=${asked.status === "paused" ? "Resume" : "Pause"} reason=${false} request=${{ verb: asked.status === "paused" ? "resume_workflow" : "pause_workflow", name: asked.workflow, tenant: whose(asked) }} done=${() => { say("Done"); view.reload(); }} close=${() => setAsked(null)} />`}
    ${run && html`<${RunDialog} tenant=${whose(run)} workflow=${run.workflow} hello=${hello} close=${() => setRun(null)} />`}</div>`;
}
