"""The executor and the backend kit, over a socket: what one sends the other takes, and the other way round."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from pointsman.contracts import subjects
from pointsman.contracts.execution import Release
from pointsman.services.runtime.outcomes import Accepted, Failed, Lost, Succeeded, TimedOut
from tests.support.executor_bench import SIGNING_SECRET, bench, handover_of
from tests.support.kit import kit


class Gate:
    """Work that begins, and ends when it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=5)

    def __call__(self, task: Any) -> object:
        self.begun.release()
        while not self.open.wait(0.01):
            task.check()
        return {"echo": task.payload}


@contextmanager
def serving(gate: Gate, **options: Any) -> Iterator[str]:
    made = kit.Kit(gate, secrets=[SIGNING_SECRET], **options)
    with kit.server(made, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            gate.open.set()
            made.stop(within_s=1)
            server.shutdown()
            thread.join()


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def test_a_signed_task_is_worked_on(gate: Gate) -> None:
    gate.open.set()
    with serving(gate) as url:
        async with bench(url) as b:
            for _ in range(3):
                outcome = await b.run("anything")
                assert isinstance(outcome, Succeeded), outcome
                assert msgspec.json.decode(outcome.result) == {"echo": {"behave": "anything"}}


async def test_one_above_the_limit_is_backpressure(gate: Gate) -> None:
    with serving(gate, limit=1) as url:
        async with bench(url) as b:
            first = handover_of("first")
            await b.hand(first)
            await gate.has_begun()
            assert await b.run("second") == Lost(
                reason="HTTP 429: 1 tasks are running", http_status=429, retry_after_ms=1_000
            )
            gate.open.set()
            assert isinstance(await b.outcome(first), Succeeded)


async def test_a_result_to_come_is_accepted_and_a_cancel_frees_its_slot(gate: Gate) -> None:
    with serving(gate, later=True) as url:
        async with bench(url, cancel=True) as b:
            handover = handover_of("anything")
            await b.hand(handover)
            assert await b.outcome(handover) == Accepted(http_status=202)
            await gate.has_begun()
            await b.abort(handover)
            assert (await b.said(subjects.VIEW_RELEASES, Release)).task_id == handover.task_id


async def test_a_hang_up_ends_the_work(gate: Gate) -> None:
    with serving(gate, limit=1) as url:
        async with bench(url, cancel_on_disconnect=True) as b:
            handover = handover_of("anything")
            await b.hand(handover)
            await gate.has_begun()
            await b.abort(handover)
            await b.said(subjects.VIEW_RELEASES, Release)
            outcome = await b.run("next", timeout_ms=1_000)
            while isinstance(outcome, Lost) and outcome.http_status == 429:
                outcome = await b.run("next", timeout_ms=1_000)
            assert isinstance(outcome, TimedOut), outcome


async def test_another_secret_is_refused(gate: Gate) -> None:
    made = kit.Kit(gate, secrets=["whsec_" + "AAAA" * 8])
    with kit.server(made, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        async with bench(f"http://127.0.0.1:{server.server_address[1]}") as b:
            outcome = await b.run("anything")
        server.shutdown()
        thread.join()
    assert outcome == Failed(error="HTTP 401: webhook-signature does not match", http_status=401)
