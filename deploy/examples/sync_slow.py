"""Example backend: slow, and never runs more than two tasks at a time; a third one gets 429 with Retry-After."""

import argparse
import asyncio
import socket
import warnings
from dataclasses import dataclass

from aiohttp import web
from analysis import analyse, source_of

BODY_BYTES_MAX = 4 * 1024 * 1024
MAX_CONCURRENT = 2


@dataclass
class Load:
    delay_s: float
    active: int = 0
    peak: int = 0
    refused: int = 0


LOAD = web.AppKey("load", Load)


async def predict(request: web.Request) -> web.Response:
    load = request.app[LOAD]
    if load.active >= MAX_CONCURRENT:
        load.refused += 1
        return web.json_response({"error": "busy"}, status=429, headers={"Retry-After": "1"})
    load.active += 1
    load.peak = max(load.peak, load.active)
    try:
        return await run(request, load.delay_s)
    finally:
        load.active -= 1


async def run(request: web.Request, delay_s: float) -> web.Response:
    try:
        task = await request.json()
        source = source_of(task["request"]["payload"])
    except (KeyError, TypeError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=400)
    await asyncio.sleep(delay_s)
    return web.json_response(await asyncio.to_thread(analyse, source))


async def health(request: web.Request) -> web.Response:
    load = request.app[LOAD]
    seen = {"active_tasks": load.active, "queue_length": 0, "peak": load.peak, "refused": load.refused}
    return web.json_response({"status": "healthy", "load": seen})


def application(delay_s: float) -> web.Application:
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app[LOAD] = Load(delay_s)
    app.add_routes([web.post("/predict", predict), web.get("/health", health)])
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    parser.add_argument("--delay-ms", type=int, default=150, help="how slow it is")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    listener = socket.create_server(("127.0.0.1", options.port))
    print(f"listening http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    app = application(options.delay_ms / 1000)
    web.run_app(app, sock=listener, print=None, access_log=None, shutdown_timeout=5)


if __name__ == "__main__":
    main()
