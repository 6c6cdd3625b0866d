"""A service on the bus: bounded, honest about errors, and never silent about what it took; on both buses."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from pointsman.client.bus import Bus, Message, NoResponders
from pointsman.client.call import call
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import Request
from pointsman.contracts.errors import PointsmanError, conflict
from pointsman.contracts.lifecycle import Event, Status, after
from pointsman.contracts.subjects import HEADER_ERROR, HEADER_ERROR_CODE, HEADER_REQUEST_ID, HEADER_ROLES, HEADER_SUB
from pointsman.services.runtime import serve as serving
from pointsman.services.runtime.serve import Answer, Call, Verb, serve
from tests.support import worlds
from tests.support.worlds import FakeWorld, World, until

world, fake = worlds.world, worlds.fake

ANN = Actor(sub="ann", roles=(Role.USER, Role.OPERATOR), request_id="r-1")
NAMED = {HEADER_SUB: "ann"}


@pytest.fixture
async def bus(world: World) -> Bus:
    return await world.connect()


class Greeting(Request):
    name: str
    times: int = 1


async def greet(given: Call) -> Greeting:
    return given.decode(msgspec.json.Decoder(Greeting))


def failing(error: Exception) -> Callable[[Call], Awaitable[Answer]]:
    async def handle(_: Call) -> Answer:
        raise error

    return handle


async def refusal(bus: Bus, data: bytes = b"{}", actor: Actor = ANN, name: str = "do") -> PointsmanError:
    with pytest.raises(PointsmanError) as refused:
        await call(bus, f"pointsman.svc.{name}", data, actor)
    return refused.value


async def test_a_handler_sees_who_asks_and_its_answer_comes_back_with_headers(bus: Bus) -> None:
    seen: list[Call] = []

    async def handle(given: Call) -> Answer:
        seen.append(given)
        return Answer(b"done", {"Pointsman-Revision": "7"})

    await serve(bus, "svc", "1.0.0", [Verb("do", handle)])
    answer = await call(bus, "pointsman.svc.do", b"data", ANN, headers={"X": "y"})
    assert (answer.data, answer.headers["Pointsman-Revision"]) == (b"done", "7")
    assert (seen[0].actor, seen[0].data, seen[0].headers["X"]) == (ANN, b"data", "y")


async def test_the_answer_does_not_repeat_the_caller_s_headers(bus: Bus) -> None:
    await serve(bus, "svc", "1.0.0", [Verb("do", greet)])
    token = Actor(sub="", attempt_token="pat_secret")
    answer = await call(bus, "pointsman.svc.do", b'{"name":"x"}', token)
    assert "pat_secret" not in str(dict(answer.headers))


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b'{"times":1}', "name"),
        (b'{"name":1}', "name"),
        (b'{"name":"a","other":1}', "other"),
        (b"", "body"),
        (b"{", "body"),
        (b'{"name":"\xff"}', "body"),
        (b'{"name":"\\ud800"}', "body"),
        (b"[" * 100_000, "body"),
    ],
)
async def test_what_cannot_be_decoded_is_400_and_names_the_field(bus: Bus, data: bytes, field: str) -> None:
    await serve(bus, "svc", "1.0.0", [Verb("do", greet)])
    error = await refusal(bus, data)
    assert (error.status, error.errors[0].field) == (400, field)


async def test_who_does_not_say_who_it_is_gets_401(bus: Bus) -> None:
    await serve(bus, "svc", "1.0.0", [Verb("do", greet)])
    for headers in ({}, {HEADER_SUB: "ann", HEADER_ROLES: "king"}):
        answer = await bus.request("pointsman.svc.do", b'{"name":"a"}', headers=headers)
        assert answer.headers[HEADER_ERROR_CODE] == "401"


async def test_refusals_come_as_problems(bus: Bus) -> None:
    verbs = [
        Verb("do", failing(conflict("taken\r\nNats-Evil: 1", slug="already"))),
        Verb("busy", failing(PointsmanError(503, "later", retry_after_s=3))),
    ]
    await serve(bus, "svc", "1.0.0", verbs)
    error = await refusal(bus)
    assert (error.status, error.slug, error.detail) == (409, "already", "taken\r\nNats-Evil: 1")
    raw = await bus.request("pointsman.svc.do", b"{}", headers=NAMED)
    assert (raw.headers[HEADER_ERROR], raw.headers.get("Nats-Evil")) == ("taken  Nats-Evil: 1", None)
    assert (await refusal(bus, name="busy")).retry_after_s == 3


async def test_an_illegal_transition_is_409(bus: Bus) -> None:
    async def handle(_: Call) -> Answer:
        after(Status.COMPLETED, Event.RETRIED_BY_HAND)
        return Answer(b"")

    await serve(bus, "svc", "1.0.0", [Verb("do", handle)])
    assert (await refusal(bus)).status == 409


async def test_a_bug_is_500_without_details_and_the_service_goes_on(bus: Bus) -> None:
    await serve(bus, "svc", "1.0.0", [Verb("do", failing(KeyError("the secret"))), Verb("greet", greet)])
    with capture_logs(processors=[merge_contextvars]) as lines:
        raw = await bus.request("pointsman.svc.do", b"{}", headers=NAMED | {HEADER_REQUEST_ID: "r"})
    assert [(line["event"], line["request_id"]) for line in lines] == [("request failed", "r")]
    assert raw.headers[HEADER_ERROR_CODE] == "500"
    assert b"secret" not in raw.data
    assert "secret" not in str(dict(raw.headers))
    assert (await call(bus, "pointsman.svc.greet", b'{"name":"a"}', ANN)).data


async def test_a_dependency_that_does_not_answer_is_503(bus: Bus) -> None:
    await serve(bus, "svc", "1.0.0", [Verb("do", failing(NoResponders("other")))])
    assert (await refusal(bus)).status == 503


class Gated:
    def __init__(self) -> None:
        self.running = 0
        self.gate = asyncio.Event()

    async def __call__(self, given: Call) -> Answer:
        self.running += 1
        await self.gate.wait()
        return Answer(given.data)


async def test_one_more_than_fits_is_told_429_and_the_others_are_answered(bus: Bus) -> None:
    gated = Gated()
    await serve(bus, "svc", "1.0.0", [Verb("do", gated, 3), Verb("greet", greet)])
    running = [asyncio.create_task(call(bus, "pointsman.svc.do", str(n).encode(), ANN)) for n in range(3)]
    await until(lambda: gated.running == 3)
    error = await refusal(bus)
    assert (error.status, error.retry_after_s) == (429, 1)
    assert (await call(bus, "pointsman.svc.greet", b'{"name":"a"}', ANN)).data
    gated.gate.set()
    assert sorted([(await task).data for task in running]) == [b"0", b"1", b"2"]
    assert (await call(bus, "pointsman.svc.do", b"again", ANN)).data == b"again"


async def test_a_drain_answers_what_was_taken_and_takes_no_more(world: World, bus: Bus) -> None:
    gated, caller = Gated(), await world.connect("caller")
    service = await serve(bus, "svc", "1.0.0", [Verb("do", gated)])
    running = [asyncio.create_task(call(caller, "pointsman.svc.do", str(n).encode(), ANN)) for n in range(20)]
    await until(lambda: gated.running == 20)
    draining = asyncio.create_task(service.drain())
    await vanishes(caller)
    assert not draining.done()
    gated.gate.set()
    assert len({(await task).data for task in running}) == 20
    await draining
    with pytest.raises(NoResponders):
        await caller.request("$SRV.PING.svc", b"")


async def vanishes(bus: Bus) -> None:
    """Returns when nobody takes requests of the service any more; a malformed one is refused, not run."""
    while True:
        try:
            await bus.request("pointsman.svc.do", b"", headers={}, timeout_s=5)
        except NoResponders:
            return


async def test_an_absent_service_is_waited_for_a_moment_then_503(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pointsman.client.call.ABSENT_BUDGET_S", 0.2)
    assert (await refusal(bus)).status == 503


async def test_a_service_that_is_just_starting_is_reached(bus: Bus) -> None:
    asking = asyncio.create_task(call(bus, "pointsman.svc.do", b'{"name":"a"}', ANN))
    await asyncio.wait([asking], timeout=0.1)
    await serve(bus, "svc", "1.0.0", [Verb("do", greet)])
    assert (await asking).data == b'{"name":"a","times":1}'


async def test_a_message_without_a_reply_subject_harms_nobody(bus: Bus) -> None:
    await serve(bus, "svc", "1.0.0", [Verb("do", greet)])
    await bus.publish("pointsman.svc.do", b'{"name":"a"}', NAMED)
    assert (await call(bus, "pointsman.svc.do", b'{"name":"b"}', ANN)).data


async def test_a_handler_that_never_ends_is_503_in_the_end(fake: FakeWorld) -> None:
    bus = await fake.connect()
    await serve(bus, "svc", "1.0.0", [Verb("do", Gated())])
    with pytest.raises(PointsmanError) as refused:
        await call(bus, "pointsman.svc.do", b"", ANN, timeout_s=serving.SLOWEST_ANSWER_S + 5)
    assert refused.value.status == 503


async def test_no_answer_in_time_says_that_the_outcome_is_unknown(fake: FakeWorld) -> None:
    bus = await fake.connect()

    async def silent(_: Message) -> None:
        return

    await bus.subscribe("pointsman.svc.do", silent)
    error = await refusal(bus)
    assert error.status == 503
    assert "unknown" in error.detail
