// The address says what is shown: #/executions?status=failed. Filters live there and nowhere else, so that a link, the
// back button and a bookmark show the same.
import { useEffect, useRef, useState } from "./html.js";
import { store, stored } from "./theme.js";

function read() {
  const text = location.hash.replace(/^#\/?/, "");
  const [path, query = ""] = text.split("?");
  const params = Object.fromEntries(new URLSearchParams(query));
  const [view = "now", ...rest] = path.split("/").filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return { view, rest, params };
}

export function link(view, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params))
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  const text = query.toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

export function go(view, params = {}, replaces = false) {
  const target = link(view, params);
  if (location.hash === target) return;
  if (replaces) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export function useRoute() {
  const [route, setRoute] = useState(read);
  const shown = useRef(location.hash);
  useEffect(() => {
    const listener = () => {
      shown.current = location.hash;
      setRoute(read());
    };
    if (shown.current !== location.hash) listener(); // an address that came before there was a listener
    addEventListener("hashchange", listener);
    addEventListener("popstate", listener);
    return () => {
      removeEventListener("hashchange", listener);
      removeEventListener("popstate", listener);
    };
  }, []);
  return route;
}

// The views of a list that a person has named.
export function savedViews() {
  try { return JSON.parse(stored("views") ?? "[]").filter((one) => typeof one?.name === "string" && one.query !== null && typeof one.query === "object"); } catch { return []; }
}
export function saveViews(views) { store("views", JSON.stringify(views)); }
