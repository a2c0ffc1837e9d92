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
  const parts = [["another site", () => otherSite(browser, servers.open, ids)], ["read-only", () => readOnly(browser, servers.readOnly, ids)], ["one tenant", () => oneTenant(browser, servers.tenant, ids)], ["a token", () => withToken(browser, servers.token, servers.secret)], ["a slow database", () => slow(browser, servers.open, lock)]];
  for (const [name, part] of parts) {
    try {
      await part();
    } catch (error) {
      check(`${name}: to its end`, false, error.stack);
    }
  }
}
