"""Leaders, executors and the broker are killed, frozen and cut off under load: no limit is passed, nothing is lost."""

import json
from random import Random

import pytest

from tests.chaos.storm import KINDS, Step, storm
from tests.support.pieces import pieces

SEED = 7
STEPS = (
    Step("leader killed"),
    Step("leader frozen", 6.5),
    Step("leader deaf", 6.0),
    Step("answers lost", 0.5),
    Step("executor frozen", 6.5),
    Step("broker frozen", 3.0),
)
LEADERS_MIN = 4
"""One, and another after each fault that begins with the leader: or the faults were none."""
STARVED_S = 15.0
"""What a machine that runs other tests beside this one may need for what takes 7 s at most on one of its own."""


@pytest.mark.timeout(300)
async def test_whoever_is_killed_frozen_or_cut_off_no_limit_is_passed_and_nothing_is_lost() -> None:
    async with pieces() as system:
        verdict, told = await storm(system, KINDS, lambda _: STEPS, Random(SEED), backlog=150)
        print(json.dumps(verdict.numbers, ensure_ascii=False))
        slow = [str(one) for one in told if one.is_of_leader and one.silence_s > STARVED_S]
        assert not verdict.broken, "\n".join([*verdict.broken, system.tails()])
        assert system.count("leadership won", '"balancer"') >= LEADERS_MIN
        assert not slow, "\n".join([*slow, system.tails()])
        assert system.outcries() == []
