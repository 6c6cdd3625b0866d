"""Acts on tasks and pools from the cockpit: one, marked ones, all that match; forms; undo."""

import msgspec
import pytest
from textual.widgets import Button, Input, Label

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.errors import FieldError, PointsmanError, invalid
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.limits import PoolSettings
from pointsman.tui.acts import Act, Thing, Verb
from pointsman.tui.dialogs.confirm import ConfirmDialog
from pointsman.tui.dialogs.form import FormDialog
from pointsman.tui.dialogs.note import NoteDialog
from pointsman.tui.dialogs.register import RegisterDialog
from pointsman.tui.dialogs.submit import SubmitDialog
from pointsman.tui.widgets.livetable import LiveTable
from tests.support.cockpit_acts import at_server, dialog, seated, settled, told
from tests.support.cockpit_services import Services, a_task
from tests.support.cockpits import Seat

PLANNED = "same from the shell"


def tasks(services: Services, count: int, status: Status = Status.PENDING) -> tuple[Thing, ...]:
    for number in range(count):
        task = a_task(f"task_{number:032x}", status=status)
        services.tasks[task.id] = task
    return tuple(Thing(name, 1) for name in services.tasks)


async def planned(seat: Seat) -> str:
    """The dialog as one line."""
    return flat(await seat.sees(lambda text: PLANNED in text and "asking for the plan" not in text))


def flat(text: str) -> str:
    return " ".join(text.replace("│", " ").replace("┃", " ").split())


async def test_one_task_is_cancelled_in_the_generation_that_was_seen() -> None:
    async with seated() as (seat, services):
        seat.app.begin(Act(verb=Verb.CANCEL, things=tasks(services, 1)))
        assert "resize-image, PENDING" in await planned(seat)
        await seat.press("y")
        await settled(seat, services)
        assert (services.writes[0].verb, services.writes[0].asked.generation) == ("task.cancel", 1)


async def test_what_somebody_else_retried_meanwhile_is_not_cancelled() -> None:
    async with seated() as (seat, services):
        (thing,) = tasks(services, 1)
        services.tasks[thing.id] = msgspec.structs.replace(services.tasks[thing.id], generation=2)
        seat.app.begin(Act(verb=Verb.CANCEL, things=(thing,)))
        assert "retried by somebody meanwhile" in await planned(seat)
        await seat.press("y")
        assert services.writes == []


async def test_marked_tasks_are_a_job_whose_progress_is_shown_and_which_goes_on_when_left() -> None:
    async with seated() as (seat, services):
        seat.app.begin(Act(verb=Verb.CANCEL, things=tasks(services, 3)))
        await planned(seat)
        await seat.press("y")
        await seat.sees("cancel of 3 tasks has begun")
        (write,) = services.writes
        assert [one.id for one in write.asked.bulk.tasks] == list(services.tasks)
        (job_id,) = services.jobs
        services.jobs[job_id] = msgspec.structs.replace(services.jobs[job_id], done=1, skipped=1, skips=("x: gone",))
        text = await seat.sees("1/3 cancel, 1 skipped")
        assert "x: gone" in text
        await seat.press("enter")
        assert not isinstance(seat.app.screen, ConfirmDialog)
        assert seat.app.acts.running
        await seat.press("q")
        await seat.sees("It goes on in the cluster")
        await seat.press("enter")
        await seat.sees(lambda text: "It goes on in the cluster" not in text)
        services.jobs[job_id] = msgspec.structs.replace(services.jobs[job_id], done=3, status="DONE")
        await told(seat, "3/3 cancel, 1 skipped")
        assert len(services.writes) == 1


async def test_all_that_match_are_counted_and_the_count_is_typed() -> None:
    async with seated() as (seat, services):
        seat.app.begin(Act(verb=Verb.RETRY, matching="state:failed"))
        assert "9,870 tasks match: state:failed" in await planned(seat)
        dialog(seat).query_one("#typed", Input).focus()
        await seat.press(*"987", "enter")
        assert services.writes == []
        await seat.press("0", "enter", "enter")
        await seat.sees("retry of 9,870 tasks has begun")
        assert services.writes[0].asked.bulk.filter == {"q": "state:failed"}


async def test_a_count_that_grew_since_it_was_typed_has_to_be_typed_anew() -> None:
    async with seated() as (seat, services):
        seat.app.begin(Act(verb=Verb.RETRY, matching="state:failed"))
        await planned(seat)
        dialog(seat).query_one("#typed", Input).focus()
        await seat.press(*"9870")
        services.matching = 9_871
        await seat.sees("9,871 tasks match")
        await seat.press("enter", "enter")
        assert services.writes == []


async def test_a_switch_shows_what_it_would_do_and_is_taken_back_for_a_minute() -> None:
    async with seated() as (seat, services):
        seat.app.begin(Act(verb=Verb.SWITCH, things=(Thing("default", 41),), algorithm="round-robin"))
        text = await planned(seat)
        assert "pool default: response-time" in text
        assert "srv-0001: 60.0 % -> 50.0 %" in text
        assert "pointsman balancer switch round-robin --pool default --if-match=41" in text
        await seat.press("y")
        await settled(seat, services)
        assert services.pool.algorithm is Algorithm.ROUND_ROBIN
        undoable = seat.app.acts.undoable
        assert undoable is not None
        seat.app.begin(Act(verb=Verb.UNDO, things=(Thing(undoable.pool, undoable.revision),)))
        await settled(seat, services, 2)
        assert services.pool.algorithm is Algorithm.RESPONSE_TIME


