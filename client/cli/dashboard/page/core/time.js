// Times and numbers for people. The server's clock is the only one: this machine's may be wrong.
import { html, useEffect, useState } from "./html.js";

let offset = Date.now() - performance.now();
export function setServerTime(now) { offset = now - performance.now(); }
export const serverNow = () => performance.now() + offset;

// "2026-11-30 15:13:26.769721+00", as the database writes it; null where there is none, or it is infinite.
export function parseTime(text) {
  if (!text || text.includes("infinity")) return null;
  const iso = text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
  const time = Date.parse(iso);
  if (Number.isNaN(time)) return null;
  const beyond = /\.\d{3}(\d{1,3})/.exec(iso); // Date holds milliseconds
  return beyond ? time + Number(beyond[1].padEnd(3, "0")) / 1000 : time;
}

const pad = (n, width = 2) => String(n).padStart(width, "0");

function localTime(date) {
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

export function exactTime(ms) {
  const date = new Date(ms);
  const local = localTime(date);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local";
  const utc = date.toISOString().replace("T", " ").replace("Z", "");
  return zone === "UTC" ? `${utc} UTC` : `${local} ${zone}\n${utc} UTC`;
}

export function clockTime(ms) {
  const date = new Date(ms);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

// Two units at most; never negative.
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  const value = Math.max(0, ms);
  if (value < 1) return `${value < 0.0005 ? 0 : value.toFixed(2)} ms`;
  if (value < 1000) return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  const seconds = value / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let left = Math.round(seconds);
  const parts = [];
  for (const [name, size] of units) {
    const count = Math.floor(left / size);
    if (count || parts.length) parts.push(count ? `${count} ${name}` : "");
    left -= count * size;
    if (parts.length === 2) break;
  }
  return parts.filter(Boolean).join(" ");
}

export function ago(ms) {
  const past = serverNow() - ms;
  if (Math.abs(past) < 1000) return "now";
  const whole = Math.round(Math.abs(past) / 1000) * 1000;
  const text = duration(whole < 10000 ? whole : whole).replace(/\.0 s/, " s").split(" ").slice(0, 2).join(" ");
  return past >= 0 ? `${text} ago` : `in ${text}`;
}

const tickers = new Set();
setInterval(() => { if (!document.hidden) tickers.forEach((tick) => tick()); }, 1000);
export function useTick() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const tick = () => redraw((n) => n + 1);
    tickers.add(tick);
    return () => tickers.delete(tick);
  }, []);
}

export function Time({ at, prefix = "" }) {
  useTick();
  const ms = parseTime(at);
  if (ms === null) return html`<span class="faint">–</span>`;
  return html`<time datetime=${new Date(ms).toISOString()} title=${exactTime(ms)}>${prefix}${ago(ms)}</time>`;
}

// How long something lasts, or goes on.
export function Since({ from, to = null, took = null }) {
  useTick();
  const start = parseTime(from);
  if (took !== null && took !== undefined) return html`<span>${duration(took)}</span>`;
  if (start === null) return html`<span class="faint">–</span>`;
  const end = parseTime(to) ?? serverNow();
  const ms = Math.max(0, end - start);
  if (ms < 1000 && parseTime(to) === null) return html`<span>${"< 1 s"}</span>`;
  return html`<span>${duration(ms < 60000 ? Math.floor(ms / 1000) * 1000 : ms).replace(".0 s", " s")}</span>`;
}

// A sentence of the server, which holds a time in the database's zone: shown in the person's, and what lasts since then by
// how long it does.
export function Sentence({ text }) {
  const found = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*\d/.exec(text);
  const ms = found && parseTime(found[0]);
  if (!ms) return text;
  const before = text.slice(0, found.index);
  const after = text.slice(found.index + found[0].length);
  if (!before.endsWith("since ")) return html`${before}<span class="span" title=${exactTime(ms)}>${localTime(new Date(ms))}</span> (<${Time} at=${found[0]} />)${after}`;
  const word = /(submitted|ended) since $/.test(before) ? "in the last " : "for ";
  return html`${before.slice(0, -6)}${word}<span class="span" title=${exactTime(ms)}><${Since} from=${found[0]} /></span>${after}`;
}

// Whole numbers of any size come as strings.
export function count(value) {
  if (value === null || value === undefined || value === "") return "–";
  const text = String(value);
  return /^-?\d+$/.test(text) ? text.replace(/\B(?=(\d{3})+$)/g, "\u202f") : text;
}

export function rate(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  if (value < 10) return value.toFixed(1);
  return count(Math.round(value));
}

export function bytes(value) {
  const n = Number(value);
  return n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} kB` : `${(n / 1048576).toFixed(1)} MB`;
}
