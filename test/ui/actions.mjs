// What a person does, with the mouse and with the keyboard alone; what has come of it is read from the database.
import { execFileSync } from "node:child_process";
import { check, open } from "./browser.mjs";

export function sql(text) {
  return execFileSync("psql", ["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text], { encoding: "utf8" }).trim();
}
const statusOf = (id) => sql(`SELECT status FROM insula.result(${id})`);
const eventsOf = (id) => sql(`SELECT string_agg(event || ' ' || coalesce(detail::text, ''), E'\\n' ORDER BY at) FROM insula.timeline(${id})`);

export async function until(what, isSo) {
  for (let i = 0; i < 100; i += 1) {
    if (await isSo()) return check(what, true);
    await new Promise((go) => setTimeout(go, 100));
  }
  return check(what, false);
}

// An execution whose lookup fails for want of an address: found by its error, explained, retried.
function makeStuck(customer) {
  const id = sql(`SELECT insula.submit('approval', '{"customer": "${customer}"}', tenant => 'initech')`);
  sql(`SELECT insula.fail(task_id, lease, 'no approver for ${customer}', false) FROM insula.claim('worker-1', ARRAY['approval.ask'], tenant => 'initech')`);
  return id;
}

async function byMouse(browser, url) {
  const id = makeStuck("mouse");
  const began = Date.now();
  const page = await open(browser, { url });
  await page.locator("nav").getByText("Executions").click();
  await page.locator(".filter", { hasText: "Error has" }).locator("input").fill("no approver for mouse");
  await page.keyboard.press("Enter");
  await until("the mouse: it is found by its error", async () => (await page.locator(".list .row").count()) === 1);
  await page.locator(".list [data-row]").first().click();
  await page.getByText("Why it failed").waitFor();
  check("the mouse: it says why", (await page.locator(".explanation").innerText()).includes("no approver for mouse"));
  await page.getByRole("button", { name: "Retry" }).click();
  await page.locator("dialog input").fill("an approver is back");
  await page.locator("dialog").getByRole("button", { name: "Retry" }).click();
  await until("the mouse: it runs again", () => statusOf(id) === "running" || statusOf(id) === "pending");
  await page.getByText("Why it is not done yet").waitFor();
  check("the mouse: in less than a minute", Date.now() - began < 60000, Date.now() - began);
  const events = eventsOf(id);
  check("the history says what was done, why, and by which role", events.includes("execution_retried") && events.includes("an approver is back (dashboard: role postgres)"), events);
  await page.context().close();
}

async function byKeys(browser, url) {
  const id = makeStuck("keys");
  const began = Date.now();
  const page = await open(browser, { url });
  await page.locator("nav").waitFor();
  const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
  await press("g", "e");
  await page.locator("main [data-search]").waitFor();
  await press("/", "Tab");
  await page.keyboard.type("no approver for keys");
  await press("Enter", "Escape");
  await until("the keys: it is found by its error", async () => (await page.locator(".list .row").count()) === 1);
  await press("j", "Enter");
  await page.getByText("Why it failed").waitFor();
  check("the keys: it says why", (await page.locator(".explanation").innerText()).includes("no approver for keys"));
  await press("r");
  await page.locator("dialog[open]").waitFor();
  await page.keyboard.press("Enter");
  await until("the keys: it runs again", () => statusOf(id) === "running" || statusOf(id) === "pending");
  await page.getByText("Why it is not done yet").waitFor();
  check("the keys: in less than a minute", Date.now() - began < 60000, Date.now() - began);
  await press("u");
  await page.locator(".list").waitFor();
  await press("?");
  await page.getByText("Single keys do something").waitFor();
  await page.context().close();
}

async function ofOne(browser, url, ids) {
  const page = await open(browser, { url: `${url}#/execution/${ids.waits}` });
  const press = async (key, button) => {
    await page.getByRole("button", { name: key, exact: false }).first().click();
    await page.locator("dialog").getByRole("button", { name: button ?? key, exact: true }).click();
    await page.locator("dialog[open]").waitFor({ state: "detached" });
  };
  await press("Pause");
  await until("pause", () => statusOf(ids.waits) === "paused");
  await page.getByText("It is paused").first().waitFor();
  await page.getByRole("button", { name: "Resume" }).waitFor();
  await press("Resume");
  await until("resume", () => statusOf(ids.waits) !== "paused");
  await page.getByRole("button", { name: "Cancel" }).waitFor();
  await press("Cancel", "Cancel it");
  await until("cancel", () => statusOf(ids.waits) === "cancelled");
  // Again, with numbers as they are, and one of them changed.
  await page.goto(`${url}#/execution/${ids.failed}`);
  await page.getByRole("button", { name: "Run again" }).click();
  const input = page.locator("dialog textarea");
  check("the input has its digits", (await input.inputValue()).includes("9007199254740993"), await input.inputValue());
  await input.fill((await input.inputValue()).replace("9007199254740993", "9007199254740995"));
  await page.locator("dialog").getByRole("button", { name: "Run it" }).click();
  await page.getByText("9007199254740995").first().waitFor();
  const made = (await page.evaluate(() => location.hash)).split("/").pop();
  check("a new run has the edited input", sql(`SELECT input ->> 'customer' FROM insula.execution_source(${made})`) === "9007199254740995");
  const text = await page.goto(`${url}#/execution/${ids.failed}`).then(() => page.locator("main").innerText());
  await page.getByText("18446744073709551617").first().waitFor();
  check("numbers beyond 2^53 are exact", (await page.locator("main").innerText()).includes("0.1234567890123456789"), text);
  check("what a task has changed is marked", (await page.locator(".j-mark.added").count()) > 0 && (await page.locator(".j-mark.removed").count()) > 0 && (await page.locator(".j-mark.changed").count()) > 0);
  await page.goto(`${url}#/execution/${ids.family}`);
  await page.locator(".children .node").first().waitFor();
  check("a child is seen inside its parent", (await page.locator(".children").innerText()).includes(ids.child) && (await page.locator(".children .node").count()) === 3, await page.locator(".children").innerText());
  await page.locator(".children .fold").first().focus();
  await page.keyboard.press("Enter");
  await page.locator(".children .node").first().waitFor({ state: "detached" });
  await page.keyboard.press("Enter");
  await page.locator(".children .node").first().click();
  await page.getByText("Child of").waitFor();
  check("and leads to its own page", (await page.evaluate(() => location.hash)).endsWith(ids.child));
  await page.goto(`${url}#/execution/${ids.failed}`);
  await page.locator(".segment.failed").first().waitFor();
  check("attempts that failed are in the waterfall", (await page.locator(".segment.failed").count()) >= 2);
  await page.context().close();
}

async function ofMany(browser, url) {
  sql("SELECT insula.submit_many('approval', array_fill('{\"bulk\": true}'::jsonb, ARRAY[23]), tenant => 'initech')");
  const page = await open(browser, { url: `${url}#/executions?tenant=initech&workflow=approval&with=${encodeURIComponent('{"bulk": true}')}` });
  const left = () => sql("SELECT count(*) FROM insula.executions('approval', context => '{\"bulk\": true}', tenant => 'initech') WHERE execution_status <> 'cancelled'");
  await page.locator("[data-row]").first().waitFor();
  await page.getByText("Act on all that fit").click();
  await page.getByText("executions fit").waitFor();
  check("it counts them first", (await page.locator("dialog .found").innerText()).startsWith("23 "), await page.locator("dialog .found").innerText());
  const button = page.locator("dialog footer .button").last();
  check("and does nothing without the number", await button.isDisabled());
  await page.locator("dialog input[type=radio][value=pause]").check();
  await page.locator("[data-typed]").fill("23");
  await button.click();
  await until("all that fit are paused", () => sql("SELECT count(*) FROM insula.executions('approval', 'paused', context => '{\"bulk\": true}', tenant => 'initech')") === "23");
  await page.locator("dialog[open]").waitFor({ state: "detached" });
  await page.getByText("Act on all that fit").click();
  await page.getByText("executions fit").waitFor();
  await page.locator("dialog input[type=radio][value=cancel]").check();
  await page.locator("[data-typed]").fill("23");
  await page.locator("dialog footer .button").last().click();
  await until("all that fit are cancelled", () => left() === "0");
  await page.context().close();
}

async function ofLists(browser, url) {
  const page = await open(browser, { url: `${url}#/executions?tenant=acme` });
  const statuses = () => page.locator(".list .row .status").allInnerTexts();
  await page.locator("[data-row]").first().waitFor();
  const chip = page.locator(".chip", { hasText: "completed" });
  await chip.click();
  await until("only those of a status", async () => (await statuses()).length > 0 && (await statuses()).every((status) => status.trim() === "completed"));
  await chip.click();
  await until("all but those of a status", async () => (await statuses()).length > 0 && (await statuses()).every((status) => status.trim() !== "completed"));
  check("the filter is in the address", (await page.evaluate(() => location.hash)).includes("status=%21completed"));
  await page.getByText("+ Save this view").isVisible();
  const since = page.locator(".filter", { hasText: "Submitted" }).locator("select");
  await since.selectOption("!1h");
  await page.getByText("No execution fits").waitFor();
  await since.selectOption("1h");
  await until("only those of an hour, or all older ones", async () => (await statuses()).length > 0);
  await page.goto(`${url}#/executions?tenant=acme&status=completed&range=24h`);
  await page.getByText("+ Save this view").click();
  await page.locator(".name-view input:focus").waitFor();
  await page.keyboard.type("Done today");
  await page.keyboard.press("Enter");
  await page.reload();
  await page.locator(".tab", { hasText: "Done today" }).waitFor();
  const ids = () => page.locator(".list .row .id").allInnerTexts();
  await page.locator("[data-row]").first().waitFor();
  await page.getByRole("button", { name: "Older" }).click();
  await page.getByText("older than").waitFor();
  const second = await ids();
  check("pages go on by key", second.length > 0);
  await page.getByRole("button", { name: "Older" }).click();
  await until("and no row comes twice", async () => { const third = await ids(); return third.length > 0 && !third.some((id) => second.includes(id)); });
  await page.goBack();
  await until("the back button goes back", async () => (await ids()).join() === second.join());
  await page.context().close();
}

async function ofOthers(browser, url) {
  const page = await open(browser, { url: `${url}#/schedules?tenant=acme` });
  const row = (name) => page.locator("tr", { hasText: name });
  const confirm = async (button) => { await page.locator("dialog").getByRole("button", { name: button, exact: true }).click(); await page.locator("dialog[open]").waitFor({ state: "detached" }); };
  await row("nightly").getByRole("button", { name: "Pause" }).click();
  await confirm("Pause");
  await until("a schedule is paused", () => sql("SELECT status FROM insula.schedules('acme') WHERE name = 'nightly'") === "paused");
  await row("nightly").getByRole("button", { name: "Resume" }).click();
  await confirm("Resume");
  await until("and resumed", () => sql("SELECT status FROM insula.schedules('acme') WHERE name = 'nightly'") === "active");
  await row("nightly").getByRole("button", { name: "Run now" }).click();
  await page.locator("dialog").getByRole("button", { name: "Run now", exact: true }).click();
  await page.locator(".execution-head").waitFor();
  check("a schedule is run now, with its input", (await page.getByText("customer").count()) > 0);
  await page.goto(`${url}#/workflows?tenant=acme`);
  await row("nightly_export").getByRole("button", { name: "Resume" }).click();
  await confirm("Resume");
  await until("a workflow is resumed", () => sql("SELECT status FROM insula.workflows('acme') WHERE workflow = 'nightly_export'") === "active");
  await row("nightly_export").getByRole("button", { name: "Pause" }).click();
  await confirm("Pause");
  await until("and paused", () => sql("SELECT status FROM insula.workflows('acme') WHERE workflow = 'nightly_export'") === "paused");
  await page.goto(`${url}#/tenants`);
  await page.getByRole("button", { name: "Tenant" }).last().click();
  await until("tenants sort by name", async () => { const names = await page.locator("td [data-row]").allInnerTexts(); return names.length > 3 && [...names].sort().join() === names.join(); });
  const cells = async (tenant) => page.locator("tr", { has: page.getByRole("link", { name: tenant, exact: true }) }).innerText();
  check("what holds a tenant back is said", (await cells("globex")).includes("max_running") && (await cells("umbrella")).includes("suspended"), `${await cells("globex")} ${await cells("umbrella")}`);
  check("and its share beside its weight", / % of .* %/.test(await cells("acme")), await cells("acme"));
  await until("and when it failed last", async () => /\d (s|min|h).* ago/.test(await page.locator("tr", { has: page.getByRole("link", { name: "acme", exact: true }) }).locator("a.bad time").innerText()));
  await page.goto(`${url}#/tenants?open=acme`);
  await page.getByText("Count what it used this month").click();
  await page.getByText("This month, by workflow").waitFor();
  check("and what it used this month", (await page.getByRole("region", { name: "What it used this month" }).innerText()).includes("customer_processing"));
  await page.locator("[data-search]").fill("oo");
  await until("and are found", async () => (await page.locator("td [data-row]").allInnerTexts()).join() === "hooli");
  await page.locator("[data-tenant-switch]").focus();
  await page.keyboard.type("glob");
  await page.locator("#tenant-list li", { hasText: "globex" }).waitFor();
  await page.keyboard.press("Enter");
  await until("the switch takes a tenant", async () => (await page.evaluate(() => location.hash)).includes("tenant=globex"));
  await page.context().close();
}

export async function checkActions(browser, url, ids) {
  for (const part of [byMouse, byKeys, ofOne, ofMany, ofLists, ofOthers]) {
    try {
      await part(browser, url, ids);
    } catch (error) {
      check(`${part.name} goes to its end`, false, error.stack);
      for (const context of browser.contexts()) for (const page of context.pages()) await page.screenshot({ path: `${process.env.UI_PICTURES}/failed-${part.name}.png` });
    }
  }
}
