// The graph of an execution's tasks with their states. A node can be reached and chosen by keys.
import { html, useLayoutEffect, useMemo, useRef, useState } from "../core/html.js";
import { Graph, layout } from "../vendor/dagre.js";
import { kindOf } from "./common.js";
import { StateIcon } from "./icons.js";
import { duration } from "../core/time.js";

const height = 44;
const mostNodes = 300;
const widthOf = (text) => Math.min(250, Math.max(160, 46 + text.length * 7.3));
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function layOut(tasks, direction) {
  const graph = new Graph();
  graph.setGraph({ rankdir: direction, nodesep: direction === "LR" ? 16 : 20, ranksep: direction === "LR" ? 34 : 34, marginx: 6, marginy: 6 });
  graph.setDefaultEdgeLabel(() => ({}));
  const ids = new Set(tasks.map((task) => task.id));
  for (const task of tasks) graph.setNode(task.id, { width: widthOf(task.id), height });
  for (const task of tasks)
    for (const before of task.depends) if (ids.has(before)) graph.setEdge(before, task.id);
  layout(graph);
  const { width = 0, height: tall = 0 } = graph.graph();
  return {
    width, height: tall,
    nodes: tasks.map((task) => ({ task, ...graph.node(task.id) })),
    edges: graph.edges().map(({ v, w }) => ({ from: v, to: w, points: graph.edge(v, w).points })),
  };
}

function curve(points) {
  const [first, ...rest] = points;
  let path = `M${first.x},${first.y}`;
  for (let i = 0; i < rest.length - 1; i += 1) {
    const middle = i === rest.length - 2 ? rest[i + 1] : { x: (rest[i].x + rest[i + 1].x) / 2, y: (rest[i].y + rest[i + 1].y) / 2 };
    path += `Q${rest[i].x},${rest[i].y} ${middle.x},${middle.y}`;
  }
  return rest.length === 1 ? `${path}L${rest[0].x},${rest[0].y}` : path;
}

// `tasks`: {id, depends, status, attempt, took, elements: {ended, all}}.
export function Dag({ tasks, chosen, choose }) {
  const box = useRef(null);
  const [room, setRoom] = useState(1000);
  const direction = room < 560 ? "TB" : "LR";
  useLayoutEffect(() => {
    const look = () => { if (box.current) setRoom(box.current.clientWidth - 24); };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const shape = tasks.map((task) => `${task.id}<${task.depends}`).join("|");
  const shown = tasks.slice(0, mostNodes);
  const plan = useMemo(() => layOut(shown, direction), [shape, direction]);
  // A little smaller rather than cut off.
  const scale = plan.width > room && plan.width * 0.72 <= room ? room / plan.width : 1;
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const pick = (event, id) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(id === chosen ? null : id);
  };
  return html`<div class="dag" ref=${box}>
    <svg width=${plan.width * scale} height=${plan.height * scale} viewBox=${`0 0 ${plan.width} ${plan.height}`} role="group" aria-label=${`Graph of ${tasks.length} tasks`}>
      <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0.5 1l6.5 3-6.5 3" fill="none" stroke="context-stroke" stroke-width="1.3" /></marker></defs>
      ${plan.edges.map((edge) => html`<path key=${`${edge.from}>${edge.to}`} class=${`edge ${byId.get(edge.from)?.status === "completed" ? "passed" : ""}`} d=${curve(edge.points)} marker-end="url(#arrow)" />`)}
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
    ${tasks.length > mostNodes && html`<p class="faint">The first ${mostNodes} of ${tasks.length} tasks.</p>`}</div>`;
}
