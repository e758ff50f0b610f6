"""What lazy imports of the interpreter (PEP 810) give to a start: ``python3.15 benchmarks/lazy_imports.py``.

It starts a FastAPI application with one route behind Mangum, as the function's web layer is, in processes of
its own, with what the Python that runs it has: FastAPI, Mangum, numpy and orjson. Variants are interleaved:
imports as they are, all of them lazy (from Python 3.15 on), with the function's lazy modules, and with both.
Milliseconds are counted from the first import.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EAGER, OURS = "as it is", "lazy modules"
APPLICATION = """
import gc, sys, time
began = time.perf_counter()
gc.disable()
sys.path.insert(0, {root!r})
from contextlib import nullcontext
from lambda_app.coldstart.lazy_modules import UNUSED_BY_A_START
if {ours}:
    from lambda_app.coldstart.lazy_modules import lazy_modules as stubs
else:
    stubs = lambda *names: nullcontext()
with stubs(*UNUSED_BY_A_START):
    from fastapi import FastAPI, Request, Response
from mangum import Mangum
import asyncio, numpy, orjson
app = FastAPI(openapi_url=None)
@app.post("/v1/embeddings")
async def embed(request: Request) -> Response:
    body = orjson.loads(await request.body())
    rows = numpy.ones((len(body["input"]), 768), numpy.float32)
    return Response(orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
handler = Mangum(app, lifespan="off")
ready = time.perf_counter()
asyncio.set_event_loop(asyncio.new_event_loop())
http = {{"method": "POST", "path": "/v1/embeddings", "protocol": "HTTP/1.1", "sourceIp": "1.2.3.4"}}
response = handler({{
    "version": "2.0", "routeKey": "$default", "rawPath": "/v1/embeddings", "rawQueryString": "",
    "headers": {{"host": "localhost"}}, "requestContext": {{"http": http, "stage": "$default"}},
    "body": '{{"input": ["a"]}}', "isBase64Encoded": False,
}}, object())
assert response["statusCode"] == 200, response
print((time.perf_counter() - began) * 1000, (ready - began) * 1000, len(sys.modules))
"""


def variants(version: tuple[int, ...] = sys.version_info[:2]) -> dict[str, tuple[list[str], bool]]:
    """Returns the options of the interpreter for each variant, and whether our lazy modules are used."""
    found: dict[str, tuple[list[str], bool]] = {EAGER: ([], False), OURS: ([], True)}
    if version >= (3, 15):
        lazy = ["-X", "lazy_imports=all"]
        found |= {"lazy imports": (lazy, False), "both": (lazy, True)}
    return found


def start(options: list[str], *, ours: bool) -> list[float]:
    """Returns milliseconds to the first response and for the imports, and the modules that were imported.

    Raises:
        subprocess.CalledProcessError: the application did not start or respond.
    """
    command = [sys.executable, *options, "-c", APPLICATION.format(root=str(ROOT), ours=ours)]
    environment = {**os.environ, "PYDANTIC_DISABLE_PLUGINS": "__all__", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description="What lazy imports of the interpreter give to a start.")
    parser.add_argument("--rounds", type=int, default=11, help="processes of each variant (default 11)")
    options = parser.parse_args(arguments)
    samples: dict[str, list[list[float]]] = {name: [] for name in variants()}
    # The first round fills caches, and is not counted.
    for _ in range(options.rounds + 1):
        for name, (flags, ours) in variants().items():
            samples[name].append(start(flags, ours=ours))
    print(f"Python {sys.version.split()[0]}: variant, ms to the first response, ms of imports, modules")
    for name, runs in samples.items():
        print(name, *(round(statistics.median(column)) for column in zip(*runs[1:], strict=True)), sep=", ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
