// From opening the page to what was wanted, as a person goes: by what is seen and can be pressed, never by an address.
import { check, open } from "./browser.mjs";
import { sql, until } from "./actions.mjs";

const statusOf = (id) => sql(`SELECT status FROM insula.result(${id})`);

async function start(browser, url) {
  const page = await open(browser, { url });
  page.goto = () => { throw new Error("a walk goes to no address"); };
  return { page, began: Date.now(), press: async (...keys) => { for (const key of keys) await page.keyboard.press(key); } };
}

const inTime = (how, began) => check(`${how}: in less than a minute`, Date.now() - began < 60000, Date.now() - began);
const hasStatus = (id, ...statuses) => () => statuses.includes(statusOf(id));
const submitHeld = (tenant, customer) => sql(`SELECT insula.submit('etl', '{"files": ["held.csv"], "customer": "${customer}"}', tenant => '${tenant}')`);
const isOneRow = (page) => async () => (await page.locator(".list .row").count()) === 1;

// Its tenant runs as many tasks as it may: the first view leads to the tenant, and that to the execution.
async function limitByMouse(browser, url) {
  const id = submitHeld("globex", "limit mouse");
  const { page, began } = await start(browser, url);
  await page.getByRole("region", { name: "Oldest ready" }).getByRole("link", { name: "globex" }).click();
  await page.locator(".explain-tenant dd").first().waitFor();
  check("limit, mouse: the tenant says what holds it back", (await page.locator("tr.chosen").innerText()).includes("max_running"));
  await page.getByRole("region", { name: "globex" }).getByRole("link", { name: "Executions" }).click();
  await page.locator(".filter", { hasText: "Input has" }).locator("input").fill('{"customer": "limit mouse"}');
  await page.keyboard.press("Enter");
  await until("limit, mouse: it is found by its input", isOneRow(page));
  await page.locator(".list [data-row]").first().click();
  await page.getByText("the tenant's max_running is reached").waitFor();
  check("limit, mouse: and what raises it", (await page.locator(".explanation .command").innerText()).includes("set_tenant_limits('globex', max_running =>"));
  await page.getByRole("link", { name: "See what runs" }).click();
  await page.getByRole("region", { name: "Table of leases" }).getByText("worker-7").first().waitFor();
  await page.goBack();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.locator("dialog").getByRole("button", { name: "Cancel it" }).click();
  await until("limit, mouse: it is cancelled", hasStatus(id, "cancelled"));
  await page.getByRole("button", { name: "Retry" }).click();
  await page.locator("dialog").getByRole("button", { name: "Retry" }).click();
  await until("limit, mouse: and retried", hasStatus(id, "pending", "running"));
  inTime("limit, mouse", began);
  await page.context().close();
}

// No worker takes its task.
async function workerByKeys(browser, url) {
  const id = submitHeld("initech", "worker keys");
  const { page, began, press } = await start(browser, url);
  await page.locator("nav").waitFor();
  await press("g", "e");
  await page.locator("main [data-search]").waitFor();
  await press("/", "Tab", "Tab");
  await page.keyboard.type('{"customer": "worker keys"}');
  await press("Enter", "Escape");
  await until("worker, keys: it is found by its input", isOneRow(page));
  await press("j", "Enter");
  await page.getByText("waits for a worker").first().waitFor();
  check("worker, keys: it says what that may mean", (await page.locator(".explanation").innerText()).includes("none handles this task"));
  await press("c");
  await page.locator("dialog[open]").waitFor();
  await press("Enter");
  await until("worker, keys: it is cancelled", hasStatus(id, "cancelled"));
  await page.getByRole("button", { name: "Retry" }).waitFor();
  await press("r");
  await page.locator("dialog[open]").waitFor();
  await press("Enter");
  await until("worker, keys: and retried", hasStatus(id, "pending", "running"));
  inTime("worker, keys", began);
  await page.context().close();
}

// Errors of the last hour lead to an execution that failed with one of them.
async function failureByKeys(browser, url) {
  const { page, began, press } = await start(browser, url);
  await page.locator(".failures [data-row]").first().waitFor();
  const error = await page.locator(".failures .error").first().innerText();
  await press("j", "Enter");
  await page.getByText("Why it failed").waitFor();
  const id = await page.locator(".execution-head dd.mono").first().innerText();
  const says = await page.locator(".explanation").innerText();
  check("failure, keys: the execution says the error", error.replace("…", "").split("#").every((part) => says.includes(part.trim())), `${error} / ${says}`);
  const retried = () => sql(`SELECT count(*) FROM insula.timeline(${id.trim()}) WHERE event = 'execution_retried'`) === "1";
  await press("r");
  await page.locator("dialog[open]").waitFor();
  await press("Enter");
  await until("failure, keys: it is retried", retried);
  inTime("failure, keys", began);
  await page.context().close();
}

export async function checkWalks(browser, url) {
  for (const walk of [limitByMouse, workerByKeys, failureByKeys]) {
    try {
      await walk(browser, url);
    } catch (error) {
      check(`${walk.name} goes to its end`, false, error.stack);
      for (const context of browser.contexts()) for (const page of context.pages()) await page.screenshot({ path: `${process.env.UI_PICTURES}/failed-${walk.name}.png` });
    }
  }
}
