"""What the cockpit writes to a terminal at the end of a slow link."""

from pathlib import Path

from tests.support.cockpit_broker import announced, broker
from tests.support.cockpit_world import World
from tests.support.terminal import terminal

FRAMES = 50
LESS = 0.7
"""Of it a third is left where the machine keeps up with ten drawings a second; on a busy one it draws less either way."""


async def test_one_drawing_a_second_writes_much_less(tmp_path: Path) -> None:
    async with (
        broker(tmp_path) as nats,
        announced(nats, World(servers=200)) as cluster,
        terminal("tui", "servers", "--url", nats.url) as usual,
        terminal("tui", "servers", "--hz", "1", "--url", nats.url) as slow,
    ):
        for screen in (usual, slow):
            await screen.sees("[2 Servers 200]")
        before, began = [len(screen.drawn) for screen in (usual, slow)], cluster.world.seq
        while cluster.world.seq < began + FRAMES:
            await usual.draws_more()
        by_usual, by_slow = (len(screen.drawn) - was for screen, was in zip((usual, slow), before, strict=True))
        assert 0 < by_slow < LESS * by_usual, (by_slow, by_usual)
