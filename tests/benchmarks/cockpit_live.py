"""The cockpit on a running system: what it costs screen by screen, how soon it answers, and pictures of it.

`python -m tests.benchmarks.cockpit_live [--servers 20] [--rate 60] [--batch 1]` starts everything, stand-in servers and a
steady load included, and the cockpit on a terminal of 120x36. `--captures DIR` writes a picture of every screen instead.
"""

import argparse
import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import psutil

from pointsman.cli.demo_child import output_of
from tests.benchmarks.processes import child, cpu_s_of
from tests.support.rest import Rest
from tests.support.system_up import SystemUp, system_up
from tests.support.terminal import Terminal, terminal

SCREENS = ("overview", "servers", "tasks", "events", "stats", "balancer")
TYPES = ("transcribe", "resize-image", "score-fraud", "render-pdf")
WARM_UP_S, LOADED_S, UNTIL_OVER_S = 20.0, 90.0, 75.0
KEYS = 30
AT_ONCE = 12
MIB = 1024 * 1024


async def register(admin: Rest, servers: int, port: str) -> None:
    for number in range(servers):
        server: dict[str, Any] = {
            "id": f"gpu-{number:03}",
            "url": f"http://127.0.0.1:{port}/s{number}",
            "async": False,
            "maxConcurrent": 2 + number % 7,
            "groups": [f"rack-{number % 4}"],
            "version": f"1.4.{number % 3}",
        }
        await admin.call("POST", "/api/servers", server, expect=(201,))


@dataclass
class Load:
    accepted: int = 0


@contextlib.asynccontextmanager
async def load(admin: Rest, rate: float, *, batch: int = 1, may_fail: bool = False) -> AsyncIterator[Load]:
    done = Load()

    def task(number: int) -> dict[str, Any]:
        return {"type": TYPES[number % len(TYPES)], "payload": {"n": number}, "labels": {"team": f"t{number % 3}"}}

    at_once = asyncio.Semaphore(AT_ONCE)

    async def submit(numbers: Iterable[int]) -> None:
        tasks = [task(number) for number in numbers]
        failures = (aiohttp.ClientError, TimeoutError, AssertionError) if may_fail else ()
        async with at_once:
            with contextlib.suppress(*failures):
                await send(tasks)
                done.accepted += len(tasks)

    async def send(tasks: list[dict[str, Any]]) -> None:
        if batch == 1:
            await admin.call("POST", "/api/task", tasks[0], expect=(200, 202))
            return
        answer = await admin.call("POST", "/api/tasks/batch", {"tasks": tasks}, expect=(200,))
        assert all("id" in result for result in answer.body["results"]), answer.text[:500]

    async def steadily() -> None:
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in itertools.count(step=batch):
                group.create_task(submit(range(number, number + batch)))
                due += batch / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    submitting = asyncio.create_task(steadily())
    try:
        yield done
    finally:
        submitting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await submitting


async def waiting(admin: Rest) -> str:
    told = (await admin.call("GET", "/api/stats/load-balancer")).body
    return f"accepted; {told['pending']} wait, {told['totalActiveTasks']} run"


async def costs(screen: Terminal, name: str, seconds: float) -> None:
    cpu_s, drawn = cpu_s_of(screen.process.pid), len(screen.drawn)
    await asyncio.sleep(seconds)
    share = (cpu_s_of(screen.process.pid) - cpu_s) / seconds
    per_s = (len(screen.drawn) - drawn) / seconds / 1000
    rss = psutil.Process(screen.process.pid).memory_info().rss / MIB
    print(f"{name:<22}{share:6.1%} of a core{per_s:8.1f} kB/s to the terminal{rss:6.0f} MiB", flush=True)


async def key_to_screen(screen: Terminal) -> None:
    """From a cursor key to the first bytes after it, which other drawing may make shorter than it is."""
    took = []
    for number in range(KEYS):
        await asyncio.sleep(0.23)
        drawn, began = len(screen.drawn), time.perf_counter()
        screen.press(b"jk"[number % 2 :][:1])
        while len(screen.drawn) == drawn:
            await asyncio.sleep(0.001)
        took.append(1000 * (time.perf_counter() - began))
    took.sort()
    print(f"key to screen         p50 {median(took):.0f} ms, p95 {took[int(0.95 * KEYS)]:.0f} ms", flush=True)


async def measure(system: SystemUp, admin: Rest, options: argparse.Namespace) -> None:
    arguments = ("tui", "--data-dir", str(system.data_dir))
    async with contextlib.AsyncExitStack() as stack:
        async with load(admin, options.rate, batch=options.batch) as loaded:
            await asyncio.sleep(WARM_UP_S)
            began = time.perf_counter()
            screen = await stack.enter_async_context(terminal(*arguments))
            await screen.draws(b"Overview")
            skeleton_s = time.perf_counter() - began
            await screen.draws(b"live")
            print(f"start                 skeleton {skeleton_s:.2f} s, live {time.perf_counter() - began:.2f} s")
            await asyncio.sleep(5)
            for place, name in enumerate(SCREENS, 1):
                screen.press(str(place).encode())
                await asyncio.sleep(2)
                accepted, since = loaded.accepted, time.monotonic()
                assert accepted, "nothing is accepted"
                await costs(screen, f"{name}, {options.rate:g}/s", options.seconds)
                print(
                    f"{(loaded.accepted - accepted) / (time.monotonic() - since):24.0f} tasks/s", await waiting(admin)
                )
            screen.press(b"2")
            await asyncio.sleep(2)
            await key_to_screen(screen)
        screen.press(b"1")
        await asyncio.sleep(UNTIL_OVER_S)
        await costs(screen, "overview, nothing", options.seconds)


async def capture(system: SystemUp, admin: Rest, options: argparse.Namespace) -> None:
    """After a minute of work, with a server that is gone, one in maintenance, one that drains and one that fails."""
    gone = {"id": "gpu-gone", "url": "http://127.0.0.1:1025", "async": False, "maxConcurrent": 4}
    await admin.call("POST", "/api/servers", gone, expect=(201,))
    async with load(admin, options.rate):
        await asyncio.sleep(LOADED_S / 2)
        for number, reason in ((3, "new driver"), (9, "disk check")):
            body = {"maintenance": True, "reason": reason}
            await admin.call("POST", f"/api/servers/gpu-{number:03}/maintenance", body, expect=(200, 202))
        await asyncio.sleep(LOADED_S / 2)
        options.captures.mkdir(parents=True, exist_ok=True)
        named = system.data_dir.with_name("production")
        named.symlink_to(system.data_dir)
        for name in SCREENS:
            shown = ("tui", name, "--snapshot", "svg", "--data-dir", str(named))
            picture = await output_of("pointsman tui", ("-m", "pointsman.cli.main", *shown), timeout_s=60)
            (options.captures / f"{name}.svg").write_text(picture)
            print(f"{name}: {len(picture):,} bytes", flush=True)


async def main(options: argparse.Namespace) -> None:
    async with (
        system_up() as system,
        system.client("ann", "admin") as admin,
        child("tests.support.fleet") as (_, port),
    ):
        await register(admin, options.servers, port)
        await (capture if options.captures else measure)(system, admin, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=20)
    parser.add_argument("--rate", type=float, default=60, help="tasks a second")
    parser.add_argument("--batch", type=int, default=1, help="tasks in a submission")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--captures", type=Path, help="folder for pictures of every screen")
    asyncio.run(main(parser.parse_args()))
