// What a browser must not do for others, and what the page says when the database is slow or gone.
import { createServer } from "node:http";
import { check, open } from "./browser.mjs";
import { sql } from "./actions.mjs";

// Another site, which tries to frame the dashboard, to read from it and to change through it.
async function otherSite(browser, url, ids) {
  const server = createServer((request, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end("<!doctype html><title>other</title><p>other</p>");
  });
  await new Promise((done) => { server.listen(0, "127.0.0.1", done); });
  const page = await open(browser, { url: `http://127.0.0.1:${server.address().port}/` });
  const result = await page.evaluate(async ({ target, id }) => {
    const tries = {};
    const attempt = async (name, work) => { try { tries[name] = await work(); } catch (error) { tries[name] = `refused: ${error.name}`; } };
    await attempt("read", async () => (await fetch(`${target}api/hello`)).text());
    await attempt("json", async () => (await fetch(`${target}api/action`, { method: "POST", headers: { "Content-Type": "application/json", "X-Insula": "1" }, body: JSON.stringify({ verb: "cancel", id }) })).text());
    await attempt("simple", async () => (await fetch(`${target}api/action`, { method: "POST", mode: "no-cors", body: JSON.stringify({ verb: "cancel", id }) })).type);
    const frame = document.createElement("iframe");
    frame.src = target;
    document.body.append(frame);
    await new Promise((done) => { frame.onload = done; setTimeout(done, 3000); });
    try { tries.frame = frame.contentDocument === null ? "foreign" : frame.contentDocument.body.innerHTML.length; } catch { tries.frame = "foreign"; }
    return tries;
  }, { target: url, id: ids.deferred });
  check("another site cannot read", String(result.read).startsWith("refused"), result);
  check("nor change", String(result.json).startsWith("refused") && sql(`SELECT status FROM insula.result(${ids.deferred})`) === "running", result);
  check("nor frame it", page.complaints.some((text) => /frame/i.test(text)), page.complaints);
  await page.context().close();
  server.close();
}

async function readOnly(browser, url, ids) {
  const page = await open(browser, { url: `${url}#/execution/${ids.failed}` });
  await page.locator(".node").first().waitFor();
  check("without --allow-actions there is nothing to press", (await page.locator(".actions").count()) === 0);
  await page.keyboard.press("r");
  check("nor by keys", (await page.locator("dialog[open]").count()) === 0);
  const status = await page.evaluate(async (id) => (await fetch("/api/action", { method: "POST", headers: { "Content-Type": "application/json", "X-Insula": "1" }, body: JSON.stringify({ verb: "retry", id }) })).status, ids.failed);
  check("nor by hand", status === 403, status);
  await page.context().close();
}

async function oneTenant(browser, url, ids) {
  const page = await open(browser, { url: `${url}#/executions` });
  await page.locator("[data-row]").first().waitFor();
  check("one tenant: its name is shown, and no other can be chosen", (await page.locator(".only-tenant").innerText()).trim() === "globex" && (await page.locator("[data-tenant-switch]").count()) === 0);
  check("one tenant: no views of all", (await page.locator("nav").getByText("Tenants").count()) === 0);
  await page.goto(`${url}#/execution/${ids.failed}`);
  await page.locator(".trouble").waitFor();
  check("one tenant: another's execution does not exist", (await page.locator(".trouble").innerText()).includes("does not exist"));
  await page.goto(`${url}#/now`);
  await page.locator(".tile").first().waitFor();
  await page.locator(".u-over").first().waitFor({ timeout: 20000 });
  for (const view of ["schedules", "workers", "workflows"]) {
    await page.goto(`${url}#/${view}`);
    await page.locator(".panel").first().waitFor();
    await page.locator(".loading").first().waitFor({ state: "detached" });
    check(`one tenant: ${view} draws`, (await page.locator(".trouble").count()) === 0);
  }
  check("one tenant: no complaints", page.complaints.length === 0, page.complaints);
  await page.context().close();
}

