"""The cockpit as lines, and the operator's own settings of it."""

from datetime import UTC
from pathlib import Path

import pytest

from pointsman.contracts.frames import News
from pointsman.contracts.server import HealthState, Wanted
from pointsman.tui.changes import changes, look_at
from pointsman.tui.keys import Taste, TasteError, taste_of
from pointsman.tui.model import Model
from pointsman.tui.options import Address, Options, System
from pointsman.tui.plainly import Plain
from pointsman.tui.told import Connected, FrameCame, Lost
from tests.support.cockpit_world import World, WorldSource
from tests.support.cockpits import cockpit


def test_each_change_is_a_line() -> None:
    world, model = World(servers=200), Model()
    model.fold(world.whole())
    before = look_at(model)
    world.change("srv-0001", state=HealthState.UNHEALTHY, error="refused")
    world.change("srv-0002", wanted=Wanted.MAINTENANCE, reason="new disks", by="ana")
    act = News(at=world.at + 9, kind="act", subject="srv-0002", what="maintenance", by="ana", ok=False, why="6 run")
    model.fold(world.tell("srv-0001", "srv-0002", gone=("srv-0134",), news=(act,)))
    assert [told.split(" ", 1)[1] for told in changes(before, model, UTC)] == [
        "server srv-0001 up -> down (refused)",
        "server srv-0002 up -> maint (new disks) by ana",
        "server srv-0134 gone, was down",
        "alert over srv-0134 (server-down)",
        "act srv-0002 maintenance REFUSED: 6 run by ana",
    ]
    assert list(changes(look_at(model), model, UTC)) == []


def test_the_link_is_told_too() -> None:
    told: list[str] = []
    sources: list[WorldSource] = []

    def source(tell: object) -> WorldSource:
        sources.append(WorldSource(tell, World(servers=2)))  # type: ignore[arg-type]
        return sources[0]

    plain = Plain(Options(System(lambda: Address("nats://nowhere"))), told.append, source)
    plain.take(Connected("nats:4222"))
    plain.take(FrameCame(sources[0].world.whole(), 1))
    plain.take(Lost("the connection broke"))
    assert [line for line in told if line.startswith("link")] == [
        "link connected to nats:4222",
        "link live",
        "link disconnected: the connection broke",
    ]
    assert any("cluster servers 2" in line for line in told)


def test_taste_is_read_from_a_file_and_what_is_wrong_with_it_is_named(tmp_path: Path) -> None:
    assert taste_of(tmp_path) == Taste()
    file = tmp_path / "cockpit.toml"
    file.write_text('theme = "pointsman-cvd"\n[keys]\n"servers.sort" = "o"\n')
    assert taste_of(tmp_path) == Taste(theme="pointsman-cvd", keys={"servers.sort": "o"})
    for text, named in (
        ('theme = "pink"', "theme: 'pink'"),
        ("theme = 3", "theme: 3 is none of pointsman-dark, "),
        ("theme = []", "theme: .. is none of"),
        ("colour = 1", "there is no 'colour'; there are: theme, keys"),
        ("keys = 3", "keys: must be a table"),
        ('[keys]\n"servers.sort" = 3', "'servers.sort': must be text"),
        ('[keys]\nservers.sort = "o"', "'servers': must be text, .* in quotes"),
        ('[keys]\n"servers.sorting" = "o"', "no 'servers.sorting'; there are: .*servers.sort, "),
        ('[keys]\n"server.sort" = "o"', "no 'server.sort'; ids begin with alerts, .*servers, .*`\\?` shows"),
        ('[keys]\n"servers.sort" = ""', "servers.sort: '' is no key"),
        ('[keys]\n"servers.sort" = "f5,controll+o"', "servers.sort: 'controll\\+o' is no key"),
        ('[keys]\n"servers.sort" = "d"', "servers.sort: servers.drain has the key 'd'"),
        ('[keys]\n"servers.filter" = "!"', "servers.filter: servers.bad has the key 'exclamation_mark'"),
        ("=", "toml"),
        ("\xff", "utf-8"),
    ):
        file.write_bytes(text.encode("latin-1"))
        with pytest.raises(TasteError, match=named):
            taste_of(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(TasteError, match=r"cockpit\.toml"):
        taste_of(tmp_path)


def test_two_keys_may_change_places(tmp_path: Path) -> None:
    keys = {"servers.sort": "d", "servers.drain": "s", "app.help": "f1,question_mark", "app.zone": "ctrl+u"}
    lines = [f'"{name}" = "{key}"' for name, key in keys.items()]
    (tmp_path / "cockpit.toml").write_text("\n".join(["[keys]", *lines]))
    assert taste_of(tmp_path).keys == keys


async def test_keys_are_the_operators_own() -> None:
    async with cockpit(World(servers=3), keys={"servers.sort": "o"}) as seat:
        await seat.press("2", "o")
        await seat.sees("sort id")


async def test_a_protected_context_has_a_ground_of_its_own() -> None:
    async with cockpit(World(servers=3), name="prod-eu", protected=True, read_only=True) as seat:
        text = await seat.sees("prod-eu")
        assert "RO" in text
        plain_ground = seat.app.context_color
    async with cockpit(World(servers=3), name="dev") as seat:
        assert seat.app.context_color != plain_ground
