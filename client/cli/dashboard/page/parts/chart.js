// Lines over time, by uPlot; above them their names with the newest values, which a screen reader reads in their place.
import { html, useEffect, useRef, useState } from "../core/html.js";
import { colour, onTheme } from "../core/theme.js";
import { clockTime } from "../core/time.js";

const tall = 168;
const seconds = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600]; // between two marks: less than one would repeat a time

// An axis has room for whole units of durations, and for millions of large numbers.
const minutes = 60000;
const times = [0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 15000, ...[1, 2, 5, 10, 20, 60, 120, 360, 720, 1440, 2880, 10080].map((n) => n * minutes)];
const short = (n, format) => (n >= 1e9 ? `${n / 1e9} G` : n >= 1e6 ? `${n / 1e6} M` : format(n));

function options(series, width, format, isTime) {
  const line = colour("--line");
  const text = colour("--text-3");
  const font = "11px system-ui, sans-serif";
  return {
    width, height: tall, legend: { show: false }, cursor: { y: false, points: { size: 6 } }, padding: [8, 26, 0, 0],
    scales: { x: { time: true }, y: { range: (u, low, high) => [0, Math.max(1, (high ?? 1) * 1.15)] } },
    axes: [
      { stroke: text, font, grid: { show: false }, ticks: { show: false }, size: 24, space: 60, incrs: seconds, values: (u, splits, axis, space, step) => splits.map((at) => clockTime(at * 1000).slice(0, step >= 60 ? 5 : 8)) },
      { stroke: text, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, size: 46, space: 34, ...(isTime ? { incrs: times } : {}), values: (u, splits) => splits.map((n) => (isTime ? format(n) : short(n, format))) },
    ],
    series: [{}, ...series.map((one) => ({
      stroke: colour(one.colour), width: 1.6, points: { show: false }, spanGaps: false,
      fill: one.fill ? `${colour(one.colour)}2e` : undefined, dash: one.dash, paths: one.steps ? window.uPlot.paths.stepped({ align: 1 }) : undefined,
    }))],
  };
}

// `data`: [times in seconds, values of the first series, ...]; `shown`: the newest values, where they are not the last.
export function Chart({ title, series, data, format, isTime = false, note = null }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [at, setAt] = useState(null);
  const has = data[0].length > 1;
  useEffect(() => {
    if (!has || !window.uPlot) return undefined;
    const make = () => {
      plot.current?.destroy();
      const wanted = options(series, Math.max(80, box.current.clientWidth), format, isTime);
      wanted.hooks = { setCursor: [(u) => setAt(u.cursor.idx ?? null)] };
      plot.current = new window.uPlot(wanted, data, box.current);
    };
    make();
    const observer = new ResizeObserver(() => { if (box.current && plot.current && Math.abs(plot.current.width - box.current.clientWidth) > 1) plot.current.setSize({ width: Math.max(80, box.current.clientWidth), height: tall }); });
    observer.observe(box.current);
    const forget = onTheme(make);
    return () => {
      observer.disconnect();
      forget();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [has, series.map((one) => one.name).join()]);
  useEffect(() => { plot.current?.setData(data); }, [data]);
  const row = at !== null && at < data[0].length ? at : data[0].length - 1;
  return html`<section class="panel chart" aria-label=${title}><header><h2>${title}</h2>${note && html`<span class="note">${note}</span>`}<span class="grow" />
      <span class="note">${at !== null && data[0][row] ? clockTime(data[0][row] * 1000) : ""}</span></header>
    <ul class="keys">${series.map((one, i) => html`<li key=${one.name}><i class=${`swatch ${one.colour.slice(2)}`} />${one.name} <b>${row >= 0 && data[i + 1][row] !== null && data[i + 1][row] !== undefined ? format(data[i + 1][row]) : "–"}</b></li>`)}</ul>
    <div class="plot" ref=${box} role="img" aria-label=${`${title} over the last minutes`}>${!has && html`<p class="gathering">The first points come in a moment.</p>`}</div></section>`;
}
