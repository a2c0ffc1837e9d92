// One Chromium for all tests, a page with what it has complained about, and checks that are counted.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(`${process.env.UI_TOOLS}/`);
const { chromium } = require("playwright-core");
const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const failures = [];
let checks = 0;
export function check(what, isSo, seen = "") {
  checks += 1;
  if (isSo) return true;
  failures.push(what);
  console.log(`FAILED: ${what}${seen === "" ? "" : `\n    ${String(typeof seen === "string" ? seen : JSON.stringify(seen)).slice(0, 1500)}`}`);
  return false;
}
export const checked = () => checks;

export async function launch() {
  return chromium.launch({ executablePath: process.env.UI_CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"] });
}

// A page of its own storage; `page.complaints`: what the console and the policy had against it.
export async function open(browser, { url, width = 1280, height = 900, dark = false, files = null }) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? "dark" : "light", reducedMotion: "reduce", timezoneId: "Europe/Berlin", locale: "en-GB" });
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type()) && !/status of (401|403|404|421|422|503)/.test(message.text())) page.complaints.push(message.text()); });
  page.on("pageerror", (error) => page.complaints.push(String(error.stack ?? error)));
  if (files) await files(page);
  await page.goto(url);
  return page;
}

export async function axe(page, where) {
  // The policy of the page forbids its own scripts to be made from text; a test's comes by the debugger.
  const session = await page.context().newCDPSession(page);
  const run = async (expression) => {
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  await run(`${axeSource};0`);
  const found = await run("axe.run(document, {resultTypes: ['violations']}).then((r) => JSON.stringify(r.violations.map((v) => ({id: v.id, help: v.help, nodes: v.nodes.slice(0, 4).map((n) => n.html.slice(0, 200) + ' | ' + (n.any[0]?.message ?? n.all[0]?.message ?? n.none[0]?.message ?? ''))}))))");
  await session.detach();
  const violations = JSON.parse(found);
  check(`axe finds nothing: ${where}`, violations.length === 0, JSON.stringify(violations, null, 1));
  return violations;
}
