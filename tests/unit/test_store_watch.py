"""A broker silenced by a full disk, on machines whose disk nobody may fill: who notices, and when it is started again."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pointsman.client.bus import BusDown, BusTimeout, Message, NoResponders
from pointsman.services.runtime.embedded import store_watch
from pointsman.services.runtime.settings import Settings
from pointsman.services.runtime.store_probe import SILENT, why_refused

ROOM, NO_ROOM = store_watch.ROOM_BYTES_MIN, store_watch.ROOM_BYTES_MIN - 1
STORED = Message(subject="", headers={}, data=b'{"stream": "PROBE", "seq": 1}')
REFUSED = Message(subject="", headers={}, data=b'{"error": {"code": 503, "description": "insufficient resources"}}')


class Store:
    """Answers every write alike, and counts them."""

    def __init__(self, answer: Message | Exception) -> None:
        self.answer = answer
        self.asked = 0
        self.closed = asyncio.Event()

    async def request(self, *_: Any, **__: Any) -> Message:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        self.closed.set()


class Broker:
    def __init__(self, log: Path, says: str) -> None:
        log.write_text(says)
        self.launcher = SimpleNamespace(log=log)
        self.started_again = asyncio.Event()

    async def restart(self) -> None:
        self.started_again.set()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (STORED, ""),
        (REFUSED, "insufficient resources"),
        (BusTimeout("probe"), SILENT),
        (NoResponders("probe"), "no stream takes writes: JetStream is off, or has no leader"),
        (BusDown("gone"), "not reachable"),
    ],
)
async def test_what_a_store_answers_is_told_in_words(answer: Message | Exception, why: str) -> None:
    store: Any = Store(answer)
    assert await why_refused(store, timeout_s=1) == why


@asynccontextmanager
async def watched(
    monkeypatch: pytest.MonkeyPatch, home: Path, answer: Message | Exception, says: str, free: int
) -> AsyncIterator[tuple[Broker, Store]]:
    store, broker = Store(answer), Broker(home / "nats.log", says)

    async def connect(*_: Any, **__: Any) -> Store:
        return store

    monkeypatch.setattr(store_watch, "EVERY_S", 0)
    monkeypatch.setattr(store_watch.nats_bus, "connect", connect)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    kept: Any = broker
    watching = asyncio.create_task(store_watch.watch(kept, Settings(), home))
    try:
        yield broker, store
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def test_a_silent_broker_is_started_again_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = f"[ERR] JetStream {store_watch.SAID}: no space left on device"
    async with watched(monkeypatch, tmp_path, BusTimeout("probe"), said, ROOM) as (broker, _), asyncio.timeout(30):
        await broker.started_again.wait()


@pytest.mark.parametrize(
    ("answer", "says", "free"),
    [
        pytest.param(BusTimeout("probe"), store_watch.SAID, NO_ROOM, id="the disk is still full"),
        pytest.param(BusTimeout("probe"), "[INF] Server is ready", ROOM, id="it is merely slow"),
        pytest.param(STORED, store_watch.SAID, ROOM, id="it stores again"),
    ],
)
async def test_it_is_left_alone_while(
    answer: Message | Exception, says: str, free: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with watched(monkeypatch, tmp_path, answer, says, free) as (broker, store), asyncio.timeout(30):
        while store.asked < 3:
            await asyncio.sleep(0)
        assert not broker.started_again.is_set()
