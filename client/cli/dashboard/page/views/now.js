// What happens now: rates, depth, how long tasks wait for a worker, what fails, and what holds things up.
import { html, useEffect, useMemo, useRef, useState } from "../core/html.js";
import { useView } from "../core/api.js";
import { link } from "../core/router.js";
import { Chart } from "../parts/chart.js";
import { Command, Empty, Panel, Shown, plain } from "../parts/common.js";
import { Since, Time, count, duration, rate } from "../core/time.js";

const kept = 300;
const period = 2000;

// The series of samples, read on from where it ended.
function useSamples(tenant) {
  const [samples, setSamples] = useState([]);
  const state = useRef({ last: 0, all: [], tenant });
  if (state.current.tenant !== tenant) state.current = { last: 0, all: [], tenant };
  const look = useView("samples", { tenant }, period, () => ({ after: state.current.last }));
  useEffect(() => {
    if (!look.data) return;
    const fresh = look.data.samples.filter((sample) => !state.current.all.length || sample.at > state.current.all[state.current.all.length - 1].at);
    state.current.last = look.data.last;
    if (!fresh.length) return;
    state.current.all = [...state.current.all, ...fresh].slice(-kept);
    setSamples(state.current.all);
  }, [look.data, tenant]);
  return { samples, look };
}

// The bound under which that part of the waits lies: the first counts those below 1 ms, each next those below twice as much.
function waitBound(waits, part) {
  const all = waits.reduce((sum, n) => sum + n, 0);
  if (!all) return null;
  let seen = 0;
  for (let i = 0; i < waits.length; i += 1) {
    seen += waits[i];
    if (seen >= part * all) return 2 ** i;
  }
  return 2 ** (waits.length - 1);
}

const histogram = (sample) => (sample.waits ? JSON.parse(sample.waits) : []);
const gone = (a, b, name) => {
  const n = (b[name] ?? 0) - (a[name] ?? 0);
  return n < 0 || b[name] === null || b[name] === undefined ? null : n; // counters began anew
};

function chartsOf(samples) {
  const steps = samples.slice(1).map((sample, i) => ({ before: samples[i], sample, seconds: (sample.at - samples[i].at) / 1000 })).filter((step) => step.seconds > 0.5 && step.seconds < 60);
  const times = steps.map((step) => step.sample.at / 1000);
  const rates = (name) => steps.map(({ before, sample, seconds }) => { const n = gone(before, sample, name); return n === null ? null : n / seconds; });
  const depth = (name) => steps.map(({ sample }) => sample[name]);
  const waits = steps.map(({ sample }, i) => {
    if (!sample.waits) return null;
    const from = steps[Math.max(0, i - 14)].before; // the last half minute
    const old = histogram(from);
    const delta = histogram(sample).map((n, place) => n - (old[place] ?? 0));
    return delta.some((n) => n < 0) ? null : delta;
  });
  const bound = (part, own) => steps.map(({ sample }, i) => (waits[i] ? waitBound(waits[i], part) : sample[own] ?? null));
  return { times, rates, depth, p50: bound(0.5, "p50"), p99: bound(0.99, "p99"), steps };
}

const palette = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];

// Parts of the claims, of the tenants with most, beside the parts of the weights that these have.
function sharesOf(samples) {
  const has = samples.filter((sample) => sample.top);
  if (has.length < 2) return null;
  const tops = has.slice(-151).map((sample) => ({ at: sample.at, top: new Map(JSON.parse(sample.top).map((one) => [one.tenant, one])) }));
  const totals = new Map();
  const slots = [];
  const wide = Math.max(1, Math.ceil(tops.length / 60));
  for (let i = wide; i < tops.length; i += wide) {
    const slot = new Map();
    for (const [tenant, one] of tops[i].top) {
      const n = one.started - (tops[i - wide].top.get(tenant)?.started ?? one.started);
      if (n > 0) {
        slot.set(tenant, n);
        totals.set(tenant, (totals.get(tenant) ?? 0) + n);
      }
    }
    slots.push({ at: tops[i].at, slot });
  }
  const names = [...totals].sort((a, b) => b[1] - a[1]).slice(0, palette.length).map(([tenant]) => tenant);
  const all = [...totals.values()].reduce((sum, n) => sum + n, 0);
  const last = tops[tops.length - 1].top;
  const weights = names.reduce((sum, tenant) => sum + (last.get(tenant)?.weight ?? 1), 0);
  return { slots, all, tenants: names.map((tenant, i) => ({ tenant, colour: palette[i], share: totals.get(tenant) / all, weight: last.get(tenant)?.weight ?? 1, part: (last.get(tenant)?.weight ?? 1) / weights })) };
}

