"""Example backend: answers 202 at once and PUTs the result to the task's callback URL when it is there."""

import argparse
import asyncio
import socket
import sys
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from analysis import analyse, source_of

BODY_BYTES_MAX = 4 * 1024 * 1024
WORKERS = 2
TRIES_MAX = 10
PAUSE_S_MAX = 5.0
CALL_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Job:
    attempt: int
    work: asyncio.Task[None]


RUNNING = web.AppKey("running", dict[str, Job])
WORKERS_FREE = web.AppKey("workers_free", asyncio.Semaphore)
SESSION = web.AppKey("session", ClientSession)


async def predict(request: web.Request) -> web.Response:
    running = request.app[RUNNING]
    try:
        task = await request.json()
        task_id, attempt, callback_url = task["task_id"], task["attempt"], task["callback_url"]
        source = source_of(task["request"]["payload"])
    except (KeyError, TypeError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=400)
    older = running.get(task_id)
    if older is not None and older.attempt == attempt:
        return web.json_response({"error": "already running"}, status=409)
    if older is not None:
        older.work.cancel()
    running[task_id] = job = Job(attempt, asyncio.create_task(work(request.app, source, callback_url)))
    job.work.add_done_callback(lambda _: running.get(task_id) is job and running.pop(task_id))
    return web.json_response({"status": "accepted"}, status=202)


async def work(app: web.Application, source: str, callback_url: str) -> None:
    async with app[WORKERS_FREE]:
        result = await asyncio.to_thread(analyse, source)
    await call_back(app[SESSION], callback_url, {"status": "COMPLETED", "result": result})


async def call_back(session: ClientSession, url: str, outcome: dict) -> None:
    """PUT until it is taken; 4xx other than 429 is an answer too: the attempt is over, whoever ended it."""
    for number in range(TRIES_MAX):
        pause_s = min(0.2 * 2**number, PAUSE_S_MAX)
        try:
            async with session.put(url, json=outcome) as answer:
                if answer.status != 429 and answer.status < 500:
                    return
                pause_s = max(pause_s, retry_after_s(answer.headers.get("Retry-After", "")))
        except (ClientError, TimeoutError):
            pass
        await asyncio.sleep(pause_s)
    print(f"no callback after {TRIES_MAX} tries", file=sys.stderr)


def retry_after_s(header: str) -> float:
    return min(float(header), 30.0) if header.isdigit() else 0.0


async def cancel(request: web.Request) -> web.Response:
    job = request.app[RUNNING].pop(request.match_info["task_id"], None)
    if job is None:
        return web.json_response({"error": "not running"}, status=404)
    job.work.cancel()
    return web.json_response({"status": "cancelled"})


async def health(request: web.Request) -> web.Response:
    load = {"active_tasks": len(request.app[RUNNING]), "queue_length": 0}
    return web.json_response({"status": "healthy", "load": load})


async def resources(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(timeout=ClientTimeout(total=CALL_TIMEOUT_S)) as app[SESSION]:
        yield
        for job in list(app[RUNNING].values()):
            job.work.cancel()


def application() -> web.Application:
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app[RUNNING], app[WORKERS_FREE] = {}, asyncio.Semaphore(WORKERS)
    app.cleanup_ctx.append(resources)
    app.add_routes(
        [web.post("/predict", predict), web.delete("/predict/{task_id}", cancel), web.get("/health", health)]
    )
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
