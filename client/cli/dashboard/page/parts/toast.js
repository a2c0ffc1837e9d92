// Short words about what has been done; a screen reader reads them.
import { html, useEffect, useState } from "../core/html.js";

let show = () => {};
let number = 0;
export function say(text, kind = "good") { show({ text, kind, number: ++number }); }

export function Toasts() {
  const [all, setAll] = useState([]);
  useEffect(() => {
    show = (one) => {
      setAll((old) => [...old.slice(-2), one]);
      setTimeout(() => setAll((old) => old.filter((other) => other !== one)), one.kind === "bad" ? 9000 : 4500);
    };
  }, []);
  return html`<div class="toasts" role="status" aria-live="polite">${all.map((one) => html`<div key=${one.number} class=${`toast ${one.kind}`}>${one.text}</div>`)}</div>`;
}
