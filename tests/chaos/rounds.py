"""One round of chaos: tasks are submitted and executed while one process is killed; then everything is compared."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import aiohttp

from tests.support.backends import Backend
from tests.support.checker import Entry, Ledger, Limited, Observer, Verdict, check
from tests.support.rest import TERMINAL, Json, Reply, Rest
from tests.support.system_up import PROGRAMS, SystemUp, eventually

SUPERVISOR = "supervisor"
VICTIMS = (*PROGRAMS, SUPERVISOR)
SUBMITTERS = 10
READERS = 24
SUBMITTED_WITHIN_S = 150.0
ENDED_WITHIN_S = 120.0
HEALTHY_WITHIN_S = 90.0
"""Bounds of what hangs, for a machine with far too much to do; none is waited out when all goes well."""
ATTEMPT_TIMEOUT_MS = 60_000
PAUSE_S_MAX = 1.0
STRAGGLERS = 12
SERVERS = (
    ("sync", "slow:40", 4, {"cancelOnDisconnect": True}),
    ("stubborn", "stubborn:80", 3, {}),
    ("later", "accepted:60", 5, {}),
)
NO_ANSWER = (aiohttp.ClientError, TimeoutError)


@dataclass
class Round:
    """What happened; times of the kill in ms since the epoch, durations in s."""

    victim: str
    pool: str
    killed_ms: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    tasks: dict[str, Json] = field(default_factory=dict)


@asynccontextmanager
async def pool_of_servers(system: SystemUp, pool: str) -> AsyncIterator[list[Limited]]:
    """Two synchronous backends and one that calls back, registered and healthy; they outlive every kill."""
    async with AsyncExitStack() as stack:
        rest = await stack.enter_async_context(system.client("chaos", "admin"))
        servers = []
        for name, mode, limit, more in SERVERS:
            backend = await stack.enter_async_context(await Backend.start(mode=mode))
            server_id = f"{pool}-{name}"
            request = {"id": server_id, "pool": pool, "endpoints": backend.endpoints, "maxConcurrent": limit, **more}
            await rest.call("POST", "/api/servers", request, expect=(201,))
            servers.append(Limited(server_id, backend, limit))

        async def all_healthy() -> bool:
            listed = (await rest.call("GET", f"/api/servers?pool={pool}", expect=(200,))).body["servers"]
            return len(listed) == len(SERVERS) and all(one["health"]["status"] == "healthy" for one in listed)

        await eventually(all_healthy, "the servers are healthy", within_s=HEALTHY_WITHIN_S)
        yield servers


async def kill_round(system: SystemUp, victim: str, count: int, rng: Random, pool: str) -> Verdict:
    """Submit `count` tasks, kill `victim` somewhere in between, wait until all has ended, compare."""
    async with pool_of_servers(system, pool) as servers:
        made = Round(victim, pool)
        token = await system.token("chaos", "admin")
        observer = await Observer.watch(system)
        try:
            async with Rest.connect(system.url, token) as rest:
                await _under_fire(made, system, rest, count, rng)
            verdict = await check(made.ledger, made.tasks, system, servers, pool, observer)
        finally:
            await observer.close()
        if victim not in (SUPERVISOR, "gateway") and made.ledger.lost_connections:
            verdict.broken.append(f"{made.ledger.lost_connections} connections lost although the gateway lived")
        verdict.numbers |= measured(made)
        return verdict


async def _under_fire(made: Round, system: SystemUp, rest: Rest, count: int, rng: Random) -> None:
    begin_after = rng.randint(count // 10, count * 6 // 10)
    pause_s = rng.uniform(0, 0.3)
    waiting = [_entry(made.pool, number) for number in range(count)]
    made.ledger.entries = list(waiting)
    waiting.reverse()
    async with asyncio.timeout(SUBMITTED_WITHIN_S + ENDED_WITHIN_S), asyncio.TaskGroup() as group:
        group.create_task(_kill(made, system, begin_after, pause_s))
        submitters = [group.create_task(_submit_all(made, rest, waiting, Random(seed))) for seed in range(SUBMITTERS)]
        async with asyncio.timeout(SUBMITTED_WITHIN_S):
            await asyncio.wait(submitters)
    gate = asyncio.Semaphore(READERS)
    async with asyncio.timeout(2 * ENDED_WITHIN_S), asyncio.TaskGroup() as group:
        for task_id in made.ledger.by_id:
            group.create_task(_follow(made, rest, task_id, gate))


def _entry(pool: str, number: int) -> Entry:
    payload = {"n": number, "pool": pool, "text": "Zug \U0001f682 " * (number % 7)}
    retry = {"baseMs": 50, "maxMs": 500}
    task = {"type": "chaos", "pool": pool, "payload": payload, "timeoutMs": ATTEMPT_TIMEOUT_MS, "retry": retry}
    return Entry(key=f"{pool}-{number}", task=task)


async def _kill(made: Round, system: SystemUp, begin_after: int, pause_s: float) -> None:
    """After so many acknowledgements, then a moment more."""

    async def enough() -> bool:
        return len(made.ledger.acked) >= begin_after

    await eventually(enough, f"{begin_after} are acknowledged", within_s=SUBMITTED_WITHIN_S)
    await asyncio.sleep(pause_s)
    made.killed_ms = round(time.time() * 1000)
    if made.victim == SUPERVISOR:
        await system.kill_supervisor()
        await system.start()
    else:
        await system.restarted(made.victim, system.kill(made.victim))


async def _submit_all(made: Round, rest: Rest, waiting: list[Entry], rng: Random) -> None:
    while waiting:
        await _submit(made.ledger, rest, waiting.pop())
        await asyncio.sleep(rng.uniform(0, 0.12))


async def _submit(ledger: Ledger, rest: Rest, entry: Entry) -> None:
    """Until it is acknowledged: after an unknown or a refused try the same key goes out again."""
    while not entry.ids:
        entry.sent += 1
        entry.first_sent_s = entry.first_sent_s or time.time()
        reply = await _tried(ledger, rest, "POST", "/api/task", entry.task, {"Idempotency-Key": entry.key})
        if reply is None:
            entry.unknown += 1
        elif reply.status in (200, 202):
            entry.ids.append(reply.body["id"])
            entry.acked_at_s = time.time()
            return
        else:
            entry.refused += 1
        await _pause(reply)


async def _follow(made: Round, rest: Rest, task_id: str, gate: asyncio.Semaphore) -> None:
    """To its end, and its key once more: it must still lead to the same task."""
    entry = made.ledger.by_id[task_id]
    until_s = time.monotonic() + ENDED_WITHIN_S
    async with gate:
        while time.monotonic() < until_s:
            reply = await _tried(made.ledger, rest, "GET", f"/api/task/{task_id}", None, {"Prefer": "wait=5"})
            if reply is not None and reply.status == 200:
                made.tasks[task_id] = reply.body
                if reply.body["status"] in TERMINAL:
                    break
            else:
                made.ledger.read_refused += 1
                await _pause(reply)
        if entry.task["payload"]["n"] % 10 == 0:
            reply = await _tried(made.ledger, rest, "POST", "/api/task", entry.task, {"Idempotency-Key": entry.key})
            if reply is not None and reply.status in (200, 202):
                entry.ids.append(reply.body["id"])


async def _tried(
    ledger: Ledger, rest: Rest, method: str, path: str, body: Json | None, headers: dict[str, str]
) -> Reply | None:
    """None when there was no answer; an answer that may not be is written down."""
    try:
        reply = await rest.call(method, path, body, headers=headers)
    except NO_ANSWER:
        ledger.lost_connections += 1
        return None
    except AssertionError as error:
        ledger.faults.append(str(error))
        return None
    if reply.status not in (200, 202, 429, 503):
        ledger.faults.append(f"{method} {path}: {reply.status} {reply.text[:300]}")
    return reply


async def _pause(reply: Reply | None) -> None:
    told = reply.headers.get("Retry-After", "") if reply else ""
    await asyncio.sleep(min(float(told), PAUSE_S_MAX) if told.isdigit() else 0.2)


def measured(made: Round) -> dict[str, object]:
    """Seconds after the kill: until work that ran then ran again, and the longest silences."""
    killed_ms, tasks = made.killed_ms, list(made.tasks.values())
    starts = sorted(attempt["startedAt"] for task in tasks for attempt in task["attempts"])[:-STRAGGLERS]
    reclaimed, again = [], []
    for task in tasks:
        for attempt, later in zip(task["attempts"], task["attempts"][1:], strict=False):
            if attempt["outcome"] == "lost" and attempt["startedAt"] <= killed_ms + 500:
                reclaimed.append(attempt["finishedAt"] - killed_ms)
                again.append(later["startedAt"] - killed_ms)
    acks = sorted(entry.acked_at_s * 1000 for entry in made.ledger.acked)[:-STRAGGLERS]
    ended = max((task["finishedAt"] or 0 for task in tasks), default=0)
    return {
        "dispatch pause": _longest_silence_s(starts, killed_ms),
        "accept pause": _longest_silence_s(acks, killed_ms),
        "slowest ack": round(max((e.acked_at_s - e.first_sent_s for e in made.ledger.acked), default=0), 2),
        "reclaimed after": _range_s(reclaimed),
        "ran again after": _range_s(again),
        "all ended after": round((ended - killed_ms) / 1000, 2),
    }


def _longest_silence_s(times_ms: list[float], since_ms: int) -> float:
    """The longest gap that ends after `since_ms`."""
    pairs = pairwise(times_ms)
    return round(max((after - before for before, after in pairs if after > since_ms), default=0) / 1000, 2)


def _range_s(values_ms: list[int]) -> str:
    return f"{min(values_ms) / 1000:.2f} to {max(values_ms) / 1000:.2f} ({len(values_ms)})" if values_ms else "-"