async def test_the_algorithm_under_the_cursor_is_switched_to_and_u_takes_that_back() -> None:
    async with seated() as (seat, services):
        await seat.press("6")
        await seat.sees("[6 Balancer")
        await seat.press("u")
        await told(seat, "nothing to undo")
        seat.app.screen.query_one("#algorithms", LiveTable).focus()
        await seat.press("home", "enter")
        assert "response-time" in await planned(seat)
        assert services.writes == []
        await seat.press("y")
        await settled(seat, services)
        assert services.pool.algorithm is Algorithm.ROUND_ROBIN
        await seat.press("u")
        await settled(seat, services, 2)
        assert services.pool.algorithm is Algorithm.RESPONSE_TIME


async def test_a_paused_list_goes_on_before_anything_is_done() -> None:
    async with seated() as (seat, services):
        await seat.press("3")
        await seat.sees("[3 Tasks")
        await seat.press("home", "p")
        for key in ("c", "r", "a"):
            await seat.press("p" if not seat.app.screen.ring.is_paused else "shift", key)  # type: ignore[attr-defined]
            assert not isinstance(seat.app.screen, ConfirmDialog)
            assert not seat.app.screen.ring.is_paused  # type: ignore[attr-defined]
        assert services.writes == []


async def test_a_switch_of_a_pool_that_somebody_changed_is_refused_with_their_name() -> None:
    async with seated() as (seat, services):
        seat.app.begin(Act(verb=Verb.SWITCH, things=(Thing("default", 41),), algorithm="p2c"))
        await planned(seat)
        services.set_pool(PoolSettings(algorithm=Algorithm.FIRST), "li@ops")
        await seat.sees(lambda text: "changed since the plan" in text or "conflict" in text)
        await seat.press("y")
        assert services.writes == []


async def form(seat: Seat, dialog: FormDialog[object]) -> None:  # type: ignore[type-var]
    seat.app.push_screen(dialog)
    await seat.sees("Go on")


async def fill(seat: Seat, **values: str) -> None:
    for name, value in values.items():
        seat.app.screen.query_one(f"#field-{name}", Input).value = value
    await seat.pilot.pause()


def mistake(seat: Seat, name: str) -> str:
    label = seat.app.screen.query_one(f"#mistake-{name}", Label)
    return str(label.render()) if label.display else ""


def may_go_on(seat: Seat) -> bool:
    return not seat.app.screen.query_one("#go", Button).disabled


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"type": "Resize"}, "type", "matching regex"),
        ({"type": "a", "payload": "{"}, "payload", "truncated"),
        ({"type": "a", "payload": "[1]"}, "payload", "must be an object"),
        ({"type": "a", "priority": "11"}, "priority", "<= 10"),
        ({"type": "a", "priority": "x"}, "priority", "a whole number"),
        ({"type": "a", "labels": "x"}, "labels", "name=value"),
        ({"type": "a", "maxAttempts": "0"}, "maxAttempts", ">= 1"),
    ],
)
async def test_a_mistake_stands_under_its_field_while_it_is_typed(
    values: dict[str, str], field: str, message: str
) -> None:
    async with seated() as (seat, _):
        await form(seat, SubmitDialog())  # type: ignore[arg-type]
        await fill(seat, **values)
        assert message in mistake(seat, field)
        assert not may_go_on(seat)


async def test_enter_leads_through_the_fields_to_the_question_and_throws_nothing_away() -> None:
    async with seated() as (seat, services):
        await form(seat, SubmitDialog())  # type: ignore[arg-type]
        last = seat.app.screen.query(Input).last()
        last.focus()
        await seat.press("enter", "enter")
        assert seat.app.focused is last
        await fill(seat, type="resize")
        await seat.press("enter", "enter")
        await planned(seat)
        assert services.writes == []


async def test_a_payload_goes_out_exactly_as_it_was_typed() -> None:
    payload = '{"b": 12345678901234567890.10, "a": "ä", "a2" : [ 1 ]}'
    async with seated() as (seat, services):
        await form(seat, SubmitDialog())  # type: ignore[arg-type]
        await fill(seat, type="resize", payload=payload, priority="3", labels="team=a")
        assert may_go_on(seat)
        seat.app.screen.query_one("#go", Button).press()
        await planned(seat)
        assert services.writes == []
        await seat.press("y")
        await settled(seat, services)
        asked = services.writes[0].asked
        assert (asked.type, bytes(asked.payload).decode(), asked.priority) == ("resize", payload, 3)
        await told(seat, "is accepted")
        await seat.sees(lambda text: "Submit a task" not in text)


