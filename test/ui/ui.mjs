// make check-ui: dashboards on a server with seeded tenants, looked at and used by a browser. scripts/test/ui.sh calls it.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { checked, failures, launch } from "./browser.mjs";
import { checkActions } from "./actions.mjs";
import { checkSafety } from "./safety.mjs";
import { checkWalks } from "./walks.mjs";
import { checkEarlyAddress, checkOverlays, checkViews, takePictures } from "./views.mjs";

const ids = JSON.parse(readFileSync(process.env.UI_IDS, "utf8"));
const pictures = process.env.UI_PICTURES;
const secret = "a token of the tests, long enough";
const children = [];

async function serve(...options) {
  const child = spawn(process.env.UI_INSULA, ["dashboard", "--port", "0", "--timeout", "2", ...options], { stdio: ["ignore", "pipe", "ignore"] });
  children.push(child);
  return urlOf(child);
}

function urlOf(child) {
  return new Promise((done, fail) => {
    let text = "";
    child.stdout.on("data", (data) => { text += data; const found = /http:\S+/.exec(text); if (found) done(found[0]); });
    child.on("exit", () => fail(new Error("the dashboard has ended")));
  });
}

async function serveWithToken() {
  const child = spawn(process.env.UI_INSULA, ["dashboard", "--port", "0"], { stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, INSULA_DASHBOARD_TOKEN: secret } });
  children.push(child);
  return urlOf(child);
}

// Until it is called, no other session can read the list of tenants.
function lock() {
  const child = spawn("psql", ["-XAtq"], { stdio: ["pipe", "ignore", "ignore"] });
  child.stdin.write("BEGIN; LOCK TABLE insula.tenant IN ACCESS EXCLUSIVE MODE;\n");
  return () => child.stdin.end("ROLLBACK;\n");
}

async function main() {
  mkdirSync(pictures, { recursive: true });
  const servers = { open: await serve("--allow-actions"), readOnly: await serve(), tenant: await serve("--tenant", "globex"), token: await serveWithToken(), secret };
  const browser = await launch();
  const parts = { views: () => checkViews(browser, servers.open, ids, pictures), overlays: async () => { await checkOverlays(browser, servers.open, ids, pictures); await checkEarlyAddress(browser, servers.open); }, actions: () => checkActions(browser, servers.open, ids), walks: () => checkWalks(browser, servers.open), safety: () => checkSafety(browser, servers, ids, lock), pictures: () => takePictures(browser, servers.open, ids, pictures) };
  const wanted = process.argv.slice(2);
  for (const [name, part] of Object.entries(parts)) {
    if (wanted.length && !wanted.includes(name)) continue;
    const began = Date.now();
    await part();
    console.log(`${name}: ${((Date.now() - began) / 1000).toFixed(0)} s, ${checked()} checks so far, ${failures.length} failed`);
  }
  await browser.close();
  return failures.length ? 1 : 0;
}

let status = 1;
try {
  status = await main();
} catch (error) {
  console.log(error);
}
for (const child of children) child.kill("SIGINT");
process.exit(status);
