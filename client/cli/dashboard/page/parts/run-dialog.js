// A new execution: of a workflow, with an input that may be that of another.
import { html, useRef, useState } from "../core/html.js";
import { act, useView } from "../core/api.js";
import { go } from "../core/router.js";
import { isObject } from "../core/json.js";
import { plain } from "./common.js";
import { Dialog, randomKey } from "./dialog.js";
import { safeParse } from "./json-tree.js";
import { say } from "./toast.js";

// One request is submitted once, however often it is sent: its key lasts until what it asks for is changed.
function useKey(content) {
  const made = useRef({ content: null, key: "" });
  if (made.current.content !== content) made.current = { content, key: randomKey() };
  return made.current.key;
}

// `hidden`: with the input of the execution `same`, which cannot be shown here as a whole; the server takes it from there.
export function RunDialog({ tenant, workflow = "", input = "{}", same = null, hidden = false, hello, close }) {
  const [name, setName] = useState(workflow);
  const [whose, setWhose] = useState(tenant);
  const [text, setText] = useState(hidden ? "" : input);
  const [priority, setPriority] = useState("0");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const names = useView(!hidden && (whose || hello.tenant) ? "workflows" : null, { tenant: whose }, 0);
  const parsed = hidden ? new Map() : safeParse(text);
  const wrong = parsed === undefined ? "This is no JSON." : isObject(parsed) ? "" : "An input is a JSON object.";
  const wanted = hidden ? { verb: "run_same", id: same, priority } : { verb: "run", workflow: name.trim(), input: text, priority, tenant: whose };
  const key = useKey(JSON.stringify(wanted));
  const submit = async (event) => {
    event.preventDefault();
    if (wrong || busy) return;
    setBusy(true);
    try {
      const done = await act({ ...wanted, key });
      close();
      say(`Execution ${done.execution_id} is submitted`);
      go(`execution/${done.execution_id}`);
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return html`<${Dialog} title="Run a workflow" close=${close} wide><form onSubmit=${submit}>
    <div class="pair">${!hello.tenant && html`<label class="field"><span>Tenant</span><input value=${whose} required disabled=${hidden} spellcheck="false" autocomplete="off" onInput=${(event) => setWhose(event.target.value.trim())} /></label>`}
      <label class="field"><span>Workflow</span><input value=${name} required disabled=${hidden} list="run-names" spellcheck="false" autocomplete="off" onInput=${(event) => setName(event.target.value)} /></label>
      <label class="field narrow"><span>Priority</span><input value=${priority} inputmode="numeric" pattern="-?[0-9]+" onInput=${(event) => setPriority(event.target.value)} /></label></div>
    <datalist id="run-names">${(names.data?.workflows ?? []).map((one) => html`<option key=${one.workflow} value=${one.workflow} />`)}</datalist>
    ${hidden ? html`<p class="unshown">Its input is too large or too deep to be shown here. The new run has the same input, unchanged.</p>` : html`<label class="field"><span>Input</span><textarea class="mono" rows="10" spellcheck="false" value=${text} onInput=${(event) => setText(event.target.value)} aria-invalid=${wrong ? "true" : "false"} aria-describedby="run-wrong"></textarea></label>`}
    <p id="run-wrong" class="wrong" role="status">${wrong || " "}</p>
    ${error && html`<p class="wrong" role="alert">${plain(error.message)} ${plain(error.detail)}</p>`}
    <footer><button type="button" class="button" onClick=${close}>Not now</button><button class="button primary" disabled=${busy || Boolean(wrong)}>Run it</button></footer></form><//>`;
}
