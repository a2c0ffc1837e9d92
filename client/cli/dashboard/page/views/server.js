// The server: what holds it up, what runs out, what is not as it should be, each with the command that mends it.
import { html } from "../core/html.js";
import { useView } from "../core/api.js";
import { link } from "../core/router.js";
import { Badge, Command, Empty, Panel, Shown, plain } from "../parts/common.js";
import { Icon } from "../parts/icons.js";
import { Sentence, Time, count } from "../core/time.js";

// An execution leads to its page, which says more.
function Subject({ text }) {
  const id = /^execution (\d+)$/.exec(text ?? "");
  return id ? html`<a data-row href=${link(`execution/${id[1]}`)}>${text}</a>` : plain(text);
}

function Findings({ rows, none }) {
  if (!rows.length) return html`<${Empty} title=${none} icon="good" />`;
  return html`<ul class="findings">${rows.map((row, i) => html`<li key=${i}><${Badge} word=${row.level} /><div><b>${row.tenant && html`${row.tenant}: `}<${Subject} text=${row.object} /></b> <span><${Sentence} text=${plain(row.finding)} /></span></div><${Command} text=${row.mend} /></li>`)}</ul>`;
}

function Capacity({ rows }) {
  return html`<table class="grid capacity"><thead><tr><th>What</th><th class="n">Used</th><th class="n">Of</th><th><span class="unseen">Part</span></th><th>Setting</th></tr></thead><tbody>${rows.map((row) => {
    const part = row.used === null || row.available === null ? null : Math.min(1, Number(row.used) / Math.max(1, Number(row.available)));
    return html`<tr key=${row.item} class=${row.advice ? "warn" : ""}><td>${row.item}${row.advice && html`<div class="held-text">${row.advice}</div>`}</td><td class="n">${count(row.used)}</td><td class="n">${count(row.available)}</td><td class="meter-cell">${part !== null && html`<span class=${`meter${row.advice ? " held" : ""}`} role="img" aria-label=${`${(part * 100).toFixed(part < 0.01 ? 2 : 0)} percent`}><b style=${{ width: `${Math.max(part * 100, part > 0 ? 1 : 0)}%` }} /></span>`}</td><td>${row.setting ? html`<code>${row.setting}</code>` : html`<span class="faint">–</span>`}</td></tr>`;
  })}</tbody></table>`;
}

function Acts({ view }) {
  return html`<${Panel} title="Administrative acts" note="the last thirty" flush><${Shown} view=${view} rows=${4}>${(data) => html`${data.log_error && html`<p class="wrong">${data.log_error}</p>`}${data.log.length ? html`<div class="scroll low" tabindex="0" role="region" aria-label="Table of administrative acts"><table class="grid snug"><thead><tr><th>When</th><th>Role</th><th>Act</th><th>Tenant</th></tr></thead><tbody>${data.log.map((row) => html`<tr key=${row.log_id}><td><${Time} at=${row.at} /></td><td>${plain(row.role)}</td><td title=${plain(row.detail)}><code>${row.act}</code></td><td>${row.tenant ?? ""}</td></tr>`)}</tbody></table></div>` : html`<${Empty} title="No acts yet" />`}`}<//><//>`;
}

export function Server() {
  const server = useView("server", {}, 10000);
  const audit = useView("audit", {}, 0);
  const wrong = (data, name) => data[`${name}_error`] && html`<p class="wrong">${data[`${name}_error`]}</p>`;
  return html`<div class="stack"><div class="columns two"><div class="stack"><${Panel} title="Health" note="what holds something up, or will" flush><${Shown} view=${server} rows=${3}>${(data) => html`${wrong(data, "health")}<${Findings} rows=${data.health} none="Nothing holds it up" />`}<//><//>
      <${Acts} view=${server} /></div>
      <${Panel} title="Status"><${Shown} view=${server}>${(data) => html`${wrong(data, "status")}<dl class="pairs">${data.status.map((row) => html`<div key=${row.item} class=${row.mend ? "warn" : ""}><dt>${row.item}</dt><dd>${row.value}${row.mend && html`<br /><${Command} text=${row.mend} />`}</dd></div>`)}</dl>`}<//><//></div>
    <${Panel} title="Audit" note="rights and objects that are not as Insula made them" flush actions=${html`<button class="ghost" aria-label="Look again" title="Look again" onClick=${audit.reload}><${Icon} name="retry" size=${15} /></button>`}><${Shown} view=${audit} rows=${4}>${({ audit: rows }) => html`<${Findings} rows=${rows} none="All is as it was made" />`}<//><//>
    <${Panel} title="Capacity" note="sizes against settings" flush><${Shown} view=${server} rows=${8}>${(data) => html`${wrong(data, "capacity")}<div class="scroll" tabindex="0" role="region" aria-label="Table of capacity"><${Capacity} rows=${data.capacity} /></div>`}<//><//></div>`;
}
