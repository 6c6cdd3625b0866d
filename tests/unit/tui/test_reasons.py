"""Why an act is done: typed in its dialog, shown in its command, kept with it, and never a way to confirm it."""

import shlex

import pytest
from textual.widgets import Button, Input, Label

from pointsman.contracts.lifecycle import Status
from pointsman.contracts.task import REASON_LENGTH_MAX
from pointsman.tui.acts import Act, Thing, Verb
from pointsman.tui.commands import command_of
from pointsman.tui.dialogs.confirm import ConfirmDialog
from pointsman.tui.dialogs.telling import _rows
from pointsman.tui.widgets.lines import Lines
from tests.support.cockpit_acts import asked, at_server, dialog, seated, settled
from tests.support.cockpit_services import a_task


def flat(text: str) -> str:
    return " ".join(text.split())


async def test_a_reason_is_typed_shown_in_the_command_and_kept() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        focused = dialog(seat).focused
        assert focused is not None
        assert focused.id == "no"
        await seat.press("w", *"yYnrw")
        field = dialog(seat).query_one("#reason", Input)
        assert field.value == "yYnrw"
        field.value = "it's hot"
        said = dialog(seat).query_one("#lines", Lines)
        await seat.sees(lambda _: "--reason 'it'\"'\"'s hot'" in flat(said.shown_text))
        await seat.press("enter")
        focused = dialog(seat).focused
        assert focused is not None
        assert focused.id == "no"
        assert services.writes == []
        await seat.press("y")
        await settled(seat, services)
        assert services.writes[0].asked.reason == "it's hot"
        assert services.desk.admin("srv-0003").reason == "it's hot"


async def test_a_reason_is_no_name_typed_and_the_name_is_no_reason() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "delete")
        await seat.press("w", *"srv-0003", "enter", "y")
        assert dialog(seat).query_one("#yes", Button).disabled
        assert services.writes == []
        dialog(seat).query_one("#typed", Input).focus()
        await seat.press(*"srv-0003", "enter", "enter")
        await settled(seat, services)
        assert services.writes[0].asked.reason == "srv-0003"


async def test_what_the_api_would_refuse_is_refused_beside_the_field_and_what_terminals_obey_is_harmless() -> None:
    async with seated(size=(60, 16)) as (seat, services):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        field = dialog(seat).query_one("#reason", Input)
        field.value = "x" * (REASON_LENGTH_MAX + 1)
        await seat.pilot.pause()
        assert f"at most {REASON_LENGTH_MAX}" in str(dialog(seat).query_one("#mistake", Label).render())
        await seat.press("y")
        assert services.writes == []
        field.value = "\x1b[2J\n$(reboot) 重启\u202e\x00"
        await seat.pilot.pause()
        assert "No, go back" in seat.text
        await seat.press("y")
        await settled(seat, services)
        assert services.writes[0].asked.reason == "[2J $(reboot) 重启"


@pytest.mark.parametrize(("verb", "sent"), [(Verb.CANCEL, "task.cancel"), (Verb.RETRY, "history.bulk")])
async def test_tasks_are_cancelled_and_retried_with_a_reason(verb: Verb, sent: str) -> None:
    async with seated() as (seat, services):
        task = a_task("task_" + "1" * 32, status=Status.PENDING if verb is Verb.CANCEL else Status.FAILED)
        services.tasks[task.id] = task
        seat.app.begin(Act(verb=verb, things=(Thing(task.id, 1),)))
        await asked(seat)
        await seat.press("w", *"new", "enter", "y")
        for _ in range(200):
            if services.writes:
                break
            await seat.pilot.pause(0.02)
        (write,) = services.writes
        assert write.verb == sent
        assert (write.asked.reason if verb is Verb.CANCEL else write.asked.bulk.reason) == "new"
        assert shlex.split(command_of(Act(verb=verb, things=(Thing(task.id),), reason="new")))[-1] == "new"


async def test_the_table_is_seen_behind_a_dialog() -> None:
    async with seated() as (seat, _):
        await at_server(seat, "srv-0003")
        await asked(seat, "d")
        assert isinstance(seat.app.screen, ConfirmDialog)
        assert seat.app.screen.styles.background.a < 1
        text = seat.text
        assert "[2 Servers" in text
        assert "srv-0012" in text


def test_rows_are_as_wide_as_their_room_whatever_the_letters() -> None:
    assert list(_rows("重启重启重启 ab", 5)) == ["重启", "重启", "重启", "ab"]
    assert list(_rows("a bc def", 4)) == ["a bc", "def"]
