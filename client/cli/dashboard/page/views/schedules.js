// What the clock submits: the next fires, what the last one made, and running or pausing one.
import { html, useState } from "../core/html.js";
import { useView } from "../core/api.js";
import { go, link } from "../core/router.js";
import { Confirm } from "../parts/dialog.js";
import { Badge, Empty, More, Panel, Shown, Status } from "../parts/common.js";
import { say } from "../parts/toast.js";
import { Since, Time, exactTime, parseTime, serverNow } from "../core/time.js";

const questions = {
  run_schedule: ["Run it now?", "One execution with the schedule's input, beside what it fires by itself.", "Run now"],
  pause_schedule: ["Pause it?", "It fires no more until it is resumed.", "Pause"],
  resume_schedule: ["Resume it?", "It fires again, from now on.", "Resume"],
};

// `late`: since when it should have fired.
function Fires({ fires, late }) {
  if (late) return html`<span class="badge held" title="An earlier execution still runs and it waits for its end, its jitter puts it off, or the scheduler has not come to it">due for <${Since} from=${late} /></span>`;
  const times = (fires ? JSON.parse(fires) : []).map(parseTime).filter((time) => time !== null);
  if (!times.length) return html`<span class="faint">–</span>`;
  return html`<span title=${times.map(exactTime).join("\n")}>${times[0] <= serverNow() ? "due" : html`<${Time} at=${new Date(times[0]).toISOString()} />`}${times.length > 1 && html`<span class="faint"> +${times.length - 1}</span>`}</span>`;
}

const mostMissed = 20;
const passedOver = "Times of its cron since the last fire that made an execution, at which it made none: too late by catch-up's rules, in an overlap or a pause, before its start, or before it was given this cron";
function Missed({ row }) {
  if (!row.missed) return html`<span class="faint" title=${row.missed === null ? "It has not fired yet, or fires no more" : "It has made an execution at each of its times since the last one"}>${row.missed === null ? "–" : "0"}</span>`;
  return html`<span class="badge held" title=${passedOver}>${row.missed}${row.missed >= mostMissed ? " or more" : ""}</span>`;
}

export function Schedules({ hello, tenant }) {
  const own = hello.tenant ? "" : tenant;
  const all = hello.admin && !tenant;
  const view = useView(all ? "all_schedules" : "schedules", all ? {} : { tenant: own }, 5000);
  const [asked, setAsked] = useState(null);
  const whose = (row) => (hello.tenant ? "" : row.tenant);
  const question = asked && questions[asked.verb];
  return html`<div class="stack"><${Panel} label="Schedules" title=${null} flush><${Shown} view=${view} rows=${8}>${({ schedules }) => (schedules.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Table of schedules"><table class="grid two-lines"><thead><tr><th>Schedule</th><th>When</th><th>State</th><th class="n">Next fire</th><th>Last fire</th><th class="n" title=${passedOver}>Passed over</th><th><span class="unseen">Actions</span></th></tr></thead>
    <tbody>${schedules.slice(0, 300).map((row) => html`<tr key=${`${row.tenant}/${row.name}`}><td><b class="strong">${row.name}</b><div><a data-row href=${link("executions", { tenant: whose(row), workflow: row.workflow })}>${row.workflow}</a>${all && html` <span class="faint">of</span> <a href=${link("schedules", { tenant: row.tenant })}>${row.tenant}</a>`}</div></td><td><code>${row.cron}</code><div class="faint">${row.timezone}</div></td><td><${Badge} word=${row.status} /></td>
      <td class="n"><${Fires} fires=${row.fires} late=${row.late_since} /></td><td><${Time} at=${row.last_fire_at} />${row.last_execution && html`<div><a href=${link(`execution/${row.last_execution}`)} title=${`execution ${row.last_execution}`}>${row.last_status ? html`<${Status} status=${row.last_status} />` : html`<span class="faint">removed</span>`}</a></div>`}</td><td class="n"><${Missed} row=${row} /></td>
      <td class="row-actions">${hello.actions && html`<button class="button small" onClick=${() => setAsked({ verb: "run_schedule", row })}>Run now</button>${row.status !== "ended" && html`<button class="button small" onClick=${() => setAsked({ verb: row.status === "paused" ? "resume_schedule" : "pause_schedule", row })}>${row.status === "paused" ? "Resume" : "Pause"}</button>`}`}</td></tr>`)}</tbody></table></div>
      <${More} rows=${schedules} most=${300} />${all && html`<p class="foot faint">The first 20 schedules of each of the first 200 tenants, by name. Choose a tenant to see all that it has.</p>`}` : html`<${Empty} title="No schedules"><code>insula schedule add nightly invoice '0 3 * * *'</code> makes one.<//>`)}<//><//>
    ${asked && html`<${Confirm} title=${`${asked.row.name}: ${question[0]}`} text=${question[1]} verb=${question[2]} reason=${false} keyed=${asked.verb === "run_schedule"} request=${{ verb: asked.verb, name: asked.row.name, tenant: whose(asked.row) }} done=${(answer) => { say(answer.execution_id ? `Execution ${answer.execution_id} is submitted` : "Done"); if (answer.execution_id) go(`execution/${answer.execution_id}`); else view.reload(); }} close=${() => setAsked(null)} />`}</div>`;
}
