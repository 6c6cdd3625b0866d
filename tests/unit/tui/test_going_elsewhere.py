"""From one context to another without leaving the cockpit: nothing of the one is shown or done as the other's."""

import asyncio
from collections.abc import Iterable

import pytest
from textual.command import CommandList

from pointsman.tui.link import State
from pointsman.tui.options import Options, System
from pointsman.tui.palette import commands_of, matching
from pointsman.tui.told import Lost
from tests.support.cockpit_acts import asked, at_server, seated, told
from tests.support.cockpit_services import Services
from tests.support.cockpit_world import World
from tests.support.cockpits import Seat, nowhere, showing

PROD = System(nowhere, "prod", protected=True, read_only=True)
STAGING = System(nowhere, "staging", color="cyan")
WEB = System(nowhere, "web", refusal="the cockpit needs NATS")


def contexts() -> Iterable[System]:
    return (System(nowhere, "dev"), PROD, System(nowhere, "prod-eu"), STAGING, WEB)


async def types(seat: Seat, text: str) -> None:
    """Into the palette; enter once what is wanted is the first that is found."""
    below = seat.app.screen
    await seat.press("colon")
    await seat.sees("Search for commands")
    (wanted, *_) = matching(commands_of(seat.app, below), text)
    await seat.press(*["space" if char == " " else "minus" if char == "-" else char for char in text])

    def is_first(_: str) -> bool:
        found = seat.app.screen.query_one(CommandList)
        return found.option_count > 0 and found.get_option_at_index(0).hit.text == wanted.text  # type: ignore[attr-defined]

    await seat.sees(is_first)
    await seat.press("enter")


async def gone_to(seat: Seat) -> Options:
    """What the cockpit ended with."""
    async with asyncio.timeout(20):
        while seat.app.return_value is None:
            await seat.pilot.pause(0.02)
    return seat.app.return_value


async def test_a_colon_and_the_name_of_a_context_show_that_one_and_nothing_of_the_one_before() -> None:
    async with seated(servers=12, name="dev", systems=contexts) as (seat, _):
        await at_server(seat, "srv-0007")
        await seat.press("space", "slash", *"srv", "enter", "U", "T")
        await seat.sees("marked 1")
        await types(seat, "prod")
        going = await gone_to(seat)
        theme = seat.app.theme
    assert (going.system, going.previous) == (PROD, System(nowhere, "dev"))
    async with showing(going, World(servers=3), started=False) as seat:
        text = await seat.sees(" pointsman prod   RO   … connecting")
        assert "[2 Servers]" in text and "srv-" not in text
        assert seat.app.why_read_only is not None
        seat.source.start()
        text = await seat.sees("[2 Servers 3]")
        assert "marked 0" in text and "filter none" in text and "srv-0007" not in text and " local\n" in text
        assert seat.app.theme == theme
        assert seat.app.why_read_only == "context prod is protected: it opens to `pointsman tui --no-read-only`"


@pytest.mark.parametrize("words", ["ctx -", "context previous", "dev"])
async def test_the_one_before_is_found_by_a_dash_by_its_name_and_as_previous(words: str) -> None:
    here = Options(STAGING, previous=System(nowhere, "dev", read_only=True), systems=contexts)
    async with showing(here, World(servers=3)) as seat:
        await types(seat, words)
        going = await gone_to(seat)
    assert going.system is here.previous
    assert going.previous is STAGING


async def test_an_exact_name_comes_before_one_that_only_begins_so_whatever_was_before() -> None:
    here = Options(STAGING, previous=System(nowhere, "prod-eu"), systems=contexts)
    async with showing(here, World(servers=3)) as seat:
        for words in ("prod", "ctx prod", "context prod"):
            found = [one.text for one in matching(commands_of(seat.app, seat.app.screen), words)]
            assert found == ["context prod", "context prod-eu"]


async def test_it_can_be_left_for_another_while_it_is_away_and_before_it_ever_came() -> None:
    async with showing(Options(STAGING, systems=contexts), World(servers=3)) as seat:
        await seat.sees("● live")
        seat.source.say(Lost("the connection broke", 1, 1.0))
        await seat.sees("✖ DISCONNECTED")
        await types(seat, "dev")
        going = await gone_to(seat)
    async with showing(going, started=False) as seat:
        assert seat.app.link.state is State.CONNECTING
        seat.source.say(Lost("env:NATS_PASSWORD: this variable is not set", 1, 1.0))
        await seat.sees("connecting, try 1: env:NATS_PASSWORD: this variable is not set")
        await seat.press("1")
        text = await seat.sees("waiting for the first frame")
        assert text.count("this variable is not set") == 2
        await types(seat, "ctx -")
        assert (await gone_to(seat)).system is STAGING


async def test_what_cannot_be_shown_says_why_and_the_cockpit_stays_where_it_is() -> None:
    async with showing(Options(STAGING, systems=contexts), World(servers=3)) as seat:
        await types(seat, "web")
        await told(seat, "web: the cockpit needs NATS")
        assert seat.app.return_value is None
        await seat.sees("pointsman staging   RW   ● live")


async def test_contexts_that_cannot_be_read_say_why() -> None:
    def unreadable() -> Iterable[System]:
        raise ValueError("contexts.toml is open to others")

    async with showing(Options(STAGING, systems=unreadable), World(servers=3)) as seat:
        await types(seat, "ctx")
        await told(seat, "contexts.toml is open to others")
        assert seat.app.return_value is None


async def test_an_act_that_was_not_confirmed_is_done_nowhere() -> None:
    async with seated(name="dev", systems=contexts) as (seat, before):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        seat.app.go_to(STAGING)
        going = await gone_to(seat)
    await nothing_is_sent_to(going)
    assert before.writes == []


async def test_an_act_on_its_way_asks_first_and_is_never_sent_to_the_other() -> None:
    async with seated(name="dev", systems=contexts) as (seat, before):
        before.held = asyncio.Event()
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        await seat.press("y")
        await seat.sees("sending,")
        await seat.press("escape")
        await types(seat, "staging")
        await seat.sees("drain, sent as")
        await seat.press("escape")
        await seat.sees("pointsman dev   RW   ● live")
        assert seat.app.return_value is None
        await types(seat, "staging")
        await seat.sees("drain, sent as")
        await seat.press("y")
        going = await gone_to(seat)
    await nothing_is_sent_to(going)
    assert len(before.writes) == 1


async def nothing_is_sent_to(going: Options) -> None:
    """Whatever is pressed there that does not begin an act."""
    there = Services(World(servers=12))
    await there.fill()
    async with showing(going, there.world, bus=there) as seat:  # type: ignore[arg-type]
        await seat.sees("[2 Servers 12]")
        await seat.press("y", "enter", "escape")
        await seat.pilot.pause(0.2)
        assert there.writes == []
        assert seat.app.acts.cases == []


async def test_an_act_is_done_where_one_is_and_its_dialog_names_it() -> None:
    async with seated(name="dev", systems=contexts) as (seat, before):
        await at_server(seat, "srv-0003")
        await types(seat, "staging")
        going = await gone_to(seat)
    there = Services(World(servers=12))
    await there.fill()
    async with showing(going, there.world, bus=there) as seat:  # type: ignore[arg-type]
        await at_server(seat, "srv-0005")
        assert " on staging " in await asked(seat, "d")
        await seat.press("y")
        await told(seat, "srv-0005 drains")
    assert [write.asked.ids for write in there.writes] == [("srv-0005",)]
    assert before.writes == []