async def test_a_task_that_is_submitted_again_keeps_labels_as_they_are_and_says_what_is_not_taken_over() -> None:
    labels = {"note": "slow, k=v", "team": "a b"}
    async with seated() as (seat, services):
        await form(seat, SubmitDialog(msgspec.structs.replace(a_task("task_1"), labels=labels)))  # type: ignore[arg-type]
        await seat.sees("not taken over: callbackUrl")
        await fill(seat, payload='{"width": 640}')
        seat.app.screen.query_one("#go", Button).press()
        await planned(seat)
        await seat.press("y")
        await settled(seat, services)
        asked = services.writes[0].asked
        assert (asked.labels, bytes(asked.payload)) == (labels, b'{"width": 640}')


async def test_labels_that_are_typed_may_have_blanks() -> None:
    async with seated() as (seat, _):
        await form(seat, SubmitDialog())  # type: ignore[arg-type]
        await fill(seat, type="resize", labels="team = a b,env=prod")
        assert may_go_on(seat)
        request = seat.app.screen.request  # type: ignore[attr-defined]
        assert request.labels == {"team": "a b", "env": "prod"}


async def test_what_the_service_says_of_a_field_stands_under_it() -> None:
    async with seated() as (seat, services):
        await form(seat, SubmitDialog())  # type: ignore[arg-type]
        await fill(seat, type="resize", payload='{"url": 1}')
        seat.app.screen.query_one("#go", Button).press()
        await planned(seat)
        services.refusal = invalid("payload.url", "must be a string")
        await seat.press("y")
        await seat.sees("refused: payload.url: must be a string")
        await seat.press("escape")
        await seat.sees("Go on")
        assert "must be a string" in mistake(seat, "payload")


async def test_a_server_is_registered_and_its_credential_shown_once() -> None:
    async with seated() as (seat, services):
        await at_server(seat, "srv-0001")
        await seat.press("R")
        await seat.sees("Register a server")
        await fill(seat, id="gpu-1", url="http://10.0.0.9:9000", weight="1001")
        assert "<= 1000" in mistake(seat, "weight")
        await fill(seat, weight="20", groups="rack-3 eu", **{"async": "sync"})
        assert may_go_on(seat)
        seat.app.screen.query_one("#go", Button).press()
        assert "server register gpu-1 --at http://10.0.0.9:9000" in await planned(seat)
        await seat.press("y")
        text = await seat.sees("psk_")
        assert "whsec_" in text
        server = services.writes[0].asked.server
        assert (server.weight, server.groups, server.is_async) == (20, ("rack-3", "eu"), False)


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        *(
            ({"url": url}, "url", "HOST:PORT")
            for url in ("gpu-1", "ftp://a", "http://", "http://a b", "http://[::1", "http://a:99999", "http://a:0")
        ),
        *(({"url": f"http://{url}"}, "url", "no user") for url in ("me:hush@a", "a/?b=1", "a/#b")),
        ({"url": "http://a", "apiKey": "schlüssel"}, "apiKey", "printable ASCII"),
    ],
)
async def test_what_can_be_no_server_stands_under_its_field_before_anybody_is_asked(
    values: dict[str, str], field: str, message: str
) -> None:
    async with seated() as (seat, _):
        await form(seat, RegisterDialog())  # type: ignore[arg-type]
        await fill(seat, **values)
        assert message in mistake(seat, field)
        assert not may_go_on(seat)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.9", "https://gpu-1.rack:8443/v1/", "http://[2001:db8::1]:80", "HTTP://A"]
)
async def test_a_url_that_the_system_takes_is_taken(url: str) -> None:
    async with seated() as (seat, _):
        await form(seat, RegisterDialog())  # type: ignore[arg-type]
        await fill(seat, url=url)
        assert may_go_on(seat)


async def test_a_url_that_policy_forbids_is_told_under_the_url() -> None:
    async with seated() as (seat, services):
        await form(seat, RegisterDialog())  # type: ignore[arg-type]
        await fill(seat, id="gpu-1", url="http://192.168.0.1")
        seat.app.screen.query_one("#go", Button).press()
        await planned(seat)
        await seat.press("y")
        await seat.sees("refused: url")
        await seat.press("escape")
        await seat.sees("Go on")
        assert mistake(seat, "url") != ""
        assert services.desk.fleet.member("gpu-1") is None


async def test_an_alert_is_acknowledged_with_a_note() -> None:
    async with seated(servers=140) as (seat, services):
        await seat.sees("needs attention")
        await seat.press("tab")
        screen = seat.app.screen
        alerts = screen.query_one("#alerts")
        alerts.focus()
        await seat.press("A")
        if not isinstance(seat.app.screen, NoteDialog):
            await seat.press("down", "A")
        assert isinstance(seat.app.screen, NoteDialog)
        assert services.writes == []
        await seat.press(*"known", "enter")
        await settled(seat, services)
        assert (services.writes[0].verb, services.writes[0].asked["note"]) == ("statistics.acknowledge", "known")


def test_a_refusal_without_a_field_is_still_told() -> None:
    error = PointsmanError(400, "no", errors=(FieldError(field="somewhere", message="wrong"),))
    assert FormDialog.field_of(SubmitDialog(), error.errors[0].field) is None
