"""One leader among contenders, and what happens when it goes; on the fake and on NATS alike."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pointsman.client.bus import Bus
from pointsman.contracts.subjects import BUCKET_LEADERS
from pointsman.services.runtime import leader
from pointsman.services.runtime.kv import Entry, KvBucket
from pointsman.services.runtime.leader import CONFIRMED_S, TTL_S, Leadership
from tests.support import worlds
from tests.support.fake_bus import FakeBus
from tests.support.worlds import FakeWorld, World, context, until

LATE_S = {"fake": 0.1, "nats": 1.5}  # a busy machine is late with everything, and looks late as well

world, bus, fake = worlds.world, worlds.bus, worlds.fake


class Contender:
    def __init__(self, world: World, bus: Bus, name: str) -> None:
        self.name = name
        self.bus = bus
        self.told: list[bool] = []
        self._is_running = True
        self.leadership = Leadership(context(world, bus, name), "test", on_change=self.told.append)

    @property
    def leads(self) -> bool:
        return self.leadership.is_leader()

    async def stop(self) -> None:
        if self._is_running:
            self._is_running = False
            await self.leadership.stop()


async def contenders(world: World) -> list[Contender]:
    three = [Contender(world, await world.connect(name), name) for name in ("a", "b", "c")]
    for one in three:
        await one.leadership.start()
    return three


@pytest.fixture
async def three(world: World, bus: Bus) -> AsyncIterator[list[Contender]]:
    started = await contenders(world)
    yield started
    for one in started:
        await one.stop()


def leaders(three: list[Contender]) -> list[Contender]:
    return [one for one in three if one.leads]


async def test_of_three_one_leads_and_goes_on_leading(world: World, three: list[Contender]) -> None:
    first = (await until(lambda: leaders(three)))[0]
    epoch, end_s = first.leadership.epoch, world.clock.monotonic_s() + 3.5
    while world.clock.monotonic_s() < end_s:
        assert leaders(three) == [first]
        await asyncio.sleep(0.05)
    assert first.leadership.epoch == epoch
    assert [one.told for one in three] == [[True] if one is first else [] for one in three]


async def test_a_leader_that_stops_hands_over_at_once_and_the_epoch_grows(world: World, three: list[Contender]) -> None:
    epochs: list[int] = []
    for _ in range(3):
        first = (await until(lambda: leaders(three)))[0]
        epochs.append(first.leadership.epoch)
        began_s = world.clock.monotonic_s()
        await first.stop()
        assert not first.leads
        three.remove(first)
        if three:
            await until(lambda: leaders(three))
            assert world.clock.monotonic_s() - began_s < TTL_S / 2 + LATE_S[world.kind]
    assert epochs == sorted(set(epochs))


async def test_a_leader_that_vanishes_doubts_itself_before_another_takes_over(
    world: World, three: list[Contender]
) -> None:
    first = (await until(lambda: leaders(three)))[0]
    began_s, epoch = world.clock.monotonic_s(), first.leadership.epoch
    world.cut(first.bus)
    doubted_s = 0.0
    async with asyncio.timeout(30):
        while not (others := [one for one in leaders(three) if one is not first]):
            if not first.leads and not doubted_s:
                doubted_s = world.clock.monotonic_s()
            await asyncio.sleep(0.02)
    assert not first.leads
    late_s = LATE_S[world.kind]
    assert CONFIRMED_S - leader.RENEW_S - 0.1 <= doubted_s - began_s <= CONFIRMED_S + late_s
    assert world.clock.monotonic_s() - began_s <= TTL_S + 1.5 + late_s
    assert others[0].leadership.epoch > epoch
    await world.mend(first.bus)
    await until(lambda: first.told == [True, False])
    assert leaders(three) == others


async def test_a_standby_follows_as_soon_as_the_lease_expires(fake: FakeWorld) -> None:
    """Looking only now and then would cost most of a second more, and the promise is 7 s in all."""
    one, two = Contender(fake, await fake.connect("a"), "a"), Contender(fake, await fake.connect("b"), "b")
    await one.leadership.start()
    await until(lambda: one.leads)
    await two.leadership.start()
    await asyncio.sleep(10 * leader.RENEW_S)
    renewed_s, revision = fake.clock.monotonic_s(), one.leadership._revision
    while one.leadership._revision == revision:
        await asyncio.sleep(0.01)
        renewed_s = fake.clock.monotonic_s()
    assert isinstance(one.bus, FakeBus)
    one.bus.cut()
    await until(lambda: two.leads)
    assert fake.clock.monotonic_s() - renewed_s <= TTL_S + 0.2
    await one.stop()
    await two.stop()


async def test_a_restart_of_the_broker_leaves_one_leader_with_the_same_epoch(
    world: World, three: list[Contender]
) -> None:
    first = (await until(lambda: leaders(three)))[0]
    epoch, began_s = first.leadership.epoch, world.clock.monotonic_s()
    await world.kill_broker()
    while world.clock.monotonic_s() - began_s < 2.5:
        assert len(leaders(three)) <= 1
        await asyncio.sleep(0.02)
    assert leaders(three) == [first]
    assert first.leadership.epoch == epoch


async def test_the_last_leader_s_own_lease_is_taken_back_with_a_new_epoch(fake: FakeWorld) -> None:
    """A process that lost sight of its lease and finds it still there begins a new term."""
    bus = await fake.connect()
    one = Contender(fake, bus, "a")
    await one.leadership.start()
    await until(lambda: one.leads)
    epoch = one.leadership.epoch
    bus.cut()
    await until(lambda: one.told == [True, False])
    bus.mend()
    await until(lambda: one.leads)
    assert one.leadership.epoch > epoch
    await one.stop()


async def test_leadership_ends_exactly_four_seconds_after_the_last_confirmed_renewal(fake: FakeWorld) -> None:
    bus = await fake.connect()
    one = Contender(fake, bus, "a")
    await one.leadership.start()
    await until(lambda: one.leads)
    record = await KvBucket(bus, BUCKET_LEADERS).get("test")
    assert record is not None
    confirmed_s = one.leadership._confirmed_s
    bus.cut()
    await asyncio.sleep(confirmed_s + CONFIRMED_S - 0.001 - fake.clock.monotonic_s())
    assert one.leads
    await asyncio.sleep(0.001)
    assert not one.leads
    await one.stop()


async def test_a_lease_that_somebody_else_took_is_noticed_at_the_next_renewal(fake: FakeWorld) -> None:
    bus = await fake.connect()
    one = Contender(fake, bus, "a")
    await one.leadership.start()
    await until(lambda: one.leads)
    bucket = KvBucket(await fake.connect("thief"), BUCKET_LEADERS)
    entry: Entry | None = await bucket.get("test", latest=True)
    assert entry is not None
    await bucket.update("test", b'{"holder":"z","since":1}', revision=entry.revision, operation="x", ttl_s=6)
    began_s = fake.clock.monotonic_s()
    await until(lambda: not one.leads)
    assert fake.clock.monotonic_s() - began_s <= leader.RENEW_S + 0.1
    await until(lambda: one.told == [True, False])
    await one.stop()


async def test_a_lost_acknowledgement_of_a_renewal_does_not_end_the_term(fake: FakeWorld) -> None:
    bus = await fake.connect()
    one = Contender(fake, bus, "a")
    await one.leadership.start()
    await until(lambda: one.leads)
    fake.broker.lose_answer("$KV.leaders.>")
    epoch, end_s = one.leadership.epoch, fake.clock.monotonic_s() + 30
    while fake.clock.monotonic_s() < end_s:
        await asyncio.sleep(0.5)
    assert one.leads
    assert one.leadership.epoch >= epoch
    await one.stop()