async function withToken(browser, url, token) {
  const page = await open(browser, { url });
  await page.getByLabel("Token").fill("wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("the token is wrong").waitFor();
  await page.getByLabel("Token").fill(token);
  await page.keyboard.press("Enter");
  await page.locator("nav").waitFor();
  const cookies = await page.context().cookies();
  check("the token's cookie is for the server alone", cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite === "Strict" && !cookies[0].value.includes(token), cookies);
  await page.context().close();
}

function makeGraph(name, tasks) {
  sql(`SELECT insula.register_workflow('${JSON.stringify({ name, tasks })}', tenant => 'mallory')`);
  return sql(`SELECT insula.submit('${name}', tenant => 'mallory')`);
}

// Ids of tasks are words of a tenant: those that every object has, and more edges than can be laid out.
async function graphs(browser, url) {
  const names = ["keys", "__proto__", "constructor", "toString", "hasOwnProperty"];
  const inherited = makeGraph("inherited", names.map((id, i) => ({ id, ...(i ? { depends_on: names.slice(0, i) } : {}) })));
  const dense = makeGraph("dense", Array.from({ length: 80 }, (_, i) => ({ id: `t${i}`, depends_on: Array.from({ length: i }, (__, j) => `t${j}`) })));
  const wide = makeGraph("wide", Array.from({ length: 120 }, (_, i) => ({ id: `t${i}`, depends_on: i < 60 ? [] : Array.from({ length: 60 }, (__, j) => `t${j}`) })));
  const page = await open(browser, { url: `${url}#/execution/${inherited}` });
  await page.locator(".node").first().waitFor();
  const seen = await page.evaluate(() => ({ names: Object.keys(Object.prototype).length, keys: typeof Object.keys, leaks: (() => { let n = 0; for (const _ in {}) n += 1; return n; })() }));
  check("names that all objects have are names of tasks", (await page.locator(".node").count()) === names.length && seen.names === 0 && seen.leaks === 0 && seen.keys === "function", seen);
  check("and the graph can be used", (await page.locator(".edge").count()) === 10);
  await page.locator(".node").nth(1).click();
  await page.locator(".task-panel h3", { hasText: "__proto__" }).waitFor();
  const began = Date.now();
  await page.goto(`${url}#/execution/${dense}`);
  await page.locator(".execution-head", { hasText: "dense" }).waitFor();
  await page.locator(".node").first().waitFor();
  check("edges that a longer path implies are not drawn", (await page.locator(".node").count()) === 80 && (await page.locator(".edge").count()) === 79);
  await page.goto(`${url}#/execution/${wide}`);
  await page.locator(".dag-list button").first().waitFor();
  check("what cannot be drawn is a list", (await page.locator(".dag-list button").count()) === 120);
  await page.locator(".dag-list button").nth(70).click();
  await page.locator(".task-panel h3", { hasText: "t70" }).waitFor();
  check("all that within seconds", Date.now() - began < 15000, Date.now() - began);
  check("graphs: no complaints", page.complaints.length === 0, page.complaints);
  await page.context().close();
}

// A dialog acts on what it showed, whatever the address has become since.
async function boundDialog(browser, url) {
  const page = await open(browser, { url: `${url}#/executions` });
  await page.locator("[data-row]").first().waitFor();
  await page.locator(".chip", { hasText: "failed" }).click();
  await page.waitForFunction(() => location.hash.includes("status=failed"));
  await page.keyboard.press("Escape");
  await page.getByText("Act on all that fit").click();
  await page.getByText("executions fit").waitFor();
  await page.goBack();
  await page.locator("dialog[open]").waitFor({ state: "detached" });
  check("the back button closes the dialog that acts on many", !(await page.evaluate(() => location.hash)).includes("failed"));
  await page.context().close();
}

async function tooLarge(browser, url) {
  const id = sql(`SELECT insula.submit('invoice', (repeat('{"a":', 600) || '1' || repeat('}', 600))::jsonb, tenant => 'acme')`);
  const page = await open(browser, { url: `${url}#/execution/${id}` });
  await page.getByRole("button", { name: "Run again" }).click();
  await page.getByText("too large or too deep").waitFor();
  check("an input that cannot be shown cannot be edited", (await page.locator("dialog textarea").count()) === 0);
  await page.locator("dialog").getByRole("button", { name: "Run it" }).click();
  await page.waitForFunction((old) => !location.hash.endsWith(old), id);
  const made = (await page.evaluate(() => location.hash)).split("/").pop();
  check("the new run has the same", sql(`SELECT a.input = b.input FROM insula.execution_source(${id}) a, insula.execution_source(${made}) b`) === "t", made);
  sql("SELECT insula.register_workflow(jsonb_build_object('name', 'huge', 'description', repeat('d', 5000000), 'tasks', '[{\"id\": \"a\"}, {\"id\": \"b\", \"depends_on\": [\"a\"]}]'::jsonb), tenant => 'acme')");
  await page.goto(`${url}#/execution/${sql("SELECT insula.submit('huge', tenant => 'acme')")}`);
  await page.getByText("4.8 MB, more than this page reads").waitFor();
  check("a definition that is left out is told, and the tasks are shown", (await page.locator(".node").count()) === 2);
  sql("SELECT insula.create_tenant('leaving')");
  sql(`SELECT insula.register_workflow('{"name": "w", "tasks": [{"id": "a"}]}', tenant => 'leaving')`);
  const gone = sql("SELECT insula.submit('w', tenant => 'leaving')");
  await page.goto(`${url}#/execution/${gone}`);
  await page.locator(".execution-head", { hasText: gone }).waitFor();
  check("while it is there it can be cancelled", (await page.locator(".actions").count()) === 1);
  sql("SELECT insula.drop_tenant('leaving')");
  await page.locator(".banner", { hasText: "It is gone" }).waitFor({ timeout: 20000 });
  check("what has gone is not live", (await page.locator(".liveness").innerText()) === "Old" && (await page.locator(".actions").count()) === 0);
  await page.context().close();
}

// Locks what the view reads, so that the database answers late.
async function slow(browser, url, lock) {
  const page = await open(browser, { url: `${url}#/tenants` });
  await page.locator("[data-row]").first().waitFor();
  const release = lock();
  await page.locator(".banner").waitFor({ timeout: 20000 });
  check("a slow database makes the page say so", (await page.locator(".banner").innerText()).includes("slow"), await page.locator(".banner").innerText());
  check("and what was there stays", (await page.locator("[data-row]").count()) > 0);
  release();
  await page.locator(".banner").waitFor({ state: "detached", timeout: 40000 });
  check("until it answers again", (await page.locator(".liveness").innerText()) === "Live");
  await page.context().close();
}

export async function checkSafety(browser, servers, ids, lock) {
  const parts = [["another site", () => otherSite(browser, servers.open, ids)], ["read-only", () => readOnly(browser, servers.readOnly, ids)], ["one tenant", () => oneTenant(browser, servers.tenant, ids)], ["graphs", () => graphs(browser, servers.open)], ["a dialog", () => boundDialog(browser, servers.open)], ["a large input", () => tooLarge(browser, servers.open)], ["a token", () => withToken(browser, servers.token, servers.secret)], ["a slow database", () => slow(browser, servers.open, lock)]];
  for (const [name, part] of parts) {
    try {
      await part();
    } catch (error) {
      check(`${name}: to its end`, false, error.stack);
    }
  }
}
