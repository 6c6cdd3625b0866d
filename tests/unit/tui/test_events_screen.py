"""What happened, once each whoever tells it, and the screen Events as someone who sits before it sees it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.errors import unavailable
from pointsman.contracts.frames import News
from pointsman.contracts.search import AuditEntry, AuditPage
from pointsman.tui.chronicle import Chronicle, Happening, command_of, matches, of_entry, of_news, terms_of
from tests.support.cockpit_answers import Answers
from tests.support.cockpit_world import STARTED_MS, World
from tests.support.cockpits import Seat, cockpit
from tests.unit.tui.test_cockpit import SIZES
from tests.unit.tui.test_ring import an_id
from tests.unit.tui.test_trace import a_task

DOWN = News(
    at=STARTED_MS, kind="server", subject="srv-0004", what="HEALTHY -> UNHEALTHY", why="no heartbeat", by="prober"
)
DRAIN = News(at=STARTED_MS - 9_000, kind="act", subject="srv-0005", what="maintenance", by="ana@ops", request_id="r1")


def an_entry(number: int = 0, **fields: Any) -> AuditEntry:
    known = {
        "id": f"a{number}",
        "at": STARTED_MS - 9_000 - number,
        "who": "ana@ops",
        "roles": ("operator",),
        "what": "registry.maintenance",
        "target": "srv-0005",
        "outcome": "done",
        "status": 200,
        "after": msgspec.Raw(b'{"id": "srv-0005", "maintenance": {"maintenance": true, "reason": "disks"}}'),
    }
    return AuditEntry(**(known | fields))


DENIED = an_entry(
    7, who="eve", what="balancer.algorithm", target="default", outcome="denied", status=403, detail="Admin role"
)


def a_page(*entries: AuditEntry, cursor: str | None = None) -> AuditPage:
    return AuditPage(entries=entries, cursor=cursor, as_of=STARTED_MS)


def told(seat: Seat, *news: News) -> None:
    seat.source.frame(seat.world.tell(news=news))


@pytest.fixture
async def answers() -> Answers:
    made = Answers()
    await made.on("history", "audit", lambda _: a_page(an_entry(), DENIED))
    await made.on("task", "get", lambda _: a_task())
    return made


def test_an_act_told_by_a_frame_and_by_the_trail_is_one_line() -> None:
    held = Chronicle()
    held.take([of_news(DRAIN), of_news(DOWN)])
    held.take([of_entry(an_entry()), of_entry(an_entry())])
    keys = held.matching("")
    assert [held.get(key).subject for key in keys] == ["srv-0004", "srv-0005"]  # type: ignore[union-attr]
    assert command_of(held.get(keys[1])) == "pointsman server maintenance srv-0005"  # type: ignore[arg-type]


def test_the_newest_stay_when_there_are_too_many() -> None:
    held = Chronicle(held_max=2)
    held.take(of_entry(an_entry(number)) for number in range(5))
    assert [held.get(key).at for key in held.matching("")] == [STARTED_MS - 9_000, STARTED_MS - 9_001]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True),
        ("disks", False),
        ("EVE", True),
        ("by:eve ok:no", True),
        ("ok:yes", False),
        ("-ok:yes kind:config", True),
        ("subject:def*", True),
        ("subject:efa*", False),
        ("what:algo !by:ana", True),
        ("nofield:x", False),
    ],
)
def test_a_filter_of_events(text: str, fits: bool) -> None:
    assert matches(of_entry(DENIED), terms_of(text)) is fits


@pytest.mark.parametrize(
    ("what", "target", "after", "command"),
    [
        ("task.cancel", an_id(), b"{}", f"pointsman task cancel {an_id()}"),
        ("registry.maintenance", "a", b'{"id":"a","maintenance":{"enabled":false}}', "pointsman server activate a"),
        ("registry.unregister", "a", b'{"id":"a"}', "pointsman server remove a"),
        (
            "balancer.algorithm",
            "gpu",
            b'{"algorithm":"p2c","pool":"gpu"}',
            "pointsman balancer switch p2c --pool gpu",
        ),
        ("balancer.algorithm", "gpu", b"null", None),
        ("registry.register", "a", b'{"server": 1}', None),
        ("history.bulk", "job_1", b"[1]", None),
    ],
)
def test_the_command_that_does_it_again(what: str, target: str, after: bytes, command: str | None) -> None:
    assert command_of(of_entry(an_entry(what=what, target=target, after=msgspec.Raw(after)))) == command


happenings = st.builds(
    Happening, st.integers(0, 5), st.just("act"), st.sampled_from("ab"), st.sampled_from("xy"), by=st.sampled_from("pq")
)


@given(st.lists(happenings), st.lists(happenings))
def test_the_order_in_which_it_is_told_does_not_matter(one: list[Happening], other: list[Happening]) -> None:
    first, second = Chronicle(), Chronicle()
    first.take([*one, *other])
    second.take(reversed([*one, *other]))
    assert first.matching("") == second.matching("")
    assert [first.get(key).at for key in first.matching("")] == sorted(  # type: ignore[union-attr]
        (first.get(key).at for key in first.matching("")),  # type: ignore[union-attr]
        reverse=True,
    )


async def test_news_come_on_top_of_the_audit_trail(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("4")
        await seat.sees("ana@ops")
        told(seat, DOWN)
        text = await seat.sees("HEALTHY -> UNHEALTHY")
        lines = [line for line in text.splitlines() if "srv-000" in line or "eve" in line]
        assert "srv-0004" in lines[0]
        assert "no heartbeat" in lines[0]
        assert "refused (403): Admin role" in lines[2]


async def test_enter_opens_what_it_is_about(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("4")
        told(seat, DOWN)
        await seat.sees("no heartbeat")
        await seat.press("enter")
        await seat.sees("[2 Servers")
        assert seat.app.screen.table.cursor == "srv-0004"  # type: ignore[attr-defined]
        await seat.press("4")
        told(seat, News(at=STARTED_MS + 1, kind="act", subject=a_task().id, what="cancel", by="ana"))
        await seat.sees("cancel")
        await seat.press("g", "enter")
        await seat.sees("✓ DONE   try 3 of 5")


async def test_a_filter_narrows_and_escape_clears_it(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("4")
        await seat.sees("2 of 2 shown")
        await seat.press("slash", *"ok:no", "enter")
        text = await seat.sees("1 of 2 shown")
        assert "eve" in text
        await seat.press("escape")
        await seat.sees("2 of 2 shown")


async def test_the_last_row_brings_older_ones(answers: Answers) -> None:
    pages = {None: a_page(an_entry(), an_entry(1), cursor="more"), "more": a_page(an_entry(2, target="srv-0099"))}
    await answers.on("history", "audit", lambda asked: pages[asked["cursor"]])
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("4")
        await seat.sees("L for older")
        await seat.press("G")
        await seat.sees("srv-0099")
        await seat.sees("all of the audit trail")


async def test_a_trail_that_is_away_does_not_hide_the_news(answers: Answers) -> None:
    def away(_: Any) -> Any:
        raise unavailable("the audit trail (Postgres) is not reachable")

    await answers.on("history", "audit", away)
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("4")
        told(seat, DOWN)
        await seat.sees("no heartbeat")
        await seat.sees("audit trail: the audit trail (Postgres) is not reachable (since")


async def test_the_screen_fits_every_size(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("4")
        told(seat, DOWN)
        for width, height in SIZES:
            await seat.pilot.resize_terminal(width, height)
            wanted = "needs 60x16"[:width] if width < 60 or height < 16 else "srv-0004"
            await seat.sees(lambda text: wanted in text and max(map(len, text.splitlines())) <= width)  # noqa: B023
