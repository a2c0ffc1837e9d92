// Chooses the tenant that the views show: a list that narrows as one writes, for keys and screen readers alike.
import { html, useEffect, useRef, useState } from "../core/html.js";
import { useView } from "../core/api.js";
import { Icon } from "./icons.js";

export function TenantSwitch({ tenant, choose }) {
  const [open, setOpen] = useState(false);
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const box = useRef(null);
  const input = useRef(null);
  const names = useView(open ? "names" : null, { search: text.trim() }, 0);
  const all = [...(text ? [] : [{ tenant: "", status: "active" }]), ...(names.data?.names ?? [])];
  useEffect(() => {
    const outside = (event) => { if (!box.current?.contains(event.target)) setOpen(false); };
    addEventListener("pointerdown", outside);
    return () => removeEventListener("pointerdown", outside);
  }, []);
  useEffect(() => { box.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }); }, [at]);
  const pick = (name) => {
    setOpen(false);
    setText("");
    input.current.blur();
    choose(name);
  };
  const key = (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setOpen(true);
      setAt(Math.max(0, Math.min(all.length - 1, at + (event.key === "ArrowDown" ? 1 : -1))));
    } else if (event.key === "Enter" && open && all[at]) pick(all[at].tenant);
    else if (event.key === "Escape") { setOpen(false); setText(""); input.current.blur(); }
  };
  return html`<div class="tenant-switch" ref=${box}><${Icon} name="tenants" />
    <input ref=${input} data-tenant-switch role="combobox" aria-label="Tenant" aria-expanded=${open ? "true" : "false"} aria-controls="tenant-list" aria-autocomplete="list" autocomplete="off" spellcheck="false"
      aria-activedescendant=${open && all[at] ? `tenant-${at}` : undefined} placeholder=${tenant || "All tenants"} class=${tenant && !open ? "chosen" : ""} value=${open ? text : tenant}
      onFocus=${() => { setOpen(true); setAt(0); }} onInput=${(event) => { setText(event.target.value); setOpen(true); setAt(0); }} onKeyDown=${key} onBlur=${() => setTimeout(() => { if (!box.current?.contains(document.activeElement)) setOpen(false); }, 150)} />
    ${tenant && !open ? html`<button class="ghost clear" aria-label="All tenants" title="All tenants" onClick=${() => pick("")}><${Icon} name="close" size=${14} /></button>` : html`<${Icon} name="down" size=${14} />`}
    <ul id="tenant-list" role="listbox" aria-label="Tenants" hidden=${!open}>${open && all.map((one, i) => html`<li key=${one.tenant} id=${`tenant-${i}`} role="option" aria-selected=${i === at ? "true" : "false"} onPointerDown=${(event) => { event.preventDefault(); pick(one.tenant); }} onPointerMove=${() => setAt(i)}>
      <span>${one.tenant || "All tenants"}</span>${one.status === "suspended" && html`<span class="badge held">suspended</span>`}</li>`)}
      ${open && !all.length && html`<li role="option" aria-selected="false" aria-disabled="true" class="faint">${names.loading ? "…" : "No tenant has this in its name"}</li>`}</ul></div>`;
}
