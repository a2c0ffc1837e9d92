// Each view, in both themes and three widths: it draws, nothing overflows, nothing is complained about, axe finds
// nothing; a picture of each stays.
import { sql } from "./actions.mjs";
import { axe, check, open } from "./browser.mjs";

export function viewsOf(ids) {
  return {
    now: { hash: "#/now", shows: "What fails", waits: ".u-over" },
    executions: { hash: "#/executions", shows: "Act on all that fit", waits: "[data-row]" },
    failed: { hash: "#/executions?tenant=acme&status=failed", shows: "failed", waits: "[data-row]" },
    execution: { hash: `#/execution/${ids.failed}`, shows: "Why it failed", waits: ".node" },
    waiting: { hash: `#/execution/${ids.elements}`, shows: "elements", waits: ".node" },
    family: { hash: `#/execution/${ids.family}`, shows: "Its child", waits: ".children .node" },
    told: { hash: `#/execution/${ids.told}`, shows: "25% page 1 of 4", waits: ".node" },
    stuck: { hash: `#/execution/${ids.stuck}`, shows: "waits for a worker", waits: ".node" },
    hostile: { hash: `#/execution/${ids.hostile}`, shows: "<img src=x onerror=", waits: ".node" },
    tenants: { hash: "#/tenants?open=globex", shows: "What holds it back", waits: ".explain-tenant dd" },
    workflows: { hash: "#/workflows?tenant=acme", shows: "nightly_export", waits: "[data-row]" },
    schedules: { hash: "#/schedules", shows: "Europe/Berlin", waits: "[data-row]" },
    workers: { hash: "#/workers", shows: "parked", waits: "[data-row]" },
    server: { hash: "#/server", shows: "SELECT * FROM insula.harden()", waits: ".capacity td" },
    empty: { hash: "#/executions?tenant=quiet_one", shows: "No executions yet", waits: ".empty" },
    missing: { hash: "#/execution/12345", shows: "does not exist", waits: ".trouble" },
  };
}

export async function show(page, url, { hash, shows, waits }) {
  await page.goto(url + hash);
  await page.locator(waits).first().waitFor({ timeout: 20000 });
  await page.getByText(shows, { exact: false }).first().waitFor({ timeout: 20000 });
}

const overflow = () => {
  const width = document.documentElement.clientWidth;
  return document.documentElement.scrollWidth > width ? [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > width + 1).slice(0, 5).map((e) => `${e.tagName}.${e.getAttribute("class")}`).join(" ") || "something" : "";
};

export async function checkViews(browser, url, ids, pictures) {
  for (const dark of [false, true]) for (const width of [360, 1024, 1920]) {
    const page = await open(browser, { url, width, height: width < 500 ? 760 : 960, dark });
    for (const [name, view] of Object.entries(viewsOf(ids))) {
      const where = `${name}, ${width} px, ${dark ? "dark" : "light"}`;
      try {
        await show(page, url, view);
      } catch (error) {
        check(`it draws: ${where}`, false, error.message);
        continue;
      }
      check(`nothing overflows: ${where}`, !(await page.evaluate(overflow)), await page.evaluate(overflow));
      // axe's rules do not depend on the width: once wide, once narrow.
      if (width !== 1024) await axe(page, where);
      await page.screenshot({ path: `${pictures}/${name}-${width}-${dark ? "dark" : "light"}.png`, fullPage: width < 500 });
    }
    check(`no script of a tenant has run: ${width} px, ${dark ? "dark" : "light"}`, (await page.evaluate(() => window.hacked)) === undefined);
    check(`the browser has nothing against it: ${width} px, ${dark ? "dark" : "light"}`, page.complaints.length === 0, page.complaints);
    await page.context().close();
  }
}

