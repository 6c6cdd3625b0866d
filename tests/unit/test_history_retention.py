"""Who drops old days, and which."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from pointsman.contracts.task import DAY_MS
from pointsman.services.history.retention import Retention

TODAY = 20_000


@dataclass
class Archive:
    fails: bool = False
    asked: list[int] = field(default_factory=list)

    async def drop_days_before(self, day: int) -> list[str]:
        if self.fails:
            raise OSError("away")
        self.asked.append(day)
        return ["tasks_20240101"]


@dataclass
class Election:
    leads: bool = True

    def is_leader(self) -> bool:
        return self.leads


class Noon:
    def now_ms(self) -> int:
        return TODAY * DAY_MS + DAY_MS // 2


async def dropped(archive: Archive, *, days: int = 30, leads: bool = True) -> list[int]:
    parts: Any = (archive, Election(leads), Noon())
    await Retention(*parts, days).step()
    return archive.asked


async def test_days_are_dropped_when_all_of_them_is_too_old() -> None:
    assert await dropped(Archive()) == [TODAY - 30]


@pytest.mark.parametrize("given", [{"leads": False}, {"days": 0}])
async def test_only_the_elected_one_drops_and_nothing_when_all_is_kept(given: dict[str, Any]) -> None:
    assert await dropped(Archive(), **given) == []


async def test_a_database_that_is_away_is_asked_again_later() -> None:
    assert await dropped(Archive(fails=True)) == []
