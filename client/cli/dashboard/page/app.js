// The frame of the page: navigation, tenant, theme, keys, and the view that the address names.
import "./core/closed.js";
import { html, render, useEffect, useErrorBoundary, useState } from "./core/html.js";
import { get, useTrouble } from "./core/api.js";
import { useKeys, useRowKeys } from "./core/keys.js";
import { go, link, useRoute } from "./core/router.js";
import { isDark, onTheme, toggleTheme } from "./core/theme.js";
import { Help } from "./parts/help.js";
import { Icon } from "./parts/icons.js";
import { Loading, Trouble, plain } from "./parts/common.js";
import { TenantSwitch } from "./parts/tenant-switch.js";
import { Toasts } from "./parts/toast.js";
import { Execution } from "./views/execution.js";
import { Executions } from "./views/executions.js";
import { Login } from "./views/login.js";
import { Now } from "./views/now.js";
import { Schedules } from "./views/schedules.js";
import { Server } from "./views/server.js";
import { Tenants } from "./views/tenants.js";
import { Workers } from "./views/workers.js";
import { Workflows } from "./views/workflows.js";

const places = [
  { name: "now", title: "Now", key: "n", view: Now },
  { name: "executions", title: "Executions", key: "e", view: Executions },
  { name: "tenants", title: "Tenants", key: "t", view: Tenants, admin: true },
  { name: "workflows", title: "Workflows", key: "f", view: Workflows },
  { name: "schedules", title: "Schedules", key: "s", view: Schedules },
  { name: "workers", title: "Workers", key: "w", view: Workers },
  { name: "server", title: "Server", key: "v", view: Server, admin: true },
];

const slowKinds = new Set(["timeout", "busy"]);

