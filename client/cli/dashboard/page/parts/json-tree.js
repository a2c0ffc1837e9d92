// A context as a folding tree; the numbers are as they were written. Given what was there before, it marks what a task
// has added, changed or removed.
import { html, useState } from "../core/html.js";
import { Exact, isObject, parseExact, writeExact } from "../core/json.js";
import { Icon } from "./icons.js";
import { copy, plain } from "./common.js";
import { bytes } from "../core/time.js";

const longest = 400;
const mostItems = 200;

function Scalar({ value }) {
  if (value instanceof Exact) return html`<span class="j-number">${value.number}</span>`;
  if (typeof value === "string") {
    const text = plain(JSON.stringify(value));
    return html`<span class="j-string">${text.length > longest ? `${text.slice(0, longest)}… (${value.length} characters)` : text}</span>`;
  }
  return html`<span class="j-word">${String(value)}</span>`;
}

const isBranch = (value) => isObject(value) || Array.isArray(value);
const entriesOf = (value) => (isObject(value) ? [...value] : value.map((item, i) => [String(i), item]));
const sizeOf = (value) => (isObject(value) ? value.size : value.length);
const lookUp = (before, key) => (isObject(before) ? before.get(key) : undefined);
const isSame = (a, b) => writeExact(a) === writeExact(b);

// The mark of a key that a patch sets; `before`: undefined where the key is new.
function markOf(value, before, marks) {
  if (!marks) return "";
  if (value === null) return "removed";
  if (before === undefined) return "added";
  if (isObject(value) && isObject(before)) return "";
  return isSame(value, before) ? "same" : "changed";
}
const signs = { added: "+", changed: "~", removed: "−", same: "=" };

function Node({ name, value, before, depth, marks, opens }) {
  const [open, setOpen] = useState(depth < opens);
  const mark = markOf(value, before, marks);
  const sign = marks && html`<span class=${`j-mark ${mark}`} title=${mark}>${signs[mark] ?? ""}</span>`;
  if (!isBranch(value) || sizeOf(value) === 0)
    return html`<li class=${mark}><span class="j-line">${sign}<span class="j-gap" /><span class="j-key">${plain(name)}</span>
      ${mark === "changed" && before !== undefined && !isBranch(before) && html`<span class="j-old"><${Scalar} value=${before} /></span><span class="faint">→</span>`}
      ${mark === "removed" ? html`<span class="j-old">${before === undefined ? "removed" : isBranch(before) ? "…" : html`<${Scalar} value=${before} />`}</span>` : isBranch(value) ? html`<span class="faint">${Array.isArray(value) ? "[]" : "{}"}</span>` : html`<${Scalar} value=${value} />`}</span></li>`;
  const entries = entriesOf(value);
  return html`<li class=${mark}><button class="j-line" aria-expanded=${open ? "true" : "false"} onClick=${() => setOpen(!open)}>${sign}<span class="j-fold"><${Icon} name="right" size=${12} /></span>
    <span class="j-key">${plain(name)}</span><span class="faint">${Array.isArray(value) ? `[${value.length}]` : `{${value.size}}`}</span></button>
    ${open && html`<ul>${entries.slice(0, mostItems).map(([key, item]) => html`<${Node} key=${key} name=${key} value=${item} before=${lookUp(before, key)} depth=${depth + 1} marks=${marks && isObject(value) && mark === ""} opens=${opens} />`)}
      ${entries.length > mostItems && html`<li class="faint">… and ${entries.length - mostItems} more</li>`}</ul>`}</li>`;
}

export function safeParse(text) {
  try { return parseExact(text); } catch { return undefined; }
}

export function JsonTree({ text = null, value = undefined, before = undefined, marks = false, size = null, opens = 2 }) {
  const parsed = value !== undefined ? value : text === null ? undefined : safeParse(text);
  if (parsed === undefined)
    return text ? html`<div><p class="faint">The first part of ${bytes(size ?? text.length)}:</p><pre class="raw">${plain(text.slice(0, 20000))}</pre></div>` : html`<p class="faint">Nothing.</p>`;
  if (!isBranch(parsed)) return html`<div class="json"><${Scalar} value=${parsed} /></div>`;
  if (sizeOf(parsed) === 0) return html`<p class="faint">Empty.</p>`;
  return html`<div class="json"><button class="ghost copy" aria-label="Copy as JSON" title="Copy as JSON" onClick=${() => copy(writeExact(parsed))}><${Icon} name="copy" size=${14} /></button>
    <ul>${entriesOf(parsed).slice(0, mostItems).map(([key, item]) => html`<${Node} key=${key} name=${key} value=${item} before=${lookUp(before, key)} depth=${1} marks=${marks} opens=${opens} />`)}
    ${sizeOf(parsed) > mostItems && html`<li class="faint">… and ${sizeOf(parsed) - mostItems} more</li>`}</ul></div>`;
}
