"""The servers screen, and the table that it stands on."""

from time import monotonic

import pytest

from pointsman.contracts.server import HealthState
from pointsman.tui.screens.servers import ServersScreen
from tests.support.cockpit_world import World
from tests.support.cockpits import Seat, cockpit


async def opened(seat: Seat) -> ServersScreen:
    await seat.press("2")
    await seat.sees("RUN/CAP")
    screen = seat.app.screen
    assert isinstance(screen, ServersScreen)
    return screen


def rows(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.strip().startswith("srv-")]


async def test_what_needs_attention_stands_first() -> None:
    async with cockpit() as seat:
        await opened(seat)
        text = await seat.sees("srv-0134")
        assert rows(text)[:5] == ["srv-0134", "srv-0091", "srv-0018", "srv-0045", "srv-0061"]
        for words in ("✖ DOWN", "▲ SUSPECT 2/3", "◐ DRAINED", "◌ MAINT", "● UP"):
            assert words in text


async def test_the_cursor_follows_its_server_while_others_pass_it() -> None:
    async with cockpit(World(servers=60)) as seat:
        screen = await opened(seat)
        await seat.press("j", "j", "j")
        followed = screen.table.cursor
        for number in range(30, 60):
            seat.world.change(f"srv-{number:04}", state=HealthState.UNHEALTHY)
        seat.source.frame(seat.world.tell(*(f"srv-{number:04}" for number in range(30, 60))))
        await seat.sees(lambda _: screen.table.keys[0] == "srv-0030")
        assert screen.table.cursor == followed
        assert followed is not None and followed in seat.text, "and stays in sight"


async def test_a_server_that_goes_leaves_the_cursor_in_its_place() -> None:
    async with cockpit(World(servers=5)) as seat:
        screen = await opened(seat)
        await seat.press("j")
        gone = screen.table.cursor
        assert gone is not None
        seat.source.frame(seat.world.tell(gone=(gone,)))
        await seat.sees(lambda text: gone not in rows(text))
        assert screen.table.cursor == "srv-0003"


async def test_marks_are_what_verbs_act_on_and_go_with_their_servers() -> None:
    async with cockpit(World(servers=5)) as seat:
        screen = await opened(seat)
        assert screen.chosen == ("srv-0001",)
        await seat.press("space", "space")
        await seat.sees("marked 2")
        assert screen.chosen == ("srv-0001", "srv-0002")
        seat.source.frame(seat.world.tell(gone=("srv-0001",)))
        await seat.sees("marked 1")
        await seat.press("asterisk")
        await seat.sees("marked 4")
        await seat.press("backslash")
        await seat.sees("marked 0")


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("0091", ["srv-0091"]),
        ("state:down", ["srv-0134"]),
        ("!state:up 01", ["srv-0134", "srv-0018"]),
        ("by:li", ["srv-0061"]),
    ],
)
async def test_a_filter_shows_those_that_match_while_it_is_typed(typed: str, left: list[str]) -> None:
    async with cockpit() as seat:
        await opened(seat)
        await seat.press("slash", *typed)
        await seat.sees(lambda text: rows(text) == left)
        await seat.press("enter")
        await seat.sees(f"{len(left)} of 200 servers")
        await seat.press("escape")
        await seat.sees("200 of 200 servers")


async def test_a_filter_that_nothing_matches_says_how_to_get_out() -> None:
    async with cockpit(World(servers=3)) as seat:
        await opened(seat)
        await seat.press("slash", *"nope")
        await seat.sees("no server matches")


async def test_only_bad_and_sorts() -> None:
    async with cockpit() as seat:
        screen = await opened(seat)
        await seat.press("exclamation_mark")
        await seat.sees(lambda text: rows(text) == ["srv-0134", "srv-0091", "srv-0018", "srv-0045", "srv-0061"])
        await seat.press("exclamation_mark", "s")
        await seat.sees(lambda text: "sort id" in text and screen.table.keys[0] == "srv-0001")
        await seat.press("S")
        await seat.sees(lambda _: screen.table.keys[0] == "srv-0200")


async def test_a_frozen_order_stays_whatever_happens() -> None:
    async with cockpit() as seat:
        screen = await opened(seat)
        await seat.press("f")
        await seat.sees("frozen")
        before = list(screen.table.keys)
        seat.world.change("srv-0002", state=HealthState.UNHEALTHY)
        seat.source.frame(seat.world.tell("srv-0002"))
        await seat.sees(lambda text: text.count("✖ DOWN") >= 2)
        assert list(screen.table.keys) == before
        await seat.press("f")
        await seat.sees(lambda _: "srv-0002" in screen.table.keys[:2])


