// A dialog of the browser's own: it keeps the focus, closes by Escape and gives the focus back.
import { html, useEffect, useRef, useState } from "../core/html.js";
import { act } from "../core/api.js";
import { plain } from "./common.js";
import { Icon } from "./icons.js";
import { say } from "./toast.js";

// That a request is known by, if it comes twice. Not randomUUID, which plain HTTP does not have.
export const randomKey = () => `dashboard-${[...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;

export function Dialog({ title, close, children, wide = false }) {
  const element = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    const dialog = element.current;
    dialog.showModal();
    return () => {
      dialog.close();
      before?.focus?.();
    };
  }, []);
  return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-labelledby="dialog-title" onCancel=${(event) => { event.preventDefault(); close(); }}
    onClick=${(event) => { if (event.target === element.current) close(); }}>
    <div class="dialog"><header><h2 id="dialog-title">${title}</h2><button class="ghost" aria-label="Close" onClick=${close}><${Icon} name="close" /></button></header>${children}</div></dialog>`;
}

// Asks before a change, with a reason for the history where the verb keeps one.
// `keyed`: what it makes is made once, however often it is sent.
export function Confirm({ title, text, verb, danger = false, reason = true, keyed = false, request, done, close }) {
  const [key] = useState(randomKey);
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    try {
      const answer = await act({ ...request, ...(reason ? { reason: said } : {}), ...(keyed ? { key } : {}) });
      close();
      if (answer.done === false) say("It was so already, or has ended", "held");
      else done?.(answer);
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} close=${close}><form onSubmit=${submit}>
    <p>${text}</p>
    ${reason && html`<label class="field"><span>Reason, for its history <em>(may be empty)</em></span><input value=${said} onInput=${(event) => setSaid(event.target.value)} maxlength="500" autocomplete="off" /></label>`}
    ${error && html`<p class="wrong" role="alert">${plain(error.message)}${error.detail && ` – ${plain(error.detail)}`} ${plain(error.hint)}</p>`}
    <footer><button type="button" class="button" onClick=${close}>Keep it as it is</button><button class=${`button ${danger ? "danger" : "primary"}`} disabled=${busy} autofocus>${busy ? "…" : verb}</button></footer></form><//>`;
}
