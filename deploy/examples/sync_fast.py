"""Example backend: answers each task at once, in the response to the POST."""

import argparse
import asyncio
import socket
import warnings

from aiohttp import web
from analysis import analyse, source_of

BODY_BYTES_MAX = 4 * 1024 * 1024
ACTIVE = web.AppKey("active", set[str])


async def predict(request: web.Request) -> web.Response:
    try:
        task = await request.json()
        task_id, source = task["task_id"], source_of(task["request"]["payload"])
    except (KeyError, TypeError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=400)
    active = request.app[ACTIVE]
    active.add(task_id)
    try:
        return web.json_response(await asyncio.to_thread(analyse, source))
    finally:
        active.discard(task_id)


async def health(request: web.Request) -> web.Response:
    load = {"active_tasks": len(request.app[ACTIVE]), "queue_length": 0}
    return web.json_response({"status": "healthy", "load": load})


def application() -> web.Application:
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app[ACTIVE] = set()
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
