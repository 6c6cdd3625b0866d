"""What the doctor says of terminals and clocks."""

import io

import msgspec

from pointsman.cli import services, terminal
from pointsman.cli.finding_of import Finding, skew
from pointsman.cli.findings import tables
from pointsman.cli.gateway import readiness
from pointsman.client.bus import Message
from pointsman.services.history import migrations
from pointsman.services.version import VERSION
from tests.support.fake_bus import FakeBroker


def test_a_clock_is_judged_by_what_can_be_known() -> None:
    assert skew("x", theirs_s=10.0, asked_s=10.5, answered_s=11.5, exact_s=1.0).text.startswith(
        "clock of x is 0.0 s off"
    )
    assert not skew("x", theirs_s=20.0, asked_s=10.0, answered_s=11.0).is_fine
    assert not skew("x", theirs_s=5.0, asked_s=10.0, answered_s=11.0).is_fine


def test_colours_are_what_the_terminal_says() -> None:
    assert "NO_COLOR" in terminal.colors({"NO_COLOR": "1", "COLORTERM": "truecolor"})
    assert "dumb" in terminal.colors({"TERM": "dumb"})
    assert terminal.colors({"TERM": "xterm-256color"}) == "256 colours"
    assert terminal.colors({"COLORTERM": "truecolor", "TERM": "xterm"}) == "16 million colours"
    assert terminal.findings({}, io.StringIO()) == []


def test_a_gateway_that_lacks_something_says_what() -> None:
    lacking = readiness("u", 503, b'{"dependencies":{"bus":{"ok":true},"task":{"ok":false,"detail":"no answer"}}}')
    assert (lacking.is_fine, "task (no answer)" in lacking.text) == (False, True)
    assert "no gateway of Pointsman" in readiness("u", 200, b"<html>").text
    assert readiness("u", 200, b'{"status":"ready","dependencies":{}}').is_fine


async def test_why_nothing_is_archived_is_told() -> None:
    bus = FakeBroker(lambda: 0.0).connect("history")
    status = {"connected": False, "backlog": 7, "trouble": "disk full\nHINT: make room"}
    assert await services.archive(bus) == []

    async def answer(message: Message) -> None:
        await bus.publish(message.reply, msgspec.json.encode(status))

    await bus.subscribe(services.ARCHIVE, answer)
    assert await services.archive(bus) == [Finding(False, "nothing is archived, 7 records wait: disk full")]
    status["trouble"] = None
    assert await services.archive(bus) == [Finding(True, "history archives, 7 records wait")]


def test_tables_that_services_cannot_work_with_are_told_with_the_way_out() -> None:
    newest = migrations.newest()
    assert tables(newest).is_fine
    for revision, told in (
        (None, "pointsman migrate"),
        ("0001", f"0001, not {newest}"),
        ("9999", "newer than this version"),
    ):
        finding = tables(revision)
        assert (finding.is_fine, told in finding.text) == (False, True)


def test_services_that_do_not_answer_are_named() -> None:
    heard = {name: {VERSION} for name in services.NEEDED}
    assert all(finding.is_fine for finding in services.versions(heard))
    del heard["statistics"]
    assert [one.text for one in services.versions(heard) if not one.is_fine] == ["no answer from: statistics"]
