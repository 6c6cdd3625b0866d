"""Compare-and-set on a bucket, and unknown outcomes: on the fake and on NATS alike."""

import asyncio

import msgspec
import pytest

from pointsman.client.bus import Bus
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.subjects import BUCKET_TASKS, key
from pointsman.services.runtime import buckets, kv
from pointsman.services.runtime.kv import KvBucket, RevisionMoved
from tests.support import worlds
from tests.support.worlds import FakeWorld, World, until

world, bus, fake = worlds.world, worlds.bus, worlds.fake


@pytest.fixture
def bucket(bus: Bus) -> KvBucket:
    return KvBucket(bus, BUCKET_TASKS)


async def writes(bus: Bus) -> int:
    """How many messages the bucket's stream has ever taken."""
    answer = await buckets.api(bus, "STREAM.INFO.KV_tasks")
    return int(answer["state"]["last_seq"])


async def test_what_was_created_can_be_read_either_way(bucket: KvBucket) -> None:
    revision = await bucket.create("a.b", b"one", operation="op1")
    for latest in (False, True):
        entry = await bucket.get("a.b", latest=latest)
        assert entry == kv.Entry("a.b", revision, b"one", "op1")
        assert await bucket.get("absent", latest=latest) is None


async def test_a_key_is_created_once(bucket: KvBucket) -> None:
    await bucket.create("a", b"one", operation="op1")
    with pytest.raises(RevisionMoved):
        await bucket.create("a", b"two", operation="op2")
    entry = await bucket.get("a", latest=True)
    assert entry is not None
    assert entry.data == b"one"


async def test_of_twenty_racers_one_wins(bucket: KvBucket) -> None:
    revision = await bucket.create("a", b"start", operation="op")
    racers = [bucket.update("a", str(n).encode(), revision=revision, operation=f"op{n}") for n in range(20)]
    results = await asyncio.gather(*racers, return_exceptions=True)
    won = [n for n, result in enumerate(results) if isinstance(result, int)]
    assert len(won) == 1
    assert all(isinstance(result, RevisionMoved) for n, result in enumerate(results) if n not in won)
    entry = await bucket.get("a", latest=True)
    assert entry is not None
    assert (entry.data, entry.revision) == (str(won[0]).encode(), results[won[0]])


async def test_an_old_revision_changes_nothing(bucket: KvBucket) -> None:
    first = await bucket.create("a", b"one", operation="op1")
    second = await bucket.update("a", b"two", revision=first, operation="op2")
    for stale in (0, first, second + 1):
        with pytest.raises(RevisionMoved):
            await bucket.update("a", b"three", revision=stale, operation="op3")
    assert await bucket.update("a", b"three", revision=second, operation="op4") > second


async def test_revisions_of_different_keys_do_not_disturb_each_other(bucket: KvBucket) -> None:
    a = await bucket.create("a", b"one", operation="op1")
    b = await bucket.create("b", b"one", operation="op2")
    assert await bucket.update("a", b"two", revision=a, operation="op3") > b
    assert await bucket.update("b", b"two", revision=b, operation="op4") > b


async def test_a_record_with_a_ttl_goes_by_itself_and_its_key_can_be_made_anew(bus: Bus, bucket: KvBucket) -> None:
    await bucket.create("a", b"short", operation="op1", ttl_s=1)
    kept = await bucket.create("b", b"short", operation="op2", ttl_s=1)
    await bucket.update("b", b"kept", revision=kept, operation="op3")
    gone = asyncio.Event()

    async def watch() -> None:
        while await bucket.get("a", latest=True) is not None:
            await asyncio.sleep(0.05)
        gone.set()

    async with asyncio.timeout(20):
        await watch()
    assert gone.is_set()
    assert await bucket.create("a", b"anew", operation="op4") > kept
    assert await bucket.get("b") is not None


async def test_a_lost_acknowledgement_is_recognised_and_never_written_twice(
    world: World, bus: Bus, bucket: KvBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kv, "WRITE_TIMEOUT_S", 0.3)
    world.lose_ack(bus)
    first = await bucket.create("a", b"one", operation="op1")
    world.lose_ack(bus)
    second = await bucket.update("a", b"two", revision=first, operation="op2")
    assert (first, second, await writes(bus)) == (1, 2, 2)
    entry = await bucket.get("a", latest=True)
    assert entry == kv.Entry("a", second, b"two", "op2")