function Fairness({ samples }) {
  const shares = useMemo(() => sharesOf(samples), [samples]);
  const percent = (part) => `${Math.round(part * 100)} %`;
  return html`<${Panel} title="Fairness" note="claims, beside weights">
    ${!shares || !shares.tenants.length ? html`<p class="gathering tall">No claims in these minutes.</p>` : html`<div class="strip" aria-hidden="true">${shares.slots.map(({ at, slot }) => {
      const sum = [...slot.values()].reduce((a, b) => a + b, 0);
      return html`<i key=${at}>${sum > 0 && shares.tenants.map((one) => html`<b key=${one.tenant} class=${one.colour.slice(2)} style=${{ height: `${((slot.get(one.tenant) ?? 0) / sum) * 100}%` }} />`)}</i>`;
    })}</div>
    <table class="mini"><thead><tr><th>Tenant</th><th class="n">Of claims</th><th class="n">Of weights</th><th class="n">Weight</th></tr></thead><tbody>${shares.tenants.map((one) => html`<tr key=${one.tenant}><td><i class=${`swatch ${one.colour.slice(2)}`} /><a class="strong" href=${link("tenants", { open: one.tenant })}>${one.tenant}</a></td><td class="n">${percent(one.share)}</td><td class="n">${percent(one.part)}</td><td class="n">${one.weight}</td></tr>`)}</tbody></table>`}<//>`;
}

function Tile({ label, value, href = null, kind = "", note = "" }) {
  const inside = html`<span>${label}</span><b>${value}</b><small>${note || "\u00a0"}</small>`;
  return href ? html`<a class=${`tile ${kind}`} href=${href}>${inside}</a>` : html`<div class=${`tile ${kind}`}>${inside}</div>`;
}

const mostErrors = 8;

export function Failures({ tenant, since = "1 hour", all }) {
  const span = since.replace(/^1 /, "");
  const failures = useView("failures", { since, tenant }, 10000);
  return html`<${Panel} title="What fails" note=${`in the last ${span}, by error`} flush>
    <${Shown} view=${failures} rows=${3}>${({ failures: rows }) => (rows.length ? html`<ul class="failures">${rows.slice(0, mostErrors).map((row) => html`<li key=${`${row.tenant}/${row.workflow}/${row.task}/${row.error}`}><a data-row href=${link(`execution/${row.example}`)}>
      <span class="error">${row.error ? plain(row.error) : "without a word"}</span><span class="where">${all && html`<b>${row.tenant}</b> · `}${row.workflow}${row.task ? ` · ${row.task}` : ""}</span>
      <span class="counts"><b class="bad">${count(row.failed)}</b> failed${row.retrying !== "0" ? html`, <b class="held">${count(row.retrying)}</b> retrying` : ""}<small><${Time} at=${row.last_at} /></small></span></a></li>`)}</ul>${rows.length > mostErrors && html`<p class="foot faint">The ${mostErrors} errors with most failures. <a href=${link("executions", { status: "failed", tenant })}>All failed executions</a></p>`}` : html`<${Empty} title="Nothing has failed" icon="good">In the last ${span} no task has failed for good or waits for a further try.<//>`)}<//><//>`;
}

