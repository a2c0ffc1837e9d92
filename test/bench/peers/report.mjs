// A worker's report to the bench, as bench_worker writes it (../worker/report.hpp): "ready",
// then after "go" how many jobs have been handled so far, and for each job whose start was
// asked for, when that was.  The end of its input is the sign to stop.
import process from "node:process";
import { createInterface } from "node:readline";

let handled = 0;
let told = 0;
let starts = [];

export function count(n = 1) {
  handled += n;
}

// process.hrtime and the bench's clock are one: the system's monotonic one.
export function start(payload) {
  starts.push(`at ${payload.n} ${process.hrtime.bigint()}\n`);
  handled += 1;
}

function tell() {
  if (handled === told) return;
  told = handled;
  process.stdout.write(starts.join("") + `done ${handled}\n`);
  starts = [];
}

// Calls `go` when told to, then waits for the end of the input and calls what `go` returned.
export async function work(go) {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  process.stdout.write("ready\n");
  await lines.next();
  const timer = setInterval(tell, 5);
  const stop = await go();
  while (!(await lines.next()).done);
  clearInterval(timer);
  await stop();
  tell();
}
