"""Following a stream: in order, without gaps, over reconnects and broker restarts; on the fake and on NATS alike."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from pointsman.client.bus import Bus, Message
from pointsman.contracts.subjects import BUCKET_LEASES, BUCKET_TASKS, stream_of
from pointsman.services.runtime.follow import Followed, Follower
from pointsman.services.runtime.kv import KvBucket
from tests.support import worlds
from tests.support.fake_jetstream import matches
from tests.support.worlds import FakeWorld, World, until

world, bus, fake = worlds.world, worlds.bus, worlds.fake


class Reader:
    """A follower and what it handed over."""

    def __init__(
        self,
        bus: Bus,
        bucket: str = BUCKET_TASKS,
        *,
        replay: bool = False,
        filter_subject: str = "",
        headers_only: bool = False,
        after: int = 0,
    ) -> None:
        self.entries: list[Followed] = []
        self.replays: list[int] = []
        self._is_stopped = False
        self.follower = Follower(
            bus,
            stream_of(bucket),
            self.entries.append,
            replay=replay,
            filter_subject=filter_subject,
            headers_only=headers_only,
            after=after,
            on_replay=lambda: self.replays.append(len(self.entries)),
        )

    async def stop(self) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            await self.follower.stop()

    @property
    def said(self) -> list[bytes]:
        return [entry.data for entry in self.entries]

    @property
    def sequences(self) -> list[int]:
        return [entry.sequence for entry in self.entries]

    def has(self, data: bytes) -> Callable[[], bool]:
        return lambda: data in self.said


Make = Callable[..., Reader]


@pytest.fixture
async def read(bus: Bus) -> AsyncIterator[Make]:
    readers: list[Reader] = []

    def make(*args: object, on: Bus = bus, **options: object) -> Reader:
        readers.append(Reader(on, *args, **options))  # type: ignore[arg-type]
        return readers[-1]

    yield make
    for reader in readers:
        await reader.stop()


async def write(bucket: KvBucket, first: int, last: int) -> None:
    for n in range(first, last):
        await bucket.create(f"k{n}", str(n).encode(), operation=f"op{n}")


def numbers(last: int) -> list[bytes]:
    return [str(n).encode() for n in range(last)]


async def test_what_is_there_comes_first_then_what_is_written_all_in_order(bus: Bus, read: Make) -> None:
    bucket = KvBucket(bus, BUCKET_TASKS)
    await write(bucket, 0, 120)
    reader = read()
    await reader.follower.start()
    await reader.follower.caught_up()
    assert reader.said == numbers(120)
    await write(bucket, 120, 240)
    await until(reader.has(b"239"))
    assert reader.said == numbers(240)
    assert reader.sequences == list(range(1, 241))
    assert reader.follower.sequence == 240


async def test_an_empty_stream_is_caught_up_at_once(bus: Bus, read: Make) -> None:
    reader = read()
    assert not reader.follower.is_caught_up
    await reader.follower.start()
    await reader.follower.caught_up()
    assert reader.entries == []


async def test_a_replaced_record_is_seen_in_its_last_form_only_by_a_late_reader(bus: Bus, read: Make) -> None:
    bucket = KvBucket(bus, BUCKET_TASKS)
    revision = await bucket.create("a", b"one", operation="op1")
    await bucket.update("a", b"two", revision=revision, operation="op2")
    reader = read()
    await reader.follower.start()
    await reader.follower.caught_up()
    assert reader.entries == [Followed("$KV.tasks.a", 2, b"two", deleted=False)]


async def test_an_empty_record_counts_as_deleted(bus: Bus, read: Make) -> None:
    await KvBucket(bus, BUCKET_TASKS).create("a", b"", operation="op1")
    reader = read()
    await reader.follower.start()
    await reader.follower.caught_up()
    assert [entry.deleted for entry in reader.entries] == [True]


async def test_a_filter_leaves_out_the_rest(bus: Bus, read: Make) -> None:
    bucket = KvBucket(bus, BUCKET_TASKS)
    reader = read(filter_subject="$KV.tasks.pool.*")
    await reader.follower.start()
    for n in range(20):
        await bucket.create(f"{'pool' if n % 2 else 'other'}.{n}", str(n).encode(), operation=f"op{n}")
    await until(reader.has(b"19"))
    assert reader.said == [str(n).encode() for n in range(1, 20, 2)]


async def test_after_a_cut_it_goes_on_where_it_was(world: World, bus: Bus, read: Make) -> None:
    other = await world.connect("other")
    bucket, reader = KvBucket(other, BUCKET_TASKS), read()
    await write(bucket, 0, 20)
    await reader.follower.start()
    await reader.follower.caught_up()
    world.cut(bus)
    await write(bucket, 20, 40)
    await world.mend(bus)
    await write(bucket, 40, 50)
    await until(reader.has(b"49"))
    assert reader.said == numbers(50)
    assert reader.replays == [0]


async def test_after_kill_9_of_the_broker_it_goes_on_without_a_gap(world: World, bus: Bus, read: Make) -> None:
    bucket, reader = KvBucket(bus, BUCKET_TASKS), read()
    await reader.follower.start()
    await write(bucket, 0, 50)
    await world.kill_broker()
    await write(bucket, 50, 100)
    await until(reader.has(b"99"))
    assert reader.said == numbers(100)


async def test_a_replaying_follower_reads_everything_again_and_says_so_first(
    world: World, bus: Bus, read: Make
) -> None:
    bucket, reader = KvBucket(bus, BUCKET_LEASES), read(BUCKET_LEASES, replay=True)
    await write(bucket, 0, 10)
    await reader.follower.start()
    await until(reader.has(b"9"))
    before = len(reader.entries)
    await world.kill_broker()
    await write(bucket, 10, 12)
    await until(lambda: reader.said[before:] and reader.said[-1] == b"11")
    assert set(reader.replays) == {0, before}
    replayed = [entry.sequence for entry in reader.entries[before:]]
    assert replayed == sorted(set(replayed))
    kept = len(replayed) - 2  # a relaxed stream may lose its tail, never anything before it
    assert reader.said[before:] == [*numbers(10)[:kept], b"10", b"11"]


async def test_a_refresh_has_seen_all_that_was_written_before_it(world: World, bus: Bus, read: Make) -> None:
    other = await world.connect("other")
    bucket, reader = KvBucket(other, BUCKET_TASKS), read()
    await reader.follower.start()
    for n in range(30):
        await bucket.create(f"k{n}", str(n).encode(), operation=f"op{n}")
        await reader.follower.refresh()
        assert reader.said == numbers(n + 1)


async def test_after_stopping_nothing_comes_and_no_consumer_is_left(bus: Bus, read: Make) -> None:
    bucket, reader, later = KvBucket(bus, BUCKET_TASKS), read(), read()
    await reader.follower.start()
    await write(bucket, 0, 1)
    await until(reader.has(b"0"))
    await reader.stop()
    await later.follower.start()
    await write(bucket, 1, 2)
    await until(later.has(b"1"))
    assert reader.said == [b"0"]


async def test_what_arrives_late_from_before_the_reconnect_does_not_spoil_the_replay(fake: FakeWorld) -> None:
    """A message still queued when the connection comes back must not move the replay's beginning."""
    bus = await fake.connect()
    bucket = KvBucket(await fake.connect("other"), BUCKET_LEASES)
    reader = Reader(bus, BUCKET_LEASES, replay=True)
    await reader.follower.start()
    await write(bucket, 0, 5)
    await until(reader.has(b"4"))
    await bucket.create("last", b"last", operation="op")
    for consumer in fake.broker.streams["KV_leases"].consumers.values():
        consumer._push()
    bus.cut()
    bus.mend()
    await until(lambda: reader.replays[-1] > 0)
    await reader.follower.caught_up()
    assert reader.said[reader.replays[-1] :] == [*numbers(5), b"last"]
    await reader.stop()


