// The graph of an execution's tasks with their states. A node can be reached and chosen by keys.
import { html, useLayoutEffect, useMemo, useRef, useState } from "../core/html.js";
import { Graph, layout } from "../vendor/dagre.js";
import { Status, kindOf } from "./common.js";
import { StateIcon } from "./icons.js";
import { duration } from "../core/time.js";

const height = 44;
const mostNodes = 300;
const smallest = 0.72; // that a graph is drawn in, of its size
const mostTurned = 60; // tasks
const tallest = 620;
const arrowRoom = 6; // that goes straight to the node
const mostSpans = 2000; // of ranks, by all edges together
const widthOf = (text) => Math.min(250, Math.max(176, 46 + text.length * 7.3)); // room for "completed · attempt 12"
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// The edges between the tasks that are shown, as places in the list: a tenant's word is no key of any object.
function edgesOf(tasks) {
  const places = new Map(tasks.map((task, i) => [task.id, i]));
  return tasks.flatMap((task, to) => [...new Set(task.depends)].filter((before) => places.has(before)).map((before) => [places.get(before), to]));
}

// Each task's rank, that of the longest path to it, and the order in which all come after what they depend on.
function ranksOf(size, edges) {
  const after = Array.from({ length: size }, () => []);
  const open = new Array(size).fill(0);
  for (const [from, to] of edges) { after[from].push(to); open[to] += 1; }
  const ranks = new Array(size).fill(0);
  const order = [...open.keys()].filter((i) => open[i] === 0);
  for (const from of order)
    for (const to of after[from]) {
      ranks[to] = Math.max(ranks[to], ranks[from] + 1);
      if (--open[to] === 0) order.push(to);
    }
  return { ranks, order };
}

// Without the edges that a longer path implies.
function reduced(size, edges, order) {
  const before = Array.from({ length: size }, () => []);
  for (const [from, to] of edges) before[to].push(from);
  const all = new Array(size).fill(0n); // a bit for each task that comes before
  const implied = new Array(size).fill(0n);
  for (const to of order) {
    for (const from of before[to]) implied[to] |= all[from];
    all[to] = before[to].reduce((bits, from) => bits | (1n << BigInt(from)), implied[to]);
  }
  return edges.filter(([from, to]) => !((implied[to] >> BigInt(from)) & 1n));
}

// The time of a layout goes by the ranks that edges cross. Null: too many to draw.
export function edgesToDraw(tasks) {
  const edges = edgesOf(tasks);
  const { ranks, order } = ranksOf(tasks.length, edges);
  const spans = (some) => some.reduce((sum, [from, to]) => sum + ranks[to] - ranks[from], 0);
  if (spans(edges) <= mostSpans) return edges;
  const fewer = reduced(tasks.length, edges, order);
  return spans(fewer) <= mostSpans ? fewer : null;
}

function layOut(tasks, direction) {
  const edges = edgesToDraw(tasks);
  if (!edges) return null;
  const graph = new Graph();
  graph.setGraph({ rankdir: direction, nodesep: direction === "LR" ? 16 : 20, ranksep: direction === "LR" ? 34 : 34, marginx: 6, marginy: 6 });
  graph.setDefaultEdgeLabel(() => ({}));
  tasks.forEach((task, i) => graph.setNode(`n${i}`, { width: widthOf(task.id), height }));
  for (const [from, to] of edges) graph.setEdge(`n${from}`, `n${to}`);
  layout(graph);
  const { width = 0, height: tall = 0 } = graph.graph();
  const nodes = tasks.map((task, i) => ({ task, ...graph.node(`n${i}`) }));
  const isWide = direction === "LR";
  const ranks = new Map(); // by where their middle is: how far they reach
  for (const node of nodes) {
    const at = Math.round(isWide ? node.x : node.y);
    ranks.set(at, Math.max(ranks.get(at) ?? 0, (isWide ? node.width : node.height) / 2));
  }
  return {
    width, height: tall, nodes,
    edges: edges.map(([from, to]) => ({ from: tasks[from].id, to: tasks[to].id, path: curve(graph.edge(`n${from}`, `n${to}`).points, nodes[from], nodes[to], ranks, isWide) })),
  };
}

