// Asks for the token of a dashboard that has one.
import { html, useState } from "../core/html.js";
import { logIn } from "../core/api.js";

export function Login({ done }) {
  const [token, setToken] = useState("");
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await logIn(token.trim());
      done();
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<main class="alone"><form class="panel login" onSubmit=${submit}><div class="body"><h1>Insula</h1>
    <p>This dashboard asks for its token.</p>
    <label class="field"><span>Token</span><input type="password" autocomplete="current-password" value=${token} onInput=${(event) => setToken(event.target.value)} autofocus required /></label>
    ${error && html`<p class="wrong" role="alert">${error.message}</p>`}
    <button class="button primary">Log in</button></div></form></main>`;
}