async def test_a_refresh_asked_for_while_it_opens_still_sees_everything(fake: FakeWorld) -> None:
    """The answer to an older opening says nothing of what was written after it."""
    bus = await fake.connect()
    bucket = KvBucket(await fake.connect("other"), BUCKET_TASKS)
    follower_entries: list[bytes] = []
    follower = Follower(bus, "KV_tasks", lambda entry: follower_entries.append(entry.data))
    answers = hold_answers(bus, "$JS.API.CONSUMER.CREATE.>")
    await follower.start()
    await until(lambda: answers.held)
    forget_consumers(fake)
    await write(bucket, 0, 1)
    refreshing = asyncio.create_task(follower.refresh())
    await asyncio.sleep(0)
    assert not follower.is_caught_up
    answers.let_go()
    await refreshing
    assert follower_entries == [b"0"]
    await follower.stop()


async def test_silence_makes_it_open_anew(fake: FakeWorld) -> None:
    """The broker forgot the consumer without the connection breaking."""
    bus = await fake.connect()
    bucket = KvBucket(await fake.connect("other"), BUCKET_TASKS)
    reader = Reader(bus)
    await reader.follower.start()
    await write(bucket, 0, 3)
    await until(reader.has(b"2"))
    forget_consumers(fake)
    await write(bucket, 3, 6)
    began_s = fake.clock.monotonic_s()
    await until(reader.has(b"5"))
    assert reader.said == numbers(6)
    assert 1 < fake.clock.monotonic_s() - began_s < 6
    await reader.stop()


