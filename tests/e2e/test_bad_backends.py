"""Backends that fail, hang, lie and flood: each is a failed attempt that says what was wrong, and nothing else suffers."""

import asyncio

import pytest

from tests.e2e.conftest import Fleet
from tests.support.rest import Rest
from tests.support.system_up import SystemUp, eventually


async def test_a_failed_attempt_is_retried_on_another_server(admin: Rest, fleet: Fleet) -> None:
    bad, good = await fleet.server("bad", mode="fail:500"), await fleet.server("good", maxConcurrent=50)
    ended = await admin.all_done([fleet.task() for _ in range(12)])
    assert {task["status"] for task in ended} == {"COMPLETED"}
    retried = [task for task in ended if len(task["attempts"]) > 1]
    assert retried, "no task began at the failing server"
    for task in retried:
        assert [attempt["serverId"] for attempt in task["attempts"]] == [bad.id, good.id], task["attempts"]
        first, second = task["attempts"]
        assert (first["serverId"], first["outcome"], first["httpStatus"]) == (bad.id, "failed", 500)
        assert "fails with 500" in first["error"]
        assert (second["serverId"], second["outcome"]) == (good.id, "succeeded")


async def test_a_task_that_always_fails_ends_after_its_attempts(admin: Rest, fleet: Fleet) -> None:
    await fleet.server(mode="fail:500")
    task = await admin.done(fleet.task(maxAttempts=3))
    assert (task["status"], len(task["attempts"])) == ("FAILED", 3)
    assert "fails with 500" in task["error"]
    assert task["errorCode"]


@pytest.mark.parametrize("status", [400, 404, 410, 413, 422])
async def test_a_refusal_is_final(admin: Rest, fleet: Fleet, status: int) -> None:
    await fleet.server()
    task = await admin.done(fleet.task(f"fail:{status}"))
    assert (task["status"], len(task["attempts"])) == ("FAILED", 1)
    assert f"HTTP {status}" in task["error"]


async def test_backpressure_spends_no_attempt_and_lowers_the_limit(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(maxConcurrent=10)
    task = await admin.done(fleet.task("retry-after:429:1:2", maxAttempts=1))
    assert task["status"] == "COMPLETED"
    assert [(a["outcome"], a["httpStatus"]) for a in task["attempts"]] == [
        ("lost", 429),
        ("lost", 429),
        ("succeeded", 200),
    ]
    for refused, later in zip(task["attempts"], task["attempts"][1:], strict=False):
        assert later["startedAt"] - refused["finishedAt"] >= 950

    async def is_lowered() -> bool:
        balance = (await admin.call("GET", "/api/stats/load-balancer", expect=(200,))).body
        return int(balance["serverDistribution"][server.id]["effectiveLimit"]) < 10

    await eventually(is_lowered, "the effective limit is below 10")


async def test_a_server_without_a_slot_answer_503_is_asked_later(admin: Rest, fleet: Fleet) -> None:
    await fleet.server()
    task = await admin.done(fleet.task("retry-after:503:1:1", maxAttempts=1))
    assert [a["outcome"] for a in task["attempts"]] == ["lost", "succeeded"]


async def test_a_hanging_call_is_given_up_and_retried(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server()
    task = await admin.done(fleet.task("hang", timeoutMs=400, maxAttempts=2))
    assert task["status"] == "TIMEOUT"
    assert [a["outcome"] for a in task["attempts"]] == ["timed-out", "timed-out"]
    assert "no answer within" in task["error"]
    for attempt in task["attempts"]:
        assert 350 <= attempt["finishedAt"] - attempt["startedAt"] < 2500

    async def hung_up() -> bool:
        return int((await server.backend.stats())["hungUp"]) == 2

    await eventually(hung_up, "both connections were closed")


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        ("reset", "connection"),
        ("lie-length", "length"),
        ("garbage", "HTTP"),
        ("redirect", "redirects are not followed"),
        ("huge", "larger than"),
        ("drip", "no answer within"),
    ],
)
async def test_an_answer_that_is_none_fails_the_attempt_and_says_why(
    admin: Rest, fleet: Fleet, system: SystemUp, behave: str, said: str
) -> None:
    server = await fleet.server()
    before = system.pids()
    task = await admin.done(fleet.task(behave, maxAttempts=1, timeoutMs=3000))
    assert task["status"] == ("TIMEOUT" if behave == "drip" else "FAILED")
    assert said in task["error"]
    assert task["error"] == task["attempts"][-1]["error"]
    after = await admin.done(fleet.task("ok"))
    assert (after["status"], len(after["attempts"])) == ("COMPLETED", 1)
    assert (await server.backend.stats())["redirected"] == 0
    assert system.pids() == before
    await admin.call("GET", "/readyz", expect=(200,))


async def test_a_server_that_accepts_and_says_nothing_is_timed_out(admin: Rest, fleet: Fleet) -> None:
    await fleet.server(mode="accepted-silent")
    task = await admin.done(fleet.task(timeoutMs=700, maxAttempts=1))
    assert (task["status"], task["attempts"][0]["outcome"]) == ("TIMEOUT", "timed-out")
    assert 650 <= task["finishedAt"] - task["startedAt"] < 3500


async def test_bad_backends_do_not_hold_up_a_good_one(admin: Rest, fleet: Fleet) -> None:
    await fleet.server("bad", capabilities=["bad"], maxConcurrent=4)
    await fleet.server("good", capabilities=["good"], maxConcurrent=4)
    bad = [
        await admin.accepted(fleet.task(behave, capabilities=["bad"], maxAttempts=1, timeoutMs=2000))
        for behave in ("hang", "huge", "drip", "hang", "accepted-silent", "hang", "reset", "garbage")
    ]
    good = await admin.all_done([fleet.task(capabilities=["good"]) for _ in range(40)], within_s=30)
    assert {task["status"] for task in good} == {"COMPLETED"}
    ended = await asyncio.gather(*(admin.finished(task_id) for task_id in bad))
    assert {task["status"] for task in ended} == {"FAILED", "TIMEOUT"}


async def test_a_dead_server_is_taken_out_and_its_work_goes_elsewhere(admin: Rest, fleet: Fleet) -> None:
    dying, other = await fleet.server("dying", mode="slow:20"), await fleet.server("other", mode="slow:20")
    await admin.all_done([fleet.task() for _ in range(10)])
    await dying.backend.kill()
    ended = await admin.all_done([fleet.task(maxAttempts=1) for _ in range(20)])
    assert {(task["status"], task["serverId"]) for task in ended} == {("COMPLETED", other.id)}

    async def is_out() -> bool:
        shown = (await admin.call("GET", f"/api/servers/{dying.id}", expect=(200,))).body
        health = shown["health"]
        assert (shown["status"], health["state"], health["score"]) == ("offline", "UNHEALTHY", 0), health
        return True

    await eventually(is_out, "the dead server is out", within_s=30)
