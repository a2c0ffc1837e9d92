// Keys: single ones, and "g" followed by another. Nothing happens while a person writes, or where keys are switched off.
import { useEffect } from "./html.js";
import { store, stored } from "./theme.js";

const actions = new Map();
let prefix = "";
let timer = 0;

export const keysAreOn = () => stored("keys") !== "off";
export function switchKeys(on) { store("keys", on ? "on" : "off"); }

const isWriting = (element) => element?.matches?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target) || !keysAreOn()) return;
  if (document.querySelector("dialog[open]") && event.key !== "?") return;
  const key = prefix + event.key;
  clearTimeout(timer);
  if (!prefix && event.key === "g") {
    prefix = "g ";
    timer = setTimeout(() => { prefix = ""; }, 1500);
    return;
  }
  prefix = "";
  const action = actions.get(key);
  if (!action) return;
  event.preventDefault();
  action();
});

export function useKeys(bindings) {
  useEffect(() => {
    const entries = Object.entries(bindings).filter(([, action]) => action);
    for (const [key, action] of entries) actions.set(key, action);
    return () => { for (const [key, action] of entries) if (actions.get(key) === action) actions.delete(key); };
  });
}

// j and k go through the rows of the list, Enter opens as it does for any link.
export function useRowKeys() {
  const move = (step) => {
    const rows = [...document.querySelectorAll("main [data-row]")];
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.contains(document.activeElement) || row === document.activeElement);
    const next = rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step))];
    (next.matches("a, button, [tabindex]") ? next : next.querySelector("a, button"))?.focus();
    next.scrollIntoView({ block: "nearest" });
  };
  useKeys({ j: () => move(1), k: () => move(-1) });
}
