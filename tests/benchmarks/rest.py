"""How fast durable tasks go through REST: `python -m tests.benchmarks.rest`. Exits 1 when a result is wrong."""

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import msgspec

from pointsman.cli.demo_child import Child, StepFailed
from pointsman.cli.demo_system import System, fresh_folder
from tests.benchmarks.load import Load, WrongResult
from tests.benchmarks.processes import ProcessTree, Span
from tests.benchmarks.table import Round, print_table, round_line

BACKENDS = 2
MAX_CONCURRENT = 64
CONNECTIONS_MAX = 200
WARM_UP_TASKS = 300
RATE, OPEN_S = 50.0, 6.0
IDLE_S = 5.0
HEALTHY_S_MAX = 60.0
MESSAGES_MAX = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000, help="tasks per throughput round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    try:
        asyncio.run(bench(options.tasks, options.rounds))
    except* (StepFailed, WrongResult, aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as failures:
        print("failed:", *_messages(failures), sep="\n  ", file=sys.stderr)
        sys.exit(1)
    except* asyncio.CancelledError:
        sys.exit(130)


async def bench(tasks: int, rounds: int) -> None:
    work = asyncio.current_task()
    assert work is not None
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, work.cancel)
    async with running() as (load, tree):
        idle = Span.begin(tree)
        await asyncio.sleep(IDLE_S)
        idle_cost, memory = idle.end(), tree.memory_mib()
        await load.tasks_per_second(await load.push(WARM_UP_TASKS))
        seen: list[Round] = []
        for number in range(1, rounds + 1):
            seen.append(await one_round(load, tree, tasks))
            print(round_line(number, seen[-1]), flush=True)
    print_table(seen, tasks, idle_cost, IDLE_S, memory)


async def one_round(load: Load, tree: ProcessTree, tasks: int) -> Round:
    span = Span.begin(tree)
    pushed = await load.push(tasks)
    pushing = span.end()
    per_second = await load.tasks_per_second(pushed)
    span = Span.begin(tree)
    post_ms = await load.open_loop(load.post_and_wait, rate=RATE, seconds=OPEN_S)
    get_ms = await load.open_loop(load.post_then_get, rate=RATE, seconds=OPEN_S)
    return Round(per_second, pushing, post_ms, get_ms, span.end())


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Load, ProcessTree]]:
    async with fresh() as (system, session, backends):
        roots = [("up", system.child.pid), *(("backends", child.pid) for child in backends)]
        yield Load(session), ProcessTree(roots)


@asynccontextmanager
async def fresh(
    connections_max: int = CONNECTIONS_MAX,
) -> AsyncIterator[tuple[System, aiohttp.ClientSession, list[Child]]]:
    """A Pointsman with two registered, healthy echo backends; all stopped on leaving."""
    async with AsyncExitStack() as stack:
        data_dir = stack.enter_context(fresh_folder("pointsman-bench-"))
        system = await System.start(data_dir, port=0, owner="bench")
        stack.push_async_callback(system.stop)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                system.url,
                headers={"Authorization": f"Bearer {system.token}"},
                connector=aiohttp.TCPConnector(limit=connections_max),
                timeout=aiohttp.ClientTimeout(total=60),
            )
        )
        backends = []
        for number in range(BACKENDS):
            backends.append(await start_backend(session, f"echo-{number}"))
            stack.push_async_callback(backends[-1].stop)
        await until_healthy(session)
        yield system, session, backends


async def start_backend(session: aiohttp.ClientSession, name: str) -> Child:
    child, url = await Child.start(
        name, ("-m", "tests.benchmarks.backend"), ready=r"^listening (http://\S+)$", timeout_s=20
    )
    server = {
        "id": name,
        "name": name,
        "endpoints": {"predict": f"{url}/predict", "health": f"{url}/health"},
        "async": False,
        "maxConcurrent": MAX_CONCURRENT,
        "capabilities": ["bench"],
    }
    async with session.post("/api/servers", json=server) as answer:
        if answer.status != 201:
            await child.stop()
            raise StepFailed(f"POST /api/servers: {answer.status} {await answer.text()}")
    return child


async def until_healthy(session: aiohttp.ClientSession) -> None:
    try:
        async with asyncio.timeout(HEALTHY_S_MAX):
            while True:
                if await _healthy(session) == BACKENDS:
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise StepFailed(f"the backends are not healthy after {HEALTHY_S_MAX:g} s") from None


async def _healthy(session: aiohttp.ClientSession) -> int:
    async with session.get("/api/servers") as answer:
        servers = (await answer.json())["servers"]
    return sum(server["health"]["status"] == "healthy" for server in servers)


def _messages(failure: BaseException) -> list[str]:
    if isinstance(failure, BaseExceptionGroup):
        return [message for inner in failure.exceptions for message in _messages(inner)][:MESSAGES_MAX]
    return [f"{type(failure).__name__}: {failure}"]


if __name__ == "__main__":
    main()
