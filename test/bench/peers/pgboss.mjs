// pg-boss, by its calls for batches (insert, fetch, complete), which its documentation gives
// for throughput; finished jobs are kept, as is its default.
//
//   pgboss.mjs <database> create                 its schema and a queue
//   pgboss.mjs <database> load <jobs>            that many, a thousand a call
//   pgboss.mjs <database> drain <connections>    work jobs off, a thousand at a time
//   pgboss.mjs <database> pairs <connections>    one claim, one completion at a time
import process from "node:process";
import { PgBoss } from "pg-boss";
import { count, work } from "./report.mjs";

const [database, use, amount = "1"] = process.argv.slice(2);
const number = Number(amount);
const boss = new PgBoss({
  host: process.env.PGHOST,
  database,
  user: process.env.PGUSER,
  max: use === "load" || use === "create" ? 1 : number,
  supervise: false,
  schedule: false,
  migrate: use === "create",
});
boss.on("error", (error) => console.error(error));

// The bench's own job (bench::job): 200 bytes of JSON.
function job(n) {
  const head = `{"n": ${n}, "payload": "`;
  const hex = Math.trunc(Math.random() * 2 ** 52).toString(16).padStart(16, "0");
  return { data: { n, payload: hex.repeat(13).slice(0, 200 - head.length - 2) } };
}

let stopped = false;
async function loop(batchSize) {
  while (!stopped) {
    const jobs = await boss.fetch("job", { batchSize });
    count(jobs.length);
    if (jobs.length > 0) await boss.complete("job", jobs.map(({ id }) => id));
    else await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

await boss.start();
if (use === "create") {
  await boss.createQueue("job");
} else if (use === "load") {
  for (let n = 0; n < number; n += 1000) {
    const size = Math.min(1000, number - n);
    await boss.insert("job", Array.from({ length: size }, (_, i) => job(n + i)));
  }
} else {
  await work(async () => {
    const loops = Array.from({ length: number }, () => loop(use === "pairs" ? 1 : 1000));
    return async () => {
      stopped = true;
      await Promise.all(loops);
    };
  });
}
await boss.stop({ graceful: false });
process.exit(0);
