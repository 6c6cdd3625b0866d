"""kill -9 of each process under load: what was acknowledged is done, once, and everybody was told the truth."""

import json
from collections.abc import AsyncIterator
from random import Random

import pytest
import pytest_asyncio

from tests.chaos.rounds import SUPERVISOR, VICTIMS, kill_round
from tests.support.system_up import SystemUp, system_up

TASKS_PER_ROUND = 260
SEED = 7

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system() -> AsyncIterator[SystemUp]:
    async with system_up() as running:
        yield running


@pytest.mark.parametrize("victim", VICTIMS)
async def test_nothing_acknowledged_is_lost_or_done_twice(system: SystemUp, victim: str) -> None:
    rng = Random(f"{SEED} {victim}")
    before = len(system.outcries())
    try:
        verdict = await kill_round(system, victim, TASKS_PER_ROUND, rng, f"k-{victim}")
    except BaseException:
        print(system.tails())
        raise
    print(f"\nkill {victim}: {json.dumps(verdict.numbers, ensure_ascii=False)}")
    assert not verdict.broken, "\n".join([*verdict.broken, system.tails()])
    assert system.outcries()[before:] == []
    if victim == SUPERVISOR:
        assert {"nats", "postgres", "gateway"} <= set(system.pids())