function HoldsUp({ hello, tenant }) {
  const now = useView(hello.admin ? "now" : null, { tenant }, 4000);
  if (!hello.admin) return null;
  return html`<${Panel} title="Oldest ready" note="waiting for a worker" flush>
    <${Shown} view=${now} rows=${3}>${({ oldest, holder }) => html`${oldest.length ? html`<div class="scroll"><table class="snug"><thead><tr><th>Tenant</th><th class="n">Ready</th><th class="n">For</th></tr></thead><tbody>${oldest.map((row) => html`<tr key=${row.tenant}><td><a data-row class="strong" href=${link("tenants", { open: row.tenant })}>${row.tenant}</a>${row.status === "suspended" ? html` <span class="badge held">suspended</span>` : ""}</td><td class="n">${count(row.ready)}</td><td class="n"><${Since} from=${row.oldest_ready_at} /></td></tr>`)}</tbody></table></div>` : html`<${Empty} title="Nothing waits" icon="good">No task is ready and without a worker.<//>`}
      <div class="holder"><h3>Oldest snapshot</h3>${holder.length ? html`<p><b>${holder[0].role ?? "?"}</b>${holder[0].application && html` <span class="faint">${plain(holder[0].application)}</span>`} holds it since <${Since} from=${holder[0].xact_start} /> (${holder[0].state ?? "?"}, ${count(holder[0].transactions)} transactions). Dead rows stay until it ends.</p><${Command} text=${`SELECT pg_terminate_backend(${holder[0].pid})`} />` : html`<p class="faint">No session holds one for longer than a second.</p>`}</div>`}<//><//>`;
}

export function Now({ hello, tenant }) {
  const { samples, look } = useSamples(hello.tenant ? "" : tenant);
  const charts = useMemo(() => chartsOf(samples), [samples]);
  const last = samples[samples.length - 1] ?? {};
  const rateNow = (name) => { const all = charts.rates(name); return all.length ? all[all.length - 1] : null; };
  const own = !hello.admin;
  const executions = (status) => link("executions", { status, tenant: hello.tenant ? "" : tenant });
  return html`<div class="now">${look.error && !samples.length && html`<${Shown} view=${look} />`}
    <div class="tiles"><${Tile} label="Ready" value=${count(last.ready)} note="for a worker" kind="c-ready" /><${Tile} label="Running" value=${count(last.running)} note=${own ? "tasks" : `${rate(rateNow("started"))} starts/s`} kind="c-running" href=${executions("running")} />
      <${Tile} label="Delayed" value=${count(last.delayed)} note="start or retry later" /><${Tile} label="Waiting" value=${count(last.waiting)} note="for time or event" /><${Tile} label="Paused" value=${count(last.paused)} note="tasks" href=${executions("paused")} />
      <${Tile} label="Failed" value=${count(last.failed)} note="since counters began" kind=${last.failed > 0 ? "c-bad" : ""} href=${executions("failed")} /></div>
    <div class="charts"><${Chart} title="Rates" note="a second" format=${rate} data=${useMemo(() => (own ? [charts.times, charts.rates("submitted"), charts.rates("ended"), charts.rates("failed")] : [charts.times, charts.rates("submitted"), charts.rates("started"), charts.rates("completed"), charts.rates("failed")]), [charts])}
        series=${own ? [{ name: "submitted", colour: "--c1" }, { name: "runs ended", colour: "--c2" }, { name: "failed", colour: "--c-bad", fill: true }] : [{ name: "submitted", colour: "--c1" }, { name: "claimed", colour: "--c3" }, { name: "completed", colour: "--c2" }, { name: "failed", colour: "--c-bad", fill: true }]} />
      <${Chart} title="Depth" note="tasks" format=${count} data=${useMemo(() => [charts.times, charts.depth("ready"), charts.depth("running"), charts.depth("delayed")], [charts])} series=${[{ name: "ready", colour: "--c4", fill: true }, { name: "running", colour: "--c1" }, { name: "delayed", colour: "--c5" }]} />
      <${Chart} title="Pick-up" note="from ready to claimed" isTime format=${(ms) => (ms === 0 ? "0" : duration(ms))} data=${useMemo(() => [charts.times, charts.p50, charts.p99], [charts])} series=${[{ name: "half within", colour: "--c2", steps: true }, { name: "99 % within", colour: "--c4", steps: true }]} /></div>
    <div class=${own ? "columns one" : "columns"}><${Failures} tenant=${hello.tenant ? "" : tenant} all=${hello.admin && !tenant} /><${HoldsUp} hello=${hello} tenant=${tenant} />${hello.admin && html`<${Fairness} samples=${samples} />`}</div></div>`;
}