async def test_enter_opens_the_page_of_a_server_and_escape_leaves_it() -> None:
    async with cockpit() as seat:
        await opened(seat)
        await seat.press("enter")
        text = await seat.sees("server srv-0134")
        assert "no heartbeat" in text and "missed 3/3" in text
        seat.source.frame(seat.world.tell(gone=("srv-0134",)))
        await seat.sees("srv-0134 is not here any more")
        await seat.press("escape")
        await seat.sees("200 servers" if "200 servers" in seat.text else "199 of 199 servers")


async def test_a_cluster_without_servers_says_what_to_do_next() -> None:
    async with cockpit(World(servers=0)) as seat:
        await opened(seat)
        await seat.sees("no server has registered yet")


@pytest.mark.parametrize("place", [1, 2, 3, 4, 5, 6])
async def test_with_ascii_no_other_character_is_drawn(place: int) -> None:
    async with cockpit(ascii_only=True) as seat:
        await seat.press(str(place))
        seat.source.frame()
        text = await seat.sees(f"[{place} ")
        assert text.isascii(), sorted({letter for letter in text if not letter.isascii()})


async def test_without_colour_none_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with cockpit(no_color=True) as seat:
        await opened(seat)
        lines = seat.app.screen._compositor.render_strips()
        colours = {
            segment.style.color.name for line in lines for segment in line if segment.style and segment.style.color
        }
        grounds = {
            segment.style.bgcolor.name for line in lines for segment in line if segment.style and segment.style.bgcolor
        }
        assert colours <= {"default"} and grounds <= {"default"}, (colours, grounds)
        await seat.sees("✖ DOWN")


async def test_a_click_takes_to_a_screen_and_to_a_row() -> None:
    async with cockpit() as seat:
        await seat.pilot.click("#screens", offset=(18, 0))
        await seat.sees("[2 Servers")
        await seat.pilot.click("#servers-table", offset=(5, 3))
        screen = seat.app.screen
        assert isinstance(screen, ServersScreen)
        await seat.sees(lambda _: screen.table.cursor == "srv-0018")


async def test_an_alert_opens_what_it_is_about() -> None:
    async with cockpit() as seat:
        await seat.sees("needs attention 2")
        await seat.press("tab") if seat.app.focused is None else None
        await seat.press("enter")
        await seat.sees("[2 Servers")
        screen = seat.app.screen
        assert isinstance(screen, ServersScreen)
        await seat.sees(lambda _: screen.table.cursor == "srv-0134")


async def test_a_link_that_ages_dims_the_numbers_and_refuses_verbs() -> None:
    async with cockpit() as seat:
        await opened(seat)
        seat.time_passes(2.0)
        await seat.sees("▲ slow 2.0 s")
        assert seat.app.why_read_only is None
        seat.time_passes(10.0)
        await seat.sees("✖ STALE")
        assert seat.app.look.dimmed and seat.app.why_read_only is not None
        seat.source.frame()
        await seat.sees("● live")
        assert not seat.app.look.dimmed


async def test_idle_costs_no_drawing() -> None:
    async with cockpit() as seat:
        await seat.sees("● live")
        await seat.sees(lambda _: len(seat.app._screen_stacks) == len(seat.app.MODES))
        await seat.pilot.pause(0.3)
        before = seat.app.draws
        await seat.pilot.pause(1.2)
        assert seat.app.draws - before <= 1


async def test_frames_that_tell_of_nothing_but_checks_are_drawn_once_a_second() -> None:
    async with cockpit(screen="servers") as seat:
        await seat.sees("● live")
        await seat.sees(lambda _: len(seat.app._screen_stacks) == len(seat.app.MODES))
        await seat.pilot.pause(1.2)
        before, began = seat.app.draws, monotonic()
        for _ in range(60):
            seat.source.frame(seat.world.age())
            await seat.pilot.pause(0.03)
        assert 1 <= seat.app.draws - before <= 2 + monotonic() - began
        seat.world.change("srv-0007", state=HealthState.UNHEALTHY)
        seat.source.frame(seat.world.tell("srv-0007"))
        await seat.sees(lambda text: text.count("✖ DOWN") == 2)
