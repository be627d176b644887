// Express that hands each delivery to BullMQ on Redis as one job; with `worker`, what takes them out.
import { Queue, Worker } from "bullmq";
import { serve } from "./signature.mjs";

const connection = { host: "127.0.0.1", port: Number(new URL(process.env.REDIS_URL).port) };
if (process.argv[2] === "worker") {
  new Worker("deliveries", async () => {}, { connection, concurrency: 8, removeOnComplete: { count: 0 } });
} else {
  const queue = new Queue("deliveries", { connection });
  serve((body) => queue.add("delivery", { body: body.toString() }, { removeOnComplete: true }));
}