async def test_a_message_lost_on_the_way_is_fetched_again(fake: FakeWorld) -> None:
    bus = await fake.connect()
    bucket = KvBucket(await fake.connect("other"), BUCKET_TASKS)
    reader = Reader(bus)
    await reader.follower.start()
    await write(bucket, 0, 3)
    await until(reader.has(b"2"))
    lose_next_delivery(fake)
    await write(bucket, 3, 5)
    await until(reader.has(b"4"))
    assert reader.said == numbers(5)
    await reader.stop()


def lose_next_delivery(fake: FakeWorld) -> None:
    deliver = fake.broker.deliver

    def lossy(subject: str, message: Message) -> int:
        if message.reply.startswith("$JS.ACK."):
            fake.broker.deliver = deliver  # type: ignore[method-assign]
            return 1
        return deliver(subject, message)

    fake.broker.deliver = lossy  # type: ignore[method-assign]


def forget_consumers(fake: FakeWorld) -> None:
    """The broker drops them without a word."""
    stream = fake.broker.streams["KV_tasks"]
    for name in list(stream.consumers):
        fake.broker._drop_consumer(stream, name)


class Held:
    """Answers to some requests of a bus, kept back until let go."""

    def __init__(self) -> None:
        self.held = 0
        self._gate = asyncio.Event()

    def let_go(self) -> None:
        self._gate.set()

    async def keep(self) -> None:
        self.held += 1
        await self._gate.wait()


def hold_answers(bus: Bus, pattern: str) -> Held:
    held, request = Held(), bus.request

    async def delayed(subject: str, data: bytes, **options: object) -> object:
        answer = await request(subject, data, **options)  # type: ignore[arg-type]
        if matches(pattern, subject):
            await held.keep()
        return answer

    bus.request = delayed  # type: ignore[method-assign,assignment]
    return held


async def test_headers_alone_tell_what_expires_and_what_is_deleted(bus: Bus, read: Make) -> None:
    bucket = KvBucket(bus, BUCKET_TASKS)
    await bucket.create("live", b"1", operation="op1")
    await bucket.create("over", b"2", operation="op2", ttl_s=60)
    await bucket.create("gone", b"", operation="op3")
    reader = read(headers_only=True)
    await reader.follower.start()
    await reader.follower.caught_up()
    assert reader.said == [b"", b"", b""]
    assert [(one.deleted, one.expires) for one in reader.entries] == [(False, False), (False, True), (True, False)]


async def test_it_begins_behind_the_sequence_it_is_told(bus: Bus, read: Make) -> None:
    await write(KvBucket(bus, BUCKET_TASKS), 0, 5)
    reader = read(after=3)
    await reader.follower.start()
    await reader.follower.caught_up()
    assert reader.sequences == [4, 5]
