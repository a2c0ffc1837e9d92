// The keys, and a switch for those who need them for something else.
import { html, useState } from "../core/html.js";
import { keysAreOn, switchKeys } from "../core/keys.js";
import { Dialog } from "./dialog.js";

export function Help({ close, hello, places }) {
  const [on, setOn] = useState(keysAreOn());
  const groups = [
    ["Go", places.filter((one) => !one.admin || hello.admin).map((one) => [`g ${one.key}`, one.title])],
    ["Lists", [["j", "Next row"], ["k", "Row before"], ["Enter", "Open"], ["/", "Search or filter"], ["o", "Older page"], ["b", "Act on all that fit"]]],
    ["One execution", [["r", "Retry"], ["c", "Cancel"], ["p", "Pause or resume"], ["n", "Run again"], ["u", "Up, to the list"]]],
    ["Everywhere", [["?", "This help"], ["T", "Choose a tenant"], ["t", "Dark or light"], ["Esc", "Close"]]],
  ];
  return html`<${Dialog} title="Keys" close=${close} wide><div class="help">${groups.map(([title, keys]) => html`<section key=${title}><h3>${title}</h3><dl>${keys.map(([key, does]) => html`<div key=${key}><dt>${key.split(" ").map((one) => html`<kbd key=${one}>${one}</kbd>`)}</dt><dd>${does}</dd></div>`)}</dl></section>`)}</div>
    <footer><label class="check"><input type="checkbox" checked=${on} onChange=${(event) => { switchKeys(event.target.checked); setOn(event.target.checked); }} /> Single keys do something</label><span class="grow" />
    <span class="faint foot-note">Insula ${hello.version} · PostgreSQL ${String(hello.postgresql).split(" ")[0]} · <a href="/vendor/licences.txt">licences</a></span></footer><//>`;
}
