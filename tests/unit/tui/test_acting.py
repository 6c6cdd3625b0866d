"""Acts as someone before the cockpit does them: what is asked, what is sent, and what never is."""

import asyncio
from random import Random
from typing import Any

import pytest
from textual.widgets import Button, Input

from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.server import Wanted
from pointsman.tui.dialogs.confirm import ConfirmDialog
from pointsman.tui.screens.servers import ServersScreen
from pointsman.tui.told import Lost
from tests.support.cockpit_acts import asked, at_server, dialog, seated, settled, told

KEYS = [
    *"abcdefghijklmnoprstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    *("enter", "escape", "space", "tab", "delete", "backspace", "plus", "minus", "asterisk", "backslash", "slash"),
    *("colon", "question_mark", "exclamation_mark", "comma", "full_stop", "at", "up", "down", "home", "end"),
    *("left_square_bracket", "right_square_bracket", "left_parenthesis", "right_parenthesis", "f1", "ctrl+p"),
]


async def test_a_server_is_drained_after_the_plan_was_shown_and_said_yes_to() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        text = await asked(seat, "d")
        assert "drain srv-0003" in text
        assert "slots ->" in text
        assert "same from the shell: pointsman server drain srv-0003" in text
        assert services.writes == []
        await seat.press("y")
        await settled(seat, services)
        (write,) = services.writes
        assert (write.verb, write.asked.ids, write.by) == ("registry.maintain-many", ("srv-0003",), "local:operator")
        assert len(write.operation) == 16
        assert services.desk.admin("srv-0003").wanted is Wanted.DRAINING
        await told(seat, "srv-0003 drains")
        assert not isinstance(seat.app.screen, ConfirmDialog)


@pytest.mark.parametrize("key", ["d", "m", "plus", "delete"])
async def test_enter_in_a_fresh_dialog_carries_out_nothing(key: str) -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, key)
        focused = dialog(seat).focused
        assert focused is not None
        assert focused.id == "no"
        await seat.press("enter")
        await seat.pilot.pause(0.1)
        assert services.writes == []
        assert not isinstance(seat.app.screen, ConfirmDialog)


@pytest.mark.parametrize("key", ["d", "plus"])
async def test_the_button_that_has_the_focus_is_what_enter_does(key: str) -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, key)
        await seat.press("tab")
        focused = dialog(seat).focused
        assert isinstance(focused, Button)
        assert focused.id == "yes"
        await seat.press("enter")
        await settled(seat, services)
        assert len(services.writes) == 1


async def test_unregistering_waits_for_the_name_to_be_typed() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "delete")
        assert dialog(seat).query_one("#yes", Button).disabled
        await seat.press("y")
        dialog(seat).query_one("#typed", Input).focus()
        await seat.press(*"srv-000", "enter")
        assert dialog(seat).query_one("#yes", Button).disabled
        assert services.writes == []
        await seat.press("3", "enter")
        focused = dialog(seat).focused
        assert focused is not None
        assert focused.id == "yes"
        assert services.writes == []
        await seat.press("enter")
        await settled(seat, services)
        assert services.desk.admin("srv-0003").remove


async def test_more_than_five_servers_are_counted_by_hand() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0001")
        await seat.press("home", *("space",) * 6)
        await seat.sees("marked 6")
        await asked(seat, "d")
        assert dialog(seat).query_one("#yes", Button).disabled
        dialog(seat).query_one("#typed", Input).focus()
        await seat.press("6", "enter", "enter")
        await settled(seat, services)
        assert len(services.writes[0].asked.ids) == 6


async def test_in_a_protected_context_even_a_drain_is_typed() -> None:
    async with seated(protected=True) as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        assert dialog(seat).query_one("#typed", Input).display
        await seat.press("y", "enter")
        assert services.writes == []


async def test_what_changed_while_the_dialog_is_open_has_to_be_looked_at_again() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        await services.desk.orders.take_out("srv-0003", "bob", reason="disk", drain_timeout_ms=0)
        text = await seat.sees("changed since the plan")
        assert "by bob" in " ".join(text.split("│"))
        await seat.press("y")
        assert services.writes == []
        assert str(dialog(seat).query_one("#yes", Button).label) == "Review again"
        await seat.press("r")
        text = await seat.sees("nothing would be done")
        assert "it is maintenance" in text


async def test_a_conflict_at_the_write_stays_and_says_who_changed_what() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        services.held = asyncio.Event()
        await seat.press("y")
        await seat.sees("sending, 0 s; safe to leave")
        await services.desk.orders.take_out("srv-0003", "bob", drain_timeout_ms=0)
        services.held.set()
        text = await seat.sees("conflict, nothing was done")
        assert "has revision" in text
        assert "by bob at" in text
        assert services.desk.admin("srv-0003").wanted is Wanted.MAINTENANCE
        await seat.press("enter")
        assert not isinstance(seat.app.screen, ConfirmDialog)


