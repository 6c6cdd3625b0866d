"""Example backend on a bad day: a fixed share of its calls ends in 500, 429 with Retry-After or a lost connection."""

import argparse
import asyncio
import itertools
import socket
import warnings

from aiohttp import web
from analysis import analyse, source_of

BODY_BYTES_MAX = 4 * 1024 * 1024
DROP_EVERY, BUSY_EVERY, ERROR_EVERY = 37, 23, 9
CALLS = web.AppKey("calls", itertools.count)
ACTIVE = web.AppKey("active", set[int])


async def predict(request: web.Request) -> web.Response:
    call = next(request.app[CALLS])
    if call % DROP_EVERY == 0 and request.transport is not None:
        request.transport.abort()
    if call % BUSY_EVERY == 0:
        return web.json_response({"error": "busy"}, status=429, headers={"Retry-After": "1"})
    if call % ERROR_EVERY == 0:
        return web.json_response({"error": "out of luck"}, status=500)
    active = request.app[ACTIVE]
    active.add(call)
    try:
        return await run(request)
    finally:
        active.discard(call)


async def run(request: web.Request) -> web.Response:
    try:
        task = await request.json()
        source = source_of(task["request"]["payload"])
    except (KeyError, TypeError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response(await asyncio.to_thread(analyse, source))


async def health(request: web.Request) -> web.Response:
    load = {"active_tasks": len(request.app[ACTIVE]), "queue_length": 0}
    return web.json_response({"status": "healthy", "load": load})


def application() -> web.Application:
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app[CALLS], app[ACTIVE] = itertools.count(1), set()
    app.add_routes([web.post("/predict", predict), web.get("/health", health)])
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    warnings.simplefilter("ignore")
    listener = socket.create_server(("127.0.0.1", parser.parse_args().port))
    print(f"listening http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    web.run_app(application(), sock=listener, print=None, access_log=None, shutdown_timeout=5)


if __name__ == "__main__":
    main()
