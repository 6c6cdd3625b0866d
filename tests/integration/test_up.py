"""`pointsman up` on real stores with a service that falls: ready is said of a whole system only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from pointsman.services.runtime.embedded import child, supervisor
from pointsman.services.runtime.embedded.kept import FALLS_MAX, DidNotStart
from pointsman.services.runtime.embedded.service import ServiceGroup
from pointsman.services.runtime.settings import Settings
from tests.support.system_up import short_folder

WITHIN_S = 240.0
LATE = ("history", "statistics")
FALLING = 'echo "no such luck" >&2; exit 3'
"""As `up` would run it, but for the first two times."""
FALLING_TWICE = f'echo >> "$0"; [ $(wc -l < "$0") -gt 2 ] || {{ {FALLING}; }}; exec "$@"'


class Falling(ServiceGroup):
    """One that runs `script` instead; its arguments are a file of its own and what would have run."""

    script = FALLING

    async def program(self) -> child.Program:
        asked = await super().program()
        starts = self.log.with_suffix(".starts")
        return replace(asked, argv=("/bin/sh", "-c", self.script, str(starts), *asked.argv))


def falling(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    def group(self: supervisor.System, names: tuple[str, ...], settings: Settings) -> ServiceGroup:
        kind = type("Scripted", (Falling,), {"script": script}) if names == LATE else ServiceGroup
        found: ServiceGroup = kind(names, settings, self._home / "logs", keeps=self._keeps)
        return found

    monkeypatch.setattr(supervisor.System, "_group", group)


@asynccontextmanager
async def up(home: Path) -> AsyncIterator[tuple[list[str], asyncio.Task[None]]]:
    said: list[str] = []
    running = asyncio.create_task(supervisor.up(Settings(port=0), home, announce=said.append))
    try:
        async with asyncio.timeout(WITHIN_S):
            yield said, running
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_service_that_keeps_falling_is_named_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    falling(monkeypatch, FALLING)
    with short_folder() as folder:
        async with up(folder / "d") as (said, running):
            with pytest.raises(DidNotStart, match="no such luck") as refused:
                await running
    assert said == []
    assert str(refused.value).startswith(f"history-statistics ended {FALLS_MAX} times in a row")


async def test_it_is_ready_when_the_last_service_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    falling(monkeypatch, FALLING_TWICE)
    with short_folder() as folder:
        async with up(folder / "d") as (said, running):
            while not said:
                assert not running.done(), running.result()
                await asyncio.sleep(0.01)
            assert len((folder / "d/logs/history-statistics.starts").read_text()) >= 3
            assert '"started"' in (folder / "d/logs/history-statistics.log").read_text()
