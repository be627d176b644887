// Express that inserts a job for each event of a delivery by pg-boss; with `drop`, cleans up after it.
import PgBoss from "pg-boss";
import { serve } from "./signature.mjs";

const boss = new PgBoss({ connectionString: process.env.DATABASE_URL, schema: "bench_pgboss",
  supervise: false, schedule: false });
boss.on("error", console.error);
if (process.argv[2] === "drop") {
  await boss.start();
  await boss.getDb?.().executeSql("drop schema bench_pgboss cascade");
  await boss.stop({ graceful: false });
  process.exit(0);
}
await boss.start();
await boss.createQueue("events");
serve((body) => boss.insert(JSON.parse(body).map((data) => ({ name: "events", data }))));
