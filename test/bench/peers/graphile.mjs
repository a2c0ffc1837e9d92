// graphile-worker, as its own documentation tunes it for throughput: a local queue of 500 and
// completions in batches.  One process is one of the workers.  Beside those that work, each
// holds a connection that listens.
//
//   graphile.mjs <database> create     its schema
//   graphile.mjs <database> drain      work jobs off
//   graphile.mjs <database> pairs      one claim, one completion at a time, on 8 connections
//   graphile.mjs <database> pickup     say when each job began
import process from "node:process";
import { run, runMigrations } from "graphile-worker";
import { count, start, work } from "./report.mjs";

const [database, use] = process.argv.slice(2);
const quiet = { scope: () => quiet, error: console.error, warn() {}, info() {}, debug() {} };

const presets = {
  drain: {
    concurrentJobs: 24,
    maxPoolSize: 10,
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
  },
  pairs: { concurrentJobs: 8, maxPoolSize: 9, pollInterval: 100 },
  pickup: { concurrentJobs: 1, maxPoolSize: 3 },
};

const connectionString =
  `postgres://${process.env.PGUSER}@/${database}?host=${process.env.PGHOST}&port=${process.env.PGPORT}`;

if (use === "create") {
  await runMigrations({ connectionString, logger: quiet });
} else {
  await work(async () => {
    const job = use === "pickup" ? start : () => count();
    const preset = { worker: { connectionString, ...presets[use] } };
    const runner = await run({ preset, noHandleSignals: true, logger: quiet, taskList: { job } });
    return () => runner.stop();
  });
}
process.exit(0);
