// Asks the server. A look that has not changed since the last one costs 304 and no new picture. Polling stops while the
// page is hidden, and waits longer after an error; what was there stays, with a word that it is old.
import { useEffect, useRef, useState } from "./html.js";
import { setServerTime } from "./time.js";

const known = new Map(); // URL -> {etag, data}
const mostKnown = 60;
const patience = 45000;

export class ApiError extends Error {
  constructor(status, body) {
    const error = body?.error ?? {};
    super(error.message || (status ? `the server answered ${status}` : "the dashboard cannot be reached"));
    this.status = status;
    this.kind = error.kind || (status ? "refused" : "offline");
    this.detail = error.detail || "";
    this.hint = error.hint || "";
  }
}

function urlOf(view, params) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params ?? {}))
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  const text = query.toString();
  return `/api/${view}${text ? `?${text}` : ""}`;
}

async function request(url, options) {
  const aborter = new AbortController();
  const timer = setTimeout(() => aborter.abort(), patience);
  try {
    return await fetch(url, { cache: "no-store", credentials: "same-origin", signal: aborter.signal, ...options });
  } catch {
    throw new ApiError(0, null);
  } finally {
    clearTimeout(timer);
  }
}

async function bodyOf(response) {
  try { return await response.json(); } catch { return null; }
}

// `fresh`: the server asks the database, whatever it knows already.
export async function get(view, params, fresh = false) {
  const url = urlOf(view, params);
  const before = known.get(url);
  const response = await request(url, { headers: { ...(before ? { "If-None-Match": before.etag } : {}), ...(fresh ? { "X-Insula-Fresh": "1" } : {}) } });
  const now = Number(response.headers.get("X-Insula-Now"));
  if (now > 0) setServerTime(now);
  if (response.status === 304 && before) return before.data;
  const data = await bodyOf(response);
  if (!response.ok || data === null) throw new ApiError(response.status, data);
  const etag = response.headers.get("ETag");
  if (etag) {
    known.delete(url);
    known.set(url, { etag, data });
    if (known.size > mostKnown) known.delete(known.keys().next().value);
  }
  return data;
}

async function post(path, body) {
  const response = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Insula": "1" },
    body: JSON.stringify(body),
  });
  const data = await bodyOf(response);
  if (!response.ok) throw new ApiError(response.status, data);
  refreshAll();
  return data;
}

export const act = (body) => post("/api/action", body);
export const logIn = (token) => post("/api/login", { token });

// ---- views that stay fresh ----

const refreshers = new Set();
export function refreshAll() { refreshers.forEach((refresh) => refresh()); }

// The state of all looks, for the sign in the head of the page.
const troubles = new Map();
const watchers = new Set();
function setTrouble(key, error) {
  if (error) troubles.set(key, error);
  else if (!troubles.delete(key)) return;
  watchers.forEach((watcher) => watcher());
}
export function useTrouble() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const watcher = () => redraw((n) => n + 1);
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }, []);
  return troubles.size ? troubles.values().next().value : null;
}

// `every`: milliseconds between two looks; 0: once. `view` null: nothing is asked. `more`: further parameters of each look.
export function useView(view, params, every = 3000, more = null) {
  const key = view ? urlOf(view, params) : "";
  const [state, setState] = useState({ key, data: null, error: null });
  const refresh = useRef(() => {});
  useEffect(() => {
    if (!view) return undefined;
    let ended = false;
    let timer = 0;
    let failures = 0;
    let running = false;
    let has = false;
    const token = {};
    const look = async (fresh = false) => {
      clearTimeout(timer);
      if (running || ended) return;
      running = true;
      let isFinal = false;
      try {
        const data = await get(view, more ? { ...params, ...more() } : params, fresh);
        failures = 0;
        has = true;
        setTrouble(token, null);
        if (!ended) setState((old) => (old.data === data && old.key === key && !old.error ? old : { key, data, error: null }));
      } catch (error) {
        failures += 1;
        isFinal = error.status === 404;
        // What is still seen is old, whatever the reason.
        if (!ended && (has || error.status === 503 || error.status === 0)) setTrouble(token, error);
        if (!ended) setState((old) => ({ key, data: old.key === key ? old.data : null, error }));
        if (error.status === 401) dispatchEvent(new Event("insula-login"));
      }
      running = false;
      if (!ended && every && !isFinal && !document.hidden) timer = setTimeout(again, every * Math.min(8, 2 ** failures));
    };
    const onVisible = () => { if (!document.hidden && every) look(); };
    const again = () => look();
    refresh.current = () => look(true);
    if (every) refreshers.add(again); // what is asked for once is dear
    document.addEventListener("visibilitychange", onVisible);
    look();
    return () => {
      ended = true;
      clearTimeout(timer);
      setTrouble(token, null);
      refreshers.delete(again);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [key, every]);
  const current = state.key === key ? state : { data: null, error: null };
  return { data: current.data, error: current.error, loading: !current.data && !current.error, reload: () => refresh.current() };
}
