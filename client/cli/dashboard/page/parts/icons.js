// Small pictures, drawn in the colour of the text. A state has a shape besides its colour.
import { html } from "../core/html.js";

const paths = {
  now: "M3 12h4l3 8 4-16 3 8h4",
  executions: "M8 6h13M8 12h13M8 18h13M3.5 6h.01M3.5 12h.01M3.5 18h.01",
  tenants: "M4 21V9l8-6 8 6v12M9 21v-7h6v7M3 21h18",
  workflows: "M6 4.5a2 2 0 1 0 0 4 2 2 0 0 0 0-4ZM18 15.5a2 2 0 1 0 0 4 2 2 0 0 0 0-4ZM6 15.5a2 2 0 1 0 0 4 2 2 0 0 0 0-4ZM6 8.5v7M8 6.5h4a6 6 0 0 1 6 6v3",
  schedules: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM12 7v5l3.5 2",
  workers: "M5 7h14v10H5zM9 3v4M15 3v4M9 17v4M15 17v4M1.5 12H5M19 12h3.5",
  server: "M4 4h16v7H4zM4 13h16v7H4zM8 7.5h.01M8 16.5h.01",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  help: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM9.3 9.2a2.8 2.8 0 1 1 4 2.6c-.8.4-1.3.9-1.3 1.9M12 17h.01",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM15.5 15.5 20 20",
  close: "M6 6l12 12M18 6 6 18",
  down: "M6 9l6 6 6-6",
  right: "M9 6l6 6-6 6",
  left: "M15 6l-6 6 6 6",
  retry: "M4 12a8 8 0 1 0 2.5-5.8M4 4v4.5h4.5",
  play: "M8 5l11 7-11 7z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  menu: "M4 7h16M4 12h16M4 17h16",
  alert: "M12 4 2.5 20h19zM12 10v4.5M12 17.5h.01",
  good: "M4.5 12.5l5 5 10-11",
  empty: "M4 13l2.5-8h11L20 13v6H4zM4 13h5l1.5 2.5h3L15 13h5",
};

export function Icon({ name, size = 16 }) {
  return html`<svg class="icon" viewBox="0 0 24 24" width=${size} height=${size} fill="none" stroke="currentColor"
    stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"><path d=${paths[name]} /></svg>`;
}

// In a box of 12 by 12.
const shapes = {
  completed: "M2.2 6.4l2.5 2.5 5.1-5.6",
  failed: "M2.8 2.8l6.4 6.4M9.2 2.8 2.8 9.2",
  cancelled: "M6 1.3a4.7 4.7 0 1 0 0 9.4 4.7 4.7 0 0 0 0-9.4ZM2.8 9.2l6.4-6.4",
  skipped: "M2.5 3l3.2 3-3.2 3M6.3 3l3.2 3-3.2 3",
  paused: "M4 2.5v7M8 2.5v7",
  pending: "M6 1.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4Z",
  ready: "M6 1.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4ZM6 5.4v1.2",
  waiting: "M6 1.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4ZM6 3.6V6l1.7 1.2",
  running: "M3.5 2.2 9.5 6l-6 3.8z",
};

export function StateIcon({ status, size = 12 }) {
  return html`<svg class="icon" viewBox="0 0 12 12" width=${size} height=${size} fill=${status === "running" ? "currentColor" : "none"}
    stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"><path d=${shapes[status] ?? shapes.pending} /></svg>`;
}