function Live() {
  const trouble = useTrouble();
  const [hidden, setHidden] = useState(document.hidden);
  useEffect(() => {
    const look = () => setHidden(document.hidden);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  const [kind, word] = trouble ? ["bad", trouble.kind === "away" || trouble.kind === "offline" ? "Not connected" : slowKinds.has(trouble.kind) ? "Slow" : "Old"] : hidden ? ["calm", "Paused"] : ["good", "Live"];
  return html`<span class=${`liveness ${kind}`} role="status" title=${trouble ? trouble.message : "The page asks anew every few seconds, and not while it is hidden"}><i aria-hidden="true" />${word}</span>`;
}

function Banner() {
  const trouble = useTrouble();
  if (!trouble) return null;
  const texts = { offline: "The dashboard does not answer.", away: "The database cannot be reached.", timeout: "The database is slow.", busy: "The database is slow.", missing: "It is gone." };
  return html`<div class="banner" role="alert"><${Icon} name="alert" /><span><b>${texts[trouble.kind] ?? "This can no longer be seen."}</b> ${plain(trouble.message)}. What you see is from before${trouble.kind === "missing" ? "" : "; the page keeps asking"}.</span></div>`;
}

function ThemeSwitch() {
  const [dark, setDark] = useState(isDark());
  useEffect(() => onTheme(() => setDark(isDark())), []);
  return html`<button class="ghost" onClick=${toggleTheme} aria-label=${dark ? "Light theme" : "Dark theme"} title=${dark ? "Light theme" : "Dark theme"}><${Icon} name=${dark ? "sun" : "moon"} /></button>`;
}

function Navigation({ hello, route, tenant, open, close }) {
  const active = route.view === "execution" ? "executions" : route.view;
  return html`<nav aria-label="Views" class=${open ? "open" : ""}>
    <a class="brand" href=${link("now", { tenant })} onClick=${close}><svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true"><rect width="32" height="32" rx="7" class="brand-box" /><path d="M7 23h18M9 19.5c1.8-6.5 4-9.5 7-9.5s5.2 3 7 9.5" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round" /><circle cx="16" cy="19.5" r="2.2" fill="#fff" /></svg><span>Insula</span></a>
    <ul>${places.filter((place) => !place.admin || hello.admin).map((place) => html`<li key=${place.name}><a href=${link(place.name, place.admin ? {} : { tenant })} aria-current=${active === place.name ? "page" : undefined} onClick=${close}><${Icon} name=${place.name} /><span>${place.title}</span><kbd aria-hidden="true">g ${place.key}</kbd></a></li>`)}</ul>
    <div class="who"><span title=${`Logged in as ${hello.login}${hello.role === hello.login ? "" : `, acting as ${hello.role}`}`}><b>${hello.context ?? hello.database}</b><br />${hello.role}</span>
      <span class=${`badge ${hello.actions ? "held" : "calm"}`}>${hello.actions ? "can change" : "read-only"}</span></div></nav>`;
}

// A mistake in one view leaves the frame, and says so.
function Guard({ children }) {
  const [error, reset] = useErrorBoundary((problem) => console.error(problem));
  return error ? html`<${Trouble} error=${{ kind: "broken", message: `The page has a mistake here: ${error.message}` }} retry=${reset} />` : children;
}

function Frame({ hello }) {
  const route = useRoute();
  const [help, setHelp] = useState(false);
  const [menu, setMenu] = useState(false);
  const tenant = hello.tenant ?? route.params.tenant ?? "";
  const place = places.find((one) => one.name === route.view);
  const visit = (name) => () => go(name, { tenant: hello.tenant ? "" : tenant });
  useRowKeys();
  useKeys({
    "?": () => setHelp(!help), "t": toggleTheme,
    "/": () => document.querySelector("main [data-search]")?.focus(),
    ...Object.fromEntries(places.filter((one) => !one.admin || hello.admin).map((one) => [`g ${one.key}`, visit(one.name)])),
    "T": hello.admin ? () => document.querySelector("[data-tenant-switch]")?.focus() : null,
  });
  const title = route.view === "execution" ? `Execution ${route.rest[0] ?? ""}` : place?.title ?? "Not here";
  useEffect(() => {
    document.title = `${title} · Insula`;
    setMenu(false);
    scrollTo(0, 0);
  }, [title]);
  const View = route.view === "execution" ? Execution : place?.view;
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>To the content</a>
    <${Navigation} hello=${hello} route=${route} tenant=${hello.tenant ? "" : tenant} open=${menu} close=${() => setMenu(false)} />
    <div class="page"><header class="top"><button class="ghost menu" aria-label="Views" aria-expanded=${menu ? "true" : "false"} onClick=${() => setMenu(!menu)}><${Icon} name="menu" size=${20} /></button>
      <h1>${route.view === "execution" ? html`Execution<span class="id"> ${route.rest[0] ?? ""}</span>` : title}</h1><span class="grow" />
      ${hello.admin ? html`<${TenantSwitch} tenant=${tenant} choose=${(name) => go(route.view === "execution" || route.view === "server" ? "executions" : route.view, { ...(route.view === "execution" ? {} : route.params), from: "", open: "", tenant: name })} />` : html`<span class="only-tenant"><${Icon} name="tenants" />${hello.tenant}</span>`}
      <${Live} /><button class="ghost" aria-label="Keys and help" title="Keys and help (?)" onClick=${() => setHelp(true)}><${Icon} name="help" /></button><${ThemeSwitch} /></header>
    <${Banner} />
    <main id="main" tabindex="-1">${View ? html`<${Guard} key=${route.view + (route.rest[0] ?? "")}><${View} route=${route} hello=${hello} tenant=${tenant} /><//>` : html`<${Trouble} error=${{ kind: "missing", message: "There is no such view." }} />`}</main></div>
    ${help && html`<${Help} close=${() => setHelp(false)} hello=${hello} places=${places} />`}<${Toasts} />`;
}

function App() {
  const [hello, setHello] = useState(null);
  const [error, setError] = useState(null);
  const greet = async () => {
    try {
      setHello(await get("hello"));
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  useEffect(() => {
    greet();
    const out = () => { setHello(null); greet(); };
    addEventListener("insula-login", out);
    return () => removeEventListener("insula-login", out);
  }, []);
  if (hello) return html`<${Frame} hello=${hello} />`;
  if (error?.kind === "login") return html`<${Login} done=${greet} />`;
  return html`<main class="alone">${error ? html`<${Trouble} error=${error} retry=${greet} />` : html`<${Loading} />`}</main>`;
}

render(html`<${App} />`, document.getElementById("app"));
