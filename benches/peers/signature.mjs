// What both servers of Express have in common: raw bodies, and HubSpot's signature of version 3.
import { createHmac, timingSafeEqual } from "node:crypto";
import express from "express";

const { BENCH_SECRET, BENCH_URL, PORT } = process.env;

function isSigned(request) {
  const stamp = request.get("x-hubspot-request-timestamp") ?? "";
  const mac = createHmac("sha256", BENCH_SECRET).update("POST" + BENCH_URL).update(request.body).update(stamp);
  const given = Buffer.from(request.get("x-hubspot-signature-v3") ?? "", "base64");
  const expected = mac.digest();
  return given.length === expected.length && timingSafeEqual(given, expected);
}

// Serves; `keep` resolves when a delivery's bytes are on disk.
export function serve(keep) {
  const app = express();
  app.use(express.raw({ type: "application/json", limit: "1mb" }));
  app.post("/webhooks/hubspot/acme", async (request, response) => {
    if (!isSigned(request)) return response.status(401).end();
    try {
      await keep(request.body);
      response.status(204).end();
    } catch (error) {
      console.error(error);
      response.status(503).end();
    }
  });
  app.listen(Number(PORT), "127.0.0.1");
}