async def test_when_somebody_else_wrote_during_the_uncertainty_we_lose(
    world: World, bus: Bus, bucket: KvBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our write was committed, unacknowledged, and then replaced: we must not write over the other's."""
    monkeypatch.setattr(kv, "WRITE_TIMEOUT_S", 1.5)
    other = KvBucket(await world.connect("other"), BUCKET_TASKS)
    world.lose_ack(bus)
    writing = asyncio.create_task(bucket.create("a", b"ours", operation="ours"))
    async with asyncio.timeout(20):
        while (entry := await other.get("a", latest=True)) is None:
            await asyncio.sleep(0)
    await other.update("a", b"theirs", revision=entry.revision, operation="theirs")
    with pytest.raises(RevisionMoved):
        await writing
    entry = await other.get("a", latest=True)
    assert entry is not None
    assert (entry.data, await writes(bus)) == (b"theirs", 2)


async def test_a_write_over_a_restart_of_the_broker_happens_once(world: World, bus: Bus, bucket: KvBucket) -> None:
    restart = asyncio.create_task(world.kill_broker())
    revisions = await asyncio.gather(*(bucket.create(f"k{n}", b"x", operation=f"op{n}") for n in range(30)))
    await restart
    assert len(set(revisions)) == 30
    entries = [await bucket.get(f"k{n}", latest=True) for n in range(30)]
    assert [entry.revision if entry else None for entry in entries] == revisions
    assert await writes(bus) == 30


async def test_a_write_while_cut_off_is_done_when_the_connection_is_back(
    world: World, bus: Bus, bucket: KvBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kv, "WRITE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(kv, "READ_TIMEOUT_S", 0.3)
    world.cut(bus)
    writing = asyncio.create_task(bucket.create("a", b"one", operation="op1"))
    await asyncio.wait([writing], timeout=0.8)
    assert not writing.done()
    await world.mend(bus)
    revision = await writing
    assert (revision, await writes(bus)) == (1, 1)


async def test_an_outage_longer_than_the_budget_is_503_and_unknown(
    world: World, bus: Bus, bucket: KvBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WRITE_TIMEOUT_S", "READ_TIMEOUT_S", "BUDGET_S"):
        monkeypatch.setattr(kv, name, 0.3)
    world.cut(bus)
    with pytest.raises(PointsmanError, match="unknown") as refusal:
        await bucket.create("a", b"one", operation="op1")
    assert refusal.value.status == 503
    await world.mend(bus)


async def test_a_missing_stream_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No leader for the stream yet: surely not written, so the write is tried again."""
    bus = await world.connect()
    writing = asyncio.create_task(KvBucket(bus, BUCKET_TASKS).create("a", b"one", operation="op1"))
    await asyncio.wait([writing], timeout=0.2)
    assert not writing.done()
    await buckets.ensure(bus, relaxed=False, replicas=1)
    assert await writing == 1


async def test_a_refusal_that_will_not_pass_is_not_tried_again(bus: Bus, bucket: KvBucket) -> None:
    with pytest.raises(PointsmanError, match="TTL") as refusal:
        await bucket.create("a", b"x", operation="op1", ttl_s=0)
    assert refusal.value.status == 503
    assert await writes(bus) == 0


async def test_every_committed_record_is_shown_in_the_view_and_kept_for_history(bus: Bus, bucket: KvBucket) -> None:
    seen: list[bytes] = []

    async def see(message: object) -> None:
        seen.append(message.data)  # type: ignore[attr-defined]

    await bus.subscribe("pointsman.view.task.*", see)
    await bus.barrier()
    first = await bucket.create("task_1", b"one", operation="op1", ttl_s=1)
    with pytest.raises(RevisionMoved):
        await bucket.update("task_1", b"never", revision=first + 5, operation="op2")
    await bucket.update("task_1", b"two", revision=first, operation="op3", ttl_s=1)
    await until(lambda: len(seen) == 2)
    assert seen == [b"one", b"two"]
    async with asyncio.timeout(20):
        while await bucket.get("task_1", latest=True) is not None:
            await asyncio.sleep(0.05)
        while (entry := await kv.last_message(bus, "HISTORY", key(BUCKET_TASKS, "task_1"))) is None:
            await asyncio.sleep(0.05)
    assert entry.data == b"two"


async def test_making_the_streams_again_keeps_what_is_in_them(bus: Bus, bucket: KvBucket) -> None:
    await bucket.create("a", b"one", operation="op1")
    await buckets.ensure(bus, relaxed=False, replicas=1)
    entry = await bucket.get("a")
    assert entry is not None
    assert entry.data == b"one"


async def test_a_relaxed_stream_that_lost_its_tail_shows_what_was_before(fake: FakeWorld) -> None:
    """The fake's own switch: a lost last write uncovers the record it had replaced, and its sequence is given anew."""
    bucket = KvBucket(await fake.connect(), "leases")
    first = await bucket.create("a", b"one", operation="op1")
    second = await bucket.update("a", b"two", revision=first, operation="op2")
    fake.broker.streams["KV_leases"].lose_tail(1)
    entry = await bucket.get("a")
    assert entry is not None
    assert entry.data == b"one"
    assert await bucket.create("b", b"other", operation="op3") == second


async def test_a_request_lost_on_the_way_is_sent_again(fake: FakeWorld) -> None:
    bus = await fake.connect()
    fake.broker.lose_answer("$KV.>", executed=False)
    assert await KvBucket(bus, BUCKET_TASKS).create("a", b"one", operation="op1") == 1
    assert await writes(bus) == 1


def test_headers_of_a_stored_message_are_read_as_they_were_written() -> None:
    import base64

    encoded = base64.b64encode(b"NATS/1.0\r\nPointsman-Op: a:b\r\nEmpty:\r\n\r\n").decode()
    assert kv._parse_headers(encoded) == {"Pointsman-Op": "a:b", "Empty": ""}
    assert msgspec.json.encode(kv.ApiError(code=1))
