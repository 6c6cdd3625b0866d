"""A disk that somebody else fills: not ready while it is full, and everything goes on when there is room again."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import disks
from tests.support.backends import Backend
from tests.support.system_up import SystemUp, eventually

SIZE = "300m"
WITHIN_S = 90.0


@pytest.fixture
def small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pm-") as folder, disks.small_disk(Path(folder), SIZE) as disk:
        yield disk


@pytest.fixture
async def system(small_disk: Path) -> AsyncIterator[SystemUp]:
    system = SystemUp(small_disk / "d", {})
    try:
        await system.start()
        yield system
    finally:
        system.end()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError:
            return


async def test_a_full_disk_is_told_and_forgotten_when_there_is_room(system: SystemUp, small_disk: Path) -> None:
    async with await Backend.start() as backend, system.client("ada", "admin") as admin:
        server = {"id": "e", "endpoints": backend.endpoints, "maxConcurrent": 20}
        await admin.call("POST", "/api/servers", server, expect=(201,))
        await admin.done({"type": "scan"}, within_s=60)
        fill(small_disk / "filler")

        async def says_so() -> bool:
            answer = await admin.call("GET", "/readyz")
            return answer.status == 503 and "its disk is or was full" in str(answer.body["dependencies"]["storage"])

        await eventually(says_so, "readiness tells of the full disk", within_s=WITHIN_S)
        (small_disk / "filler").unlink()

        async def is_ready() -> bool:
            return (await admin.call("GET", "/readyz")).status == 200

        await eventually(is_ready, "the system is ready again by itself", within_s=WITHIN_S)
        await admin.done({"type": "scan"}, within_s=60)