// An edge leaves in the middle of a side and comes in at the middle of the opposite one. It changes its lane between the
// ranks alone, so that it never lies behind a task: beside those of a rank it goes straight on. `d`: along the ranks,
// `a`: across them.
function curve(points, from, to, ranks, isWide) {
  const [d, a, size] = isWide ? ["x", "y", "width"] : ["y", "x", "height"];
  const text = (along, across) => (isWide ? `${along},${across}` : `${across},${along}`);
  let along = from[d] + from[size] / 2;
  let across = from[a];
  let path = `M${text(along, across)}`;
  const changeLane = (nextAlong, nextAcross) => {
    const middle = (along + nextAlong) / 2;
    path += Math.abs(nextAcross - across) < 0.5 ? `L${text(nextAlong, across)}` : `C${text(middle, across)} ${text(middle, nextAcross)} ${text(nextAlong, nextAcross)}`;
    [along, across] = [nextAlong, nextAcross];
  };
  for (const point of points.slice(1, -1)) {
    const half = ranks.get(Math.round(point[d]));
    if (half === undefined || point[d] - half <= along) continue; // between two ranks
    changeLane(point[d] - half, point[a]);
    along = point[d] + half;
    path += `L${text(along, across)}`;
  }
  changeLane(to[d] - to[size] / 2 - arrowRoom, to[a]);
  return `${path}L${text(to[d] - to[size] / 2, across)}`;
}

// From left to right, or from top to bottom where that would be cut off and this is not.
function place(tasks, room) {
  if (room < 560) return layOut(tasks, "TB");
  const wide = layOut(tasks, "LR");
  if (!wide || wide.width * smallest <= room || tasks.length > mostTurned) return wide;
  const tall = layOut(tasks, "TB");
  return tall.width <= room && tall.height <= tallest ? tall : wide;
}

let drawn = 0; // a page may hold several

// `tasks`: {id, depends, status, attempt, took, elements: {ended, all}}.
export function Dag({ tasks, chosen, choose }) {
  const box = useRef(null);
  const [room, setRoom] = useState(1000);
  const [arrow] = useState(() => `arrow${(drawn += 1)}`);
  useLayoutEffect(() => {
    const look = () => { if (box.current) setRoom(20 * Math.floor((box.current.clientWidth - 24) / 20)); }; // no layout for each pixel
    look();
    const observer = new ResizeObserver(look);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const shape = tasks.map((task) => `${task.id}<${task.depends}`).join("|");
  const shown = tasks.slice(0, mostNodes);
  const plan = useMemo(() => place(shown, room), [shape, room]);
  const rest = tasks.length > mostNodes && html`<p class="faint">The first ${mostNodes} of ${tasks.length} tasks.</p>`;
  if (!plan)
    return html`<div class="dag" ref=${box}><p class="faint">Too many edges to draw.</p>
      <ul class="dag-list">${shown.map((task) => html`<li key=${task.id}><button class="button small" aria-pressed=${task.id === chosen ? "true" : "false"} onClick=${() => choose(task.id === chosen ? null : task.id)}><${Status} status=${task.status} />${cut(task.id, 60)}</button></li>`)}</ul>${rest}</div>`;
  // A little smaller rather than cut off.
  const scale = plan.width > room && plan.width * smallest <= room ? room / plan.width : 1;
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const pick = (event, id) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(id === chosen ? null : id);
  };
  return html`<div class="dag" ref=${box}>
    <svg width=${plan.width * scale} height=${plan.height * scale} viewBox=${`0 0 ${plan.width} ${plan.height}`} role="group" aria-label=${`Graph of ${tasks.length} tasks`}>
      <defs><marker id=${arrow} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0.5 1l6.5 3-6.5 3" fill="none" stroke="context-stroke" stroke-width="1.3" /></marker></defs>
      ${plan.edges.map((edge) => html`<path key=${`${edge.from}>${edge.to}`} class=${`edge ${byId.get(edge.from)?.status === "completed" ? "passed" : ""}`} d=${edge.path} marker-end=${`url(#${arrow})`} />`)}
      ${plan.nodes.map(({ task: { id }, x, y, width }) => {
        const task = byId.get(id);
        const shownId = cut(id, Math.floor((width - 42) / 6.9));
        const more = task.elements ? `${task.elements.ended}/${task.elements.all} elements` : task.attempt > 1 ? `${task.status} · attempt ${task.attempt}` : task.took !== null && task.status !== "skipped" ? `${task.status} · ${duration(task.took)}` : task.status;
        return html`<g key=${id} class=${`node ${kindOf(task.status)} ${id === chosen ? "chosen" : ""}`} transform=${`translate(${x - width / 2},${y - height / 2})`} role="button" tabindex="0"
          aria-pressed=${id === chosen ? "true" : "false"} onClick=${(event) => pick(event, id)} onKeyDown=${(event) => pick(event, id)}>
          ${task.elements && html`<rect class="behind" x="4" y="-4" width=${width} height=${height} rx="8" />`}
          <rect width=${width} height=${height} rx="8" />
          <g class="sign" transform="translate(12,15)"><${StateIcon} status=${task.status} size=${14} /></g>
          <text><tspan class="name" x="34" y="19">${shownId}</tspan>${" "}<tspan class="more" x="34" y="34">${more}</tspan></text></g>`;
      })}
    </svg>
    ${rest}</div>`;
}