async def test_what_is_pending_may_be_left_and_ends_by_itself() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        services.held = asyncio.Event()
        await seat.press("y")
        await seat.sees("safe to leave")
        await seat.press("escape")
        assert not isinstance(seat.app.screen, ConfirmDialog)
        services.held.set()
        await settled(seat, services)
        await told(seat, "srv-0003 drains")


async def test_an_answer_that_was_lost_is_asked_for_under_the_same_name_and_nothing_is_done_twice() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        services.answers_lost = 2
        await seat.press("y")
        await settled(seat, services, 3)
        assert len({write.operation for write in services.writes}) == 1
        await told(seat, "srv-0003 drains")
        assert services.desk.admin("srv-0003").by == "local:operator"


async def test_a_refusal_stays_and_tells_why() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        services.refusal = PointsmanError(403, "Operator role required")
        await seat.press("y")
        await seat.sees("refused: Operator role required")


async def test_a_drained_server_comes_back_at_once_and_one_that_is_active_is_left_alone() -> None:
    async with seated(servers=20) as (seat, services):
        await at_server(seat, "srv-0018")
        await seat.press("u")
        await settled(seat, services)
        assert services.desk.admin("srv-0018").wanted is Wanted.ACTIVE
        await at_server(seat, "srv-0003")
        await seat.press("u")
        await told(seat, "srv-0003: nothing to do")
        assert len(services.writes) == 1


async def test_a_weight_goes_up_by_ten() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        text = await asked(seat, "plus")
        assert "weight 100 -> 110" in text
        await seat.press("y")
        await settled(seat, services)
        assert services.writes[0].asked.change.weight == 110
        assert services.writes[0].asked.if_match is not None


@pytest.mark.parametrize("options", [{"read_only": True}, {}], ids=["read-only", "disconnected"])
async def test_where_nothing_may_be_written_no_key_opens_a_dialog_and_all_say_why(options: dict[str, Any]) -> None:
    async with seated(**options) as (seat, services):
        await at_server(seat, "srv-0003")
        if not options:
            seat.source.say(Lost("gone", 1, 1.0))
        for key in ("d", "u", "m", "plus", "minus", "R", "delete"):
            await seat.press(key)
            await seat.pilot.pause()
            assert not isinstance(seat.app.screen, ConfirmDialog)
        await told(seat, "read-only" if options else "the link is")
        assert services.writes == []


async def test_a_link_that_breaks_while_the_dialog_is_open_takes_the_button_away() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        seat.source.say(Lost("gone", 1, 1.0))
        await seat.press("y")
        await seat.sees("not now: the link is disconnected")
        assert services.writes == []


@pytest.mark.parametrize("place", "123456")
async def test_no_single_key_on_any_screen_writes_anything(place: str) -> None:
    """`u` brings back a server that is out, which takes nothing away; here none is."""
    async with seated() as (seat, services):
        await seat.press(place)
        home = seat.app.screen
        for key in KEYS:
            await seat.press(key)
            while len(seat.app.screen_stack) > 1:
                await seat.app.pop_screen()
            if seat.app.screen is not home or seat.app.replaying.place is not None:
                seat.app.replaying.leave()
                await seat.app.action_go(list(seat.app.MODES)[int(place) - 1])
        assert services.writes == []


RUNS = 60


async def test_acts_on_a_list_that_is_sorted_anew_all_the_time_never_hit_another_server() -> None:
    random = Random(7)
    async with seated(servers=30) as (seat, services):
        await at_server(seat, "srv-0001")
        screen = seat.app.screen
        assert isinstance(screen, ServersScreen)
        names, hits = list(services.world.rows), 0

        def shuffle() -> None:
            random.shuffle(names)
            screen.table.show(list(names), lambda _: random.random(), lambda name: (name,))

        for run in range(RUNS):
            wanted = random.choice(names)
            shuffle()
            screen.table.go_to(wanted)
            await seat.app.run_action(random.choice(("drain", "maintenance", "heavier", "lighter")), screen)
            shuffle()
            case = seat.app.acts.cases[-1]
            while case.underway.plan is None:
                await asyncio.sleep(0.005)
                shuffle()
            case.underway = case.underway.with_typed(case.underway.phrase)
            before = len(services.writes)
            if seat.app.acts.confirm(case):
                while case.is_running:
                    await asyncio.sleep(0.005)
                    shuffle()
                hits += 1
                asked = services.writes[-1].asked
                assert (asked.ids if hasattr(asked, "ids") else (asked.id,)) == (wanted,), run
                assert len(services.writes) == before + 1
            seat.app.acts.leave(case)
            while len(seat.app.screen_stack) > 1:
                await asyncio.sleep(0.005)
            services.told()
            seat.source.frame(services.world.tell(wanted))
        assert hits > RUNS // 4
