"""The executor over real sockets, against a backend process that misbehaves on request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from pointsman.contracts import subjects
from pointsman.contracts.execution import Evidence, ExecutorBeat, Handover, Release
from pointsman.contracts.task import RESULT_BYTES_MAX
from pointsman.services.runtime.outcomes import Accepted, Failed, Lost, Succeeded, TimedOut
from pointsman.services.runtime.settling import Settled
from tests.support.backends import Backend
from tests.support.executor_bench import CLOCK, SERVER, WITHIN_S, bench, handover_of


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    async with await Backend.start() as running:
        yield running


async def test_a_result_comes_back_and_the_connection_is_used_again(backend: Backend) -> None:
    async with bench(backend.url) as b:
        for _ in range(5):
            outcome = await b.run("success-json")
            assert isinstance(outcome, Succeeded)
            assert msgspec.json.decode(outcome.result) == {"behave": "success-json"}
        stats = await backend.stats()
        assert stats["calls"] == 5
        headers = {name.lower(): value for name, value in stats["lastHeaders"].items()}
        assert headers["accept-encoding"] == "identity"
        assert "cookie" not in headers


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        ("reset", "the connection broke"),
        ("garbage", "not an HTTP answer"),
        ("lie-length", "broke off"),
        ("redirect", "redirects are not followed"),
    ],
)
async def test_a_server_that_breaks_the_rules_fails_the_attempt(backend: Backend, behave: str, said: str) -> None:
    async with bench(backend.url) as b:
        outcome = await b.run(behave)
        assert isinstance(outcome, Failed), outcome
        assert outcome.server_fault
        assert not outcome.final
        assert said in outcome.error
        (seen,) = (await b.said(subjects.VIEW_EVIDENCE, Evidence)).results
        assert (seen.server_id, seen.faults, seen.run) == (SERVER, 1, 1)
        assert isinstance(await b.run("ok"), Succeeded)
        assert (await backend.stats())["tasks"].keys() == b.outcomes.keys()


async def test_a_hundred_megabytes_are_not_read(backend: Backend) -> None:
    async with bench(backend.url) as b:
        outcome = await b.run("huge")
        assert outcome == Failed(
            error=f"result larger than {RESULT_BYTES_MAX} bytes", code="result-too-large", http_status=200, final=True
        )


@pytest.mark.parametrize("behave", ["hang", "drip"])
async def test_an_attempt_ends_at_its_deadline(backend: Backend, behave: str) -> None:
    async with bench(backend.url) as b:
        started_s = CLOCK.monotonic_s()
        assert isinstance(await b.run(behave, timeout_ms=400), TimedOut)
        assert CLOCK.monotonic_s() - started_s < 2.0


async def test_a_frozen_server_times_out_and_one_that_is_gone_is_lost(backend: Backend) -> None:
    async with bench(backend.url) as b:
        assert isinstance(await b.run("ok"), Succeeded)
        backend.freeze()
        assert isinstance(await b.run("ok", timeout_ms=300), TimedOut)
        backend.thaw()
        await backend.kill()
        outcome = await b.run("ok")
        assert isinstance(outcome, Lost)
        assert outcome.server_fault
        assert "cannot be reached" in outcome.reason


async def test_the_other_answers_of_the_table(backend: Backend) -> None:
    async with bench(backend.url) as b:
        assert await b.run("accepted-silent") == Accepted(http_status=202)
        assert await b.run("error-json") == Failed(error="the model refused", code="REFUSED", http_status=200)
        assert await b.run("fail:500") == Failed(error="HTTP 500: fails with 500", http_status=500)
        assert await b.run("fail:422") == Failed(error="HTTP 422: fails with 422", http_status=422, final=True)
        busy = await b.run("retry-after:429:3")
        assert busy == Lost(reason="HTTP 429: busy", http_status=429, retry_after_ms=3_000)


async def test_no_call_is_made_where_the_policy_forbids_the_address(backend: Backend) -> None:
    for url in (backend.url, backend.url.replace("127.0.0.1", "localhost")):
        async with bench(url, allowed=()) as b:
            outcome = await b.run("ok")
            assert isinstance(outcome, Lost)
            assert "is in a network that is denied (loopback)" in outcome.reason
    assert (await backend.stats())["calls"] == 0


async def test_an_attempt_that_is_late_or_too_many_or_not_registered_is_handed_back(backend: Backend) -> None:
    async with bench(backend.url, limit=1, cancel_on_disconnect=True) as b:
        assert await b.run("ok", start_in_ms=-1) == Lost(reason="started too late")
        assert isinstance(await b.run("ok", start_in_ms=-1, timeout_ms=-1), TimedOut)
        slow = handover_of("hang")
        await b.hand(slow)
        assert await b.run("ok") == Lost(reason="the executor is full")
        await b.abort(slow)
        assert (await b.said(subjects.VIEW_RELEASES, Release)).task_id == slow.task_id
    assert (await backend.stats())["tasks"].keys() <= {slow.task_id}


async def test_an_abort_closes_the_call_and_gives_the_slot_back(backend: Backend) -> None:
    async with bench(backend.url, cancel_on_disconnect=True) as b:
        handover = handover_of("slow:8000")
        await b.hand(handover)
        await reached(backend, handover)
        await b.abort(handover)
        release = await b.said(subjects.VIEW_RELEASES, Release)
        assert release == Release(task_id=handover.task_id, generation=1, number=1)
        assert handover.task_id not in b.outcomes
        await until(lambda: is_true(backend, lambda stats: stats["hungUp"] == 1 and stats["running"] == 0))


async def test_a_server_that_may_go_on_after_a_hang_up_keeps_its_slot(backend: Backend) -> None:
    async with bench(backend.url) as b:
        handover = handover_of("slow:8000")
        await b.hand(handover)
        await reached(backend, handover)
        await b.abort(handover)
        await until(lambda: is_true(backend, lambda stats: stats["hungUp"] == 1))
    assert b.wire.heard(subjects.VIEW_RELEASES, Release) == []


async def test_a_server_that_wants_to_be_told_is_told(backend: Backend) -> None:
    async with bench(backend.url, cancel=True) as b:
        handover = handover_of("accepted:8000")
        await b.hand(handover)
        assert await b.outcome(handover) == Accepted(http_status=202)
        await b.abort(handover)
        assert (await b.said(subjects.VIEW_RELEASES, Release)).task_id == handover.task_id
        assert (await backend.stats())["running"] == 0


async def test_a_server_that_took_the_attempt_and_cannot_be_told_keeps_its_slot(backend: Backend) -> None:
    async with bench(backend.url) as b:
        handover = handover_of("accepted-silent")
        await b.hand(handover)
        await b.outcome(handover)
        await b.abort(handover)
    assert b.wire.heard(subjects.VIEW_RELEASES, Release) == []


async def test_an_outcome_that_came_too_late_gives_the_slot_back(backend: Backend) -> None:
    async with bench(backend.url) as b:
        b.answer = Settled.STALE
        await b.run("ok")
        await b.said(subjects.VIEW_RELEASES, Release)


async def test_a_stop_hands_back_what_does_not_end(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pointsman.services.instance.executor.STOP_WAIT_S", 0.2)
    async with bench(backend.url) as b:
        hanging, short = handover_of("hang"), handover_of("slow:50")
        await b.hand(hanging)
        await b.hand(short)
        await reached(backend, hanging)
        await b.executor.stop()
        assert b.outcomes[hanging.task_id] == Lost(reason="the executor stopped", may_still_run=True)
        assert isinstance(b.outcomes[short.task_id], Succeeded)
        last = b.wire.heard(subjects.VIEW_EXECUTORS, ExecutorBeat)[-1]
        assert (last.stopping, last.running) == (True, ())
        assert b.wire.heard(subjects.VIEW_RELEASES, Release) == []


@pytest.mark.parametrize("declared", [{"cancel": True}, {"cancel_on_disconnect": True}])
async def test_a_stop_gives_the_slot_back_where_the_server_is_known_to_end(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, declared: dict[str, bool]
) -> None:
    monkeypatch.setattr("pointsman.services.instance.executor.STOP_WAIT_S", 0.2)
    async with bench(backend.url, **declared) as b:
        hanging = handover_of("hang")
        await b.hand(hanging)
        await reached(backend, hanging)
        await b.executor.stop()
        assert b.outcomes[hanging.task_id] == Lost(reason="the executor stopped", may_still_run=True)
        assert [release.task_id for release in b.wire.heard(subjects.VIEW_RELEASES, Release)] == [hanging.task_id]


async def reached(backend: Backend, handover: Handover) -> None:
    await until(lambda: is_true(backend, lambda stats: handover.task_id in stats["tasks"]))


async def is_true(backend: Backend, claim: Callable[[dict[str, Any]], bool]) -> bool:
    return claim(await backend.stats())


async def until(claim: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await claim():
            await asyncio.sleep(0.02)
