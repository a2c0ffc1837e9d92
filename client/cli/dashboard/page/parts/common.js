// The small parts of all views: states, panels, what is shown while there is nothing to show, copying.
import { html, useState } from "../core/html.js";
import { Icon, StateIcon } from "./icons.js";
import { say } from "./toast.js";

// Control characters and those that turn the direction of writing are shown, not obeyed.
export const plain = (text) => String(text ?? "").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
export const cut = (text, most) => { const all = plain(text); return all.length > most ? `${all.slice(0, most)}… (${all.length} characters)` : all; };

const kinds = {
  completed: "good", active: "good", ok: "good", parked: "good", failed: "bad", error: "bad", dead: "bad",
  running: "live", busy: "live", paused: "held", suspended: "held", warning: "held", waiting: "wait", ready: "wait",
  pending: "calm", skipped: "calm", cancelled: "calm", ended: "calm", advice: "calm", unknown: "calm", "no life line": "held",
};
export const kindOf = (status) => kinds[status] ?? "calm";

export function Status({ status }) {
  return html`<span class=${`status ${kindOf(status)}`}><${StateIcon} status=${status} />${status}</span>`;
}
export function Badge({ word }) {
  return html`<span class=${`badge ${kindOf(word)}`}>${word}</span>`;
}

export function Panel({ title, note = null, actions = null, children, label = null, flush = false, wide = false }) {
  return html`<section class=${`panel${flush ? " flush" : ""}${wide ? " wide" : ""}`} aria-label=${label ?? title}>
    ${title && html`<header><h2>${title}</h2>${note && html`<span class="note">${note}</span>`}<span class="grow" />${actions}</header>`}
    <div class="body">${children}</div></section>`;
}

export function Loading({ rows = 5 }) {
  return html`<div class="loading" role="status" aria-label="Loading">${Array.from({ length: rows }, (_, i) => html`<i key=${i} class=${`w${i % 4}`} />`)}</div>`;
}

export function Empty({ title, children = null, icon = "empty" }) {
  return html`<div class="empty"><${Icon} name=${icon} size=${28} /><strong>${title}</strong>${children && html`<p>${children}</p>`}</div>`;
}

const titles = {
  timeout: "The database is slow", busy: "The database is slow", away: "The database cannot be reached",
  offline: "The dashboard has gone", missing: "It is not there", login: "This needs the token",
};
// `instead`: stands where asking again would not help.
export function Trouble({ error, retry = null, instead = null }) {
  return html`<div class="trouble" role="alert"><${Icon} name="alert" size=${20} /><div><strong>${titles[error.kind] ?? "That did not work"}</strong>
    <p>${plain(error.message)}</p>${error.detail && html`<p class="faint">${plain(error.detail)}</p>`}${error.hint && html`<p>${plain(error.hint)}</p>`}
    ${instead ?? (retry && html`<button class="button" onClick=${retry}>Try again</button>`)}</div></div>`;
}

// Below a list that has been cut.
export function More({ rows, most }) {
  return rows.length > most && html`<p class="foot faint">The first ${most}, and there are more.</p>`;
}

// A view's data, or what stands in its place. Old data stays, and the head of the page says that it is old.
export function Shown({ view, rows = 5, children }) {
  if (view.data) return html`${Object.keys(view.data).some((name) => name.endsWith("_cut")) && html`<p class="foot held-text" role="status">There is more than this page can show: the rest is left out.</p>`}${children(view.data)}`;
  if (view.error) return html`<${Trouble} error=${view.error} retry=${view.reload} />`;
  return html`<${Loading} rows=${rows} />`;
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("The browser does not let this page copy", "bad");
  }
}

export function Command({ text }) {
  if (!text) return null;
  return html`<span class="command"><code>${text}</code><button class="ghost" aria-label=${`Copy: ${text}`} title="Copy" onClick=${() => copy(text)}><${Icon} name="copy" size=${14} /></button></span>`;
}

export function Folding({ title, open = false, children, count = null }) {
  const [shown, setShown] = useState(open);
  return html`<div class=${`folding${shown ? " open" : ""}`}><button class="fold" aria-expanded=${shown ? "true" : "false"} onClick=${() => setShown(!shown)}>
    <${Icon} name="right" size=${14} /><span>${title}</span>${count !== null && html`<span class="faint">${count}</span>`}</button>
    ${shown && html`<div class="folded">${children}</div>`}</div>`;
}