// The dialogs and what opens over a page.
export async function checkOverlays(browser, url, ids, pictures) {
  for (const dark of [false, true]) {
    const theme = dark ? "dark" : "light";
    const page = await open(browser, { url, dark });
    for (const [name, key, shows, of] of [["retry", "r", "What failed or was cancelled runs again", ids.failed], ["help", "?", "Single keys do something", ids.stuck], ["cancel", "c", "No further task of it starts", ids.stuck], ["run", "n", "An input is a JSON object.", ids.stuck]]) {
      await page.goto(`${url}#/execution/${of}`);
      await page.locator(".execution-head", { hasText: of }).waitFor();
      await page.locator(".node").first().waitFor();
      await page.keyboard.press(key);
      await page.locator("dialog[open]").waitFor();
      if (name === "run") await page.locator("dialog textarea").fill("[1]");
      check(`${name} says what it does`, (await page.locator("dialog").innerText()).includes(shows));
      await axe(page, `${name}, ${theme}`);
      await page.screenshot({ path: `${pictures}/dialog-${name}-1280-${theme}.png` });
      await page.keyboard.press("Escape");
      await page.locator("dialog[open]").waitFor({ state: "detached" });
    }
    await page.locator(".node").first().click();
    await page.locator(".task-panel").waitFor();
    await axe(page, `a chosen task, ${theme}`);
    await page.screenshot({ path: `${pictures}/task-1280-${theme}.png` });
    await page.keyboard.press("T");
    await page.locator("#tenant-list li").nth(3).waitFor();
    await axe(page, `the list of tenants, ${theme}`);
    await page.screenshot({ path: `${pictures}/switch-1280-${theme}.png` });
    await page.context().close();
  }
  const page = await open(browser, { url: `${url}#/now` });
  const theme = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await theme();
  await page.getByRole("button", { name: "Dark theme" }).click();
  check("the switch changes the theme", (await theme()) !== before);
  await page.reload();
  await page.getByRole("button", { name: "Light theme" }).waitFor();
  check("and it lasts", (await theme()) !== before);
  await page.context().close();
}

// An address that changes as soon as the page is drawn, before it listens to addresses.
export async function checkEarlyAddress(browser, url) {
  const change = () => new MutationObserver((_, observer) => {
    if (!document.querySelector("nav")) return;
    observer.disconnect();
    location.hash = "#/schedules";
  }).observe(document, { childList: true, subtree: true });
  const page = await open(browser, { url, files: (one) => one.addInitScript(change) });
  await page.locator("nav").waitFor();
  await page.locator(".panel").first().waitFor();
  check("an address that comes early is heard", (await page.locator("h1").innerText()) === "Schedules", await page.locator("h1").innerText());
  await page.context().close();
}

// Enough for the charts of the first view.
async function gathered(url) {
  for (let i = 0; i < 200; i += 1) {
    const { samples } = await (await fetch(`${url}api/samples`)).json();
    if (samples.length >= 45) return;
    await new Promise((go) => setTimeout(go, 1000));
  }
}

// Those that docs/ shows, to be copied by hand when the page has changed. The tenant whose texts are markup is none of
// what a reader has.
export async function takePictures(browser, url, ids, pictures) {
  sql("SELECT insula.drop_tenant('mallory', '0 s')");
  await fetch(`${url}api/now`);  // which counts the queues
  await gathered(url);
  for (const [name, dark, height] of [["now", true, 800], ["execution", false, 860], ["executions", false, 640], ["tenants", true, 820]]) {
    const page = await open(browser, { url, width: 1280, height, dark });
    try {
      await show(page, url, viewsOf(ids)[name === "executions" ? "failed" : name]);
    } catch (error) {
      check(`the picture ${name} is made`, false, `${error.message}\n${await page.locator("body").innerText()}`);
      await page.context().close();
      continue;
    }
    await page.waitForTimeout(1500);
    check(`the picture ${name} is of plain tenants`, !(await page.locator("body").innerText()).includes("mallory"));
    await page.screenshot({ path: `${pictures}/dashboard-${name}.png` });
    await page.context().close();
  }
}
