"""FastAPI that checks a delivery's signature and hands it to Celery on Redis, one task each."""

import base64
import hashlib
import hmac
import os

from celery import Celery
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

SECRET = os.environ["BENCH_SECRET"].encode()
URL = os.environ["BENCH_URL"]

app = Celery("app", broker=os.environ["REDIS_URL"])
app.conf.task_ignore_result = True
web = FastAPI()


@app.task
def ingest(body: str) -> None:
    """Does nothing: only taking in is measured."""


@web.post("/webhooks/hubspot/acme")
async def deliver(request: Request) -> Response:
    body = await request.body()
    stamp = request.headers["x-hubspot-request-timestamp"]
    signed = b"POST" + URL.encode() + body + stamp.encode()
    signature = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    if not hmac.compare_digest(signature, request.headers["x-hubspot-signature-v3"]):
        return Response(status_code=401)
    # Returns when Redis has answered, which it does after its sync.
    await run_in_threadpool(ingest.delay, body.decode())
    return Response(status_code=204)
