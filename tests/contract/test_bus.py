"""What services may rely on of a bus, on the fake and on NATS alike."""

import asyncio

import pytest

from pointsman.client.bus import Bus, BusDown, BusTimeout, Endpoint, Message, NoResponders
from tests.support import worlds
from tests.support.worlds import FakeWorld, World, until

world = worlds.world


@pytest.fixture
async def bus(world: World) -> Bus:
    return await world.connect()


class Ear:
    """Remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.heard.append(message)

    @property
    def said(self) -> list[bytes]:
        return [message.data for message in self.heard]


def echoing(bus: Bus, prefix: bytes = b""):
    async def answer(message: Message) -> None:
        await bus.publish(message.reply, prefix + message.data, {"Echo": message.headers.get("Ask", "")})

    return answer


async def test_a_request_gets_its_answer_with_headers_both_ways(bus: Bus) -> None:
    await bus.subscribe("ask.me", echoing(bus))
    await bus.barrier()
    answer = await bus.request("ask.me", b"hello", headers={"Ask": "why: so?"})
    assert (answer.data, answer.headers["Echo"]) == (b"hello", "why: so?")


async def test_a_message_without_headers_has_empty_ones(bus: Bus) -> None:
    ear = Ear()
    await bus.subscribe("plain", ear)
    await bus.barrier()
    await bus.publish("plain", b"")
    await until(lambda: ear.heard)
    assert (dict(ear.heard[0].headers), ear.heard[0].reply, ear.heard[0].subject) == ({}, "", "plain")


async def test_concurrent_requests_each_get_their_own_answer(bus: Bus) -> None:
    await bus.subscribe("ask.*", echoing(bus))
    await bus.barrier()
    answers = await asyncio.gather(*(bus.request(f"ask.{n}", str(n).encode()) for n in range(50)))
    assert [answer.data for answer in answers] == [str(n).encode() for n in range(50)]


async def test_where_nobody_listens_the_caller_learns_it_at_once(bus: Bus) -> None:
    with pytest.raises(NoResponders):
        await bus.request("nobody.here", b"", timeout_s=600)


async def test_a_message_with_a_reply_subject_that_nobody_hears_is_answered_by_the_broker(bus: Bus) -> None:
    ear, inbox = Ear(), bus.new_inbox()
    await bus.subscribe(f"{inbox}.*", ear)
    await bus.barrier()
    await bus.publish("nobody.here", b"x", reply=f"{inbox}.7")
    await until(lambda: ear.heard)
    assert (ear.heard[0].subject, ear.heard[0].headers["Status"], ear.heard[0].data) == (f"{inbox}.7", "503", b"")


async def test_who_gives_up_a_barrier_is_let_go_and_the_connection_lives(bus: Bus) -> None:
    for turns in range(8):
        waiting = asyncio.create_task(bus.barrier())
        for _ in range(turns):
            await asyncio.sleep(0)
        was_over = waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})
        assert was_over or waiting.cancelled()
    await bus.subscribe("ask.me", echoing(bus))
    await bus.barrier()
    assert (await bus.request("ask.me", b"hello")).data == b"hello"


async def test_silence_is_a_timeout(bus: Bus) -> None:
    await bus.subscribe("silent", Ear())
    await bus.barrier()
    with pytest.raises(BusTimeout):
        await bus.request("silent", b"", timeout_s=0.05)


async def test_a_late_answer_does_not_reach_the_next_request(world: World, bus: Bus) -> None:
    asked: list[Message] = []

    async def late(message: Message) -> None:
        asked.append(message)
        if len(asked) == 2:
            await bus.publish(asked[0].reply, b"late")
            await bus.publish(asked[1].reply, b"in time")

    await bus.subscribe("slow", late)
    await bus.barrier()
    with pytest.raises(BusTimeout):
        await bus.request("slow", b"1", timeout_s=0.05)
    assert (await bus.request("slow", b"2")).data == b"in time"


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [("a.*", ["a.b", "a.c"]), ("a.>", ["a.b", "a.c", "a.b.c"]), ("*.b", ["a.b"]), ("a.b", ["a.b"]), (">", None)],
)
async def test_wildcards(bus: Bus, pattern: str, heard: list[str] | None) -> None:
    ear, end = Ear(), Ear()
    await bus.subscribe(pattern, ear)
    await bus.subscribe("end", end)
    await bus.barrier()
    said = ["a", "a.b", "a.c", "a.b.c", "end"]
    for subject in said:
        await bus.publish(subject, b"")
    await until(lambda: end.heard and (heard is not None or len(ear.heard) == len(said)))
    assert [message.subject for message in ear.heard] == (said if heard is None else heard)


async def test_a_queue_group_hears_each_message_once_and_shares_the_work(world: World, bus: Bus) -> None:
    first, second, alone = Ear(), Ear(), Ear()
    other = await world.connect("other")
    await bus.subscribe("work", first, queue="workers")
    await other.subscribe("work", second, queue="workers")
    await bus.subscribe("work", alone)
    await bus.barrier()
    await other.barrier()
    for n in range(100):
        await bus.publish("work", str(n).encode())
    await until(lambda: len(first.heard) + len(second.heard) == 100 and len(alone.heard) == 100)
    assert sorted(first.said + second.said, key=int) == alone.said
    assert first.heard
    assert second.heard


async def test_messages_on_one_subscription_come_in_order_one_at_a_time(bus: Bus) -> None:
    seen: list[tuple[str, bytes]] = []

    async def slow(message: Message) -> None:
        seen.append(("begin", message.data))
        await asyncio.sleep(0)
        seen.append(("end", message.data))

    await bus.subscribe("order", slow)
    await bus.barrier()
    for n in range(20):
        await bus.publish("order", str(n).encode())
    await until(lambda: len(seen) == 40)
    assert seen == [(what, str(n).encode()) for n in range(20) for what in ("begin", "end")]


async def test_a_handler_that_fails_does_not_end_its_subscription(bus: Bus) -> None:
    ear = Ear()

    async def fragile(message: Message) -> None:
        await ear(message)
        raise ValueError("broken")

    await bus.subscribe("fragile", fragile)
    await bus.barrier()
    for _ in range(3):
        await bus.publish("fragile", b"")
    await until(lambda: len(ear.heard) == 3)


async def test_after_unsubscribing_nothing_is_heard(bus: Bus) -> None:
    ear, end = Ear(), Ear()
    subscription = await bus.subscribe("news", ear)
    await bus.subscribe("end", end)
    await bus.barrier()
    await subscription.unsubscribe()
    await bus.publish("news", b"")
    await bus.publish("end", b"")
    await until(lambda: end.heard)
    assert not ear.heard


async def test_draining_hands_over_what_was_received_and_takes_no_more(world: World, bus: Bus) -> None:
    gate, ear, other = asyncio.Event(), Ear(), await world.connect("other")

    async def gated(message: Message) -> None:
        await gate.wait()
        await ear(message)

    subscription = await bus.subscribe("work", gated)
    await bus.barrier()
    for n in range(5):
        await bus.publish("work", str(n).encode())
    await bus.barrier()
    draining = asyncio.create_task(subscription.drain())
    await asyncio.sleep(0)
    await bus.barrier()
    with pytest.raises(NoResponders):
        await other.request("work", b"too late")
    assert not draining.done()
    gate.set()
    await draining
    assert ear.said == [b"0", b"1", b"2", b"3", b"4"]


async def test_an_inbox_is_never_given_twice(bus: Bus) -> None:
    assert len({bus.new_inbox() for _ in range(1000)}) == 1000


async def test_a_subscription_is_active_after_the_barrier(world: World, bus: Bus) -> None:
    other = await world.connect("other")
    for n in range(50):
        subscription = await bus.subscribe(f"barrier.{n}", echoing(bus))
        await bus.barrier()
        assert (await other.request(f"barrier.{n}", b"x")).data == b"x"
        await subscription.unsubscribe()


async def test_a_barrier_that_is_given_up_at_any_moment_leaves_the_connection_whole(bus: Bus) -> None:
    again: list[str] = []
    bus.on_reconnect(lambda: again.append("reconnected"))
    for moments in range(30):
        barrier = asyncio.create_task(bus.barrier())
        for _ in range(moments % 10):
            await asyncio.sleep(0)
        barrier.cancel()
        await asyncio.wait((barrier,))
        await bus.barrier()
    assert bus.is_connected and not again


async def test_a_service_is_found_answers_and_leaves(world: World, bus: Bus) -> None:
    caller = await world.connect("caller")
    endpoints = [Endpoint("say", "svc.say", echoing(bus, b"said ")), Endpoint("do", "svc.do", echoing(bus, b"did "))]
    service = await bus.add_service("svc", "1.2.3", endpoints, queue="q", metadata={"schema": "x"})
    assert (await caller.request("svc.say", b"it")).data == b"said it"
    assert (await caller.request("svc.do", b"it")).data == b"did it"
    for subject in ("$SRV.PING.svc", "$SRV.INFO.svc", "$SRV.STATS.svc", "$SRV.PING"):
        assert b'"svc"' in (await caller.request(subject, b"")).data
    await service.drain()
    with pytest.raises(NoResponders):
        await caller.request("svc.say", b"it")
    assert b'"svc"' in (await caller.request("$SRV.PING.svc", b"")).data
    await service.stop()
    await bus.barrier()
    with pytest.raises(NoResponders):
        await caller.request("$SRV.PING.svc", b"")


async def test_two_replicas_of_a_service_share_its_requests(world: World, bus: Bus) -> None:
    other = await world.connect("other")
    for one, name in ((bus, b"1 "), (other, b"2 ")):
        await one.add_service("svc", "1.0.0", [Endpoint("say", "svc.say", echoing(one, name))], queue="q", metadata={})
    answers = [(await bus.request("svc.say", b"")).data for _ in range(40)]
    assert set(answers) == {b"1 ", b"2 "}


async def test_a_bus_cut_off_times_out_and_comes_back_with_its_subscriptions(world: World, bus: Bus) -> None:
    ear, back, other = Ear(), asyncio.Event(), await world.connect("other")
    await bus.subscribe("news", ear)
    await bus.barrier()
    forget = bus.on_reconnect(back.set)
    world.cut(bus)
    with pytest.raises((BusTimeout, BusDown)):
        await bus.request("anyone", b"", timeout_s=0.05)
    await other.publish("news", b"missed")
    await other.barrier()
    await world.mend(bus)
    async with asyncio.timeout(10):
        await back.wait()
    assert bus.is_connected
    await other.publish("news", b"heard")
    await until(lambda: ear.heard)
    assert ear.said == [b"heard"]
    forget()


async def test_after_a_restart_of_the_broker_the_callback_is_called_unless_removed(world: World, bus: Bus) -> None:
    called: list[str] = []
    bus.on_reconnect(lambda: called.append("kept"))
    bus.on_reconnect(lambda: called.append("removed"))()
    await world.kill_broker()
    await until(lambda: called)
    assert called == ["kept"]


async def test_what_cannot_be_sent_is_said(bus: Bus) -> None:
    for subject in ("", "two words"):
        with pytest.raises(BusDown):
            await bus.publish(subject, b"")
        with pytest.raises(BusDown):
            await bus.request(subject, b"")
    await bus.close()
    with pytest.raises(BusDown):
        await bus.publish("closed", b"")
    with pytest.raises(BusDown):
        await bus.request("closed", b"")


async def test_a_service_that_cannot_be_offered_any_more_is_an_outage_and_no_bug(world: World) -> None:
    bus = await world.connect()
    if isinstance(world, FakeWorld):
        bus._is_closed = True  # type: ignore[attr-defined]
    else:
        await bus._client.close()  # type: ignore[attr-defined]
    with pytest.raises(BusDown):
        await bus.add_service("svc", "1.0.0", [Endpoint("say", "svc.say", echoing(bus))], queue="q", metadata={})


async def test_a_connection_that_has_just_broken_closes_without_a_bug(world: World) -> None:
    bus = await world.connect()
    if isinstance(world, FakeWorld):
        world.cut(bus)
    else:

        def broken(_: object) -> None:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

        bus._client._transport.writelines = broken  # type: ignore[attr-defined]
    await bus.close()
