"""Hours and days, shares and limits: the screens Stats and Balancer as someone who sits before them sees them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.balancer import Alert, Algorithm, ClassStatus, GateStatus
from pointsman.contracts.errors import unavailable
from pointsman.contracts.frames import PoolRow
from pointsman.contracts.statistics import (
    DayBefore,
    HourlyStatistics,
    HourStatistics,
    LoadBalancerStatistics,
    TaskStatistics,
)
from pointsman.tui import periods
from pointsman.tui.dialogs.confirm import ConfirmDialog
from pointsman.tui.periods import HOUR_MS, Period
from pointsman.tui.sharing import WORDS, evenness_of, furthest_first, in_use_text
from tests.support.cockpit_acts import seated
from tests.support.cockpit_answers import Answers
from tests.support.cockpit_world import STARTED_MS, World
from tests.support.cockpits import Seat, cockpit
from tests.unit.tui.test_cockpit import SIZES

TODAY, YESTERDAY = "2025-11-29", "2025-11-28"
HOUR_NOW = 14
LOADED = LoadBalancerStatistics(
    algorithm="p2c",
    pools={},
    server_distribution={},
    total_active_tasks=1,
    average_load=0.2,
    pending=3,
    leader="balancer-1",
    as_of=STARTED_MS,
    last_dispatch=STARTED_MS - 100,
    classes=(ClassStatus(pool="default", capabilities=("gpu",), pending=412, servers=0, free=0),),
    gates=(GateStatus(scope="type", name="render", running=12, max_concurrent=12),),
    alerts=(Alert(kind="no-server", pool="default", detail="no server can take 412 tasks that need gpu"),),
)


def before(done: int) -> DayBefore:
    return DayBefore(
        from_ms=0, to_ms=0, created=done, completed=done, successful=done, failed=0, cancelled=0, retried=0
    )


def an_hour(hour: int, *, done: int, was: int | None = None, failed: int = 0) -> HourStatistics:
    return HourStatistics(
        hour=hour,
        period=f"{hour:02}:00",
        created=done + failed,
        completed=done + failed,
        successful=done,
        failed=failed,
        tasks=done,
        average_time=50.0,
        p50=40.0,
        p95=140.0,
        p99=300.0,
        wait_p50=180.0,
        wait_p95=700.0,
        retried=3,
        vs=None if was is None else before(was),
    )


def a_day(date: str, done: int = 1_000, *, stale: bool = False) -> HourlyStatistics:
    hours = tuple(
        an_hour(hour, done=done + hour, was=None if date == TODAY and hour > HOUR_NOW else 2 * done, failed=10)
        for hour in range(24)
    )
    return HourlyStatistics(date=date, hourly_breakdown=hours, as_of=STARTED_MS, stale=stale)


def totals(done: int) -> TaskStatistics:
    return TaskStatistics(
        total_tasks=done,
        pending_tasks=0,
        processing_tasks=0,
        successful_tasks=done,
        failed_tasks=2,
        retried_tasks=0,
        cancelled_tasks=0,
        timeout_tasks=1,
        average_processing_time=None,
        p50=None,
        p95=None,
        p99=None,
        wait_p50=None,
        wait_p95=None,
        wait_p99=None,
        server_count=0,
        top_servers=(),
        hourly_trend=(),
        as_of=STARTED_MS,
        vs=before(done * 2),
    )


@pytest.fixture
async def answers() -> Answers:
    made = Answers()
    await made.on("statistics", "hourly", lambda asked: a_day(asked["date"]))
    await made.on("statistics", "tasks", lambda asked: totals(int(asked["date"][-2:]) * 1_000))
    await made.on("statistics", "load-balancer", lambda _: LOADED)
    return made


def test_the_running_hour_is_compared_with_the_same_part_of_the_day_before() -> None:
    rows = periods.hours_of(a_day(TODAY), STARTED_MS)
    assert len(rows) == HOUR_NOW + 1
    assert [row.is_running for row in rows[:2]] == [True, False]
    assert rows[0].change == pytest.approx(1_014 / 2_000 - 1)
    assert rows[0].fail_part == pytest.approx(10 / 1_024)


def test_nothing_to_compare_with_is_not_zero() -> None:
    row = periods.hours_of(a_day(TODAY), STARTED_MS)[0]
    empty = msgspec.convert({**_fields(row), "done": 0, "failed": 0, "before": None, "wait_p50": None}, Period)
    shown = periods.cells(empty, "14:00")
    assert (shown[4], shown[6], shown[10]) == ("--", "--", "--")


def _fields(row: Period) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Period.__dataclass_fields__}


def test_a_chart_leaves_out_hours_that_nobody_told_of() -> None:
    rows = periods.hours_of(a_day(TODAY), STARTED_MS)
    values = periods.chart_of([rows[0], rows[2]], 4, 8, HOUR_MS, STARTED_MS)
    assert values == [None, None, 1_012.0, 1_012.0, None, None, 1_014.0, 1_014.0]


def test_what_is_exported_can_be_read_again() -> None:
    rows = periods.hours_of(a_day(TODAY), STARTED_MS)
    from_json = json.loads(periods.as_json(rows))
    from_csv = list(csv.DictReader(io.StringIO(periods.as_csv(rows))))
    assert [row["time"] for row in from_csv] == [row["time"] for row in from_json]
    assert from_json[0]["time"] == "2025-11-29T14:00:00Z"
    assert (from_json[0]["done"], from_csv[0]["done"]) == (1_014, "1014")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_evenness_stays_in_its_bounds_whoever_got_what(shares: list[float]) -> None:
    even = evenness_of(shares)
    if even.gini is None or even.max_to_mean is None:
        assert sum(shares) < 1e-9
    else:
        assert -1e-9 <= even.gini <= 1 - 1 / len(shares) + 1e-9
        assert 1 - 1e-9 <= even.max_to_mean <= len(shares) + 1e-9


def test_equal_shares_are_even_and_one_that_gets_all_is_not() -> None:
    assert evenness_of([0.25] * 4).gini == pytest.approx(0)
    assert evenness_of([0, 0, 0, 1.0]).gini == pytest.approx(0.75)
    assert evenness_of([0, 0, 0, 1.0]).max_to_mean == pytest.approx(4)


def test_who_is_furthest_from_fair_stands_first() -> None:
    world = World(servers=6)
    for name, share in (("srv-0003", 0.01), ("srv-0005", 0.40)):
        world.pulses[name] = msgspec.structs.replace(world.pulses[name], share=share, fair=0.17)
    world.pulses["srv-0001"] = msgspec.structs.replace(world.pulses["srv-0001"], share=None)
    from pointsman.tui.model import Model

    model = Model()
    model.fold(world.whole())
    order = furthest_first(model, "default")
    assert order[:2] == ["srv-0005", "srv-0003"]
    assert order[-1] == "srv-0001"


def test_the_algorithm_in_use_says_since_when_and_by_whom() -> None:
    pool = PoolRow(
        name="gpu",
        algorithm="p2c",
        servers=1,
        eligible=1,
        pending=0,
        running=0,
        slots=1,
        revision=41,
        changed_at=STARTED_MS,
        changed_by="li@ops",
    )
    assert in_use_text(pool, periods.UTC) == "p2c since 14:37:19 by li@ops, rev 41"
    assert in_use_text(None, periods.UTC) == "algorithm --"
    assert set(WORDS) == set(Algorithm)


async def test_hours_come_with_the_day_before_and_are_asked_for_once(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("5")
        text = await seat.sees("11-28 23:00")
        row = next(line for line in text.splitlines() if "14:00  now" in line)
        assert all(part in row for part in ("1,024", "1,014", "0.98", "700 ms", "-49.3 %"))
        assert "as of 14:37:19" in text
        await seat.press("r")
        await seat.sees(lambda _: len(answers.requests("statistics", "hourly")) == 4)
        assert [asked["date"] for asked in answers.requests("statistics", "hourly")][-1] == TODAY


async def test_days_are_shown_on_demand(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("5", "D")
        text = await seat.sees("29,000")
        assert "2025-11-29 now" in text
        assert "done per day" in text
        await seat.press("h")
        await seat.sees("14:00  now")


async def test_a_stale_report_says_so(answers: Answers) -> None:
    await answers.on("statistics", "hourly", lambda asked: a_day(asked["date"], stale=True))
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("5")
        await seat.sees("STALE: the archive is away")


async def test_statistics_that_do_not_answer_are_told_and_nothing_is_zero(answers: Answers) -> None:
    def away(_: Any) -> Any:
        raise unavailable("the statistics database is not reachable")

    await answers.on("statistics", "hourly", away)
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("5")
        text = await seat.sees("today: the statistics database is not reachable (since")
        assert not [line for line in text.splitlines()[2:] if " 0 " in line and "since" not in line]


async def test_the_hours_are_exported_to_a_file(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("5")
        await seat.sees("11-28 23:00")
        await seat.press("x", "X")
        await seat.sees(lambda _: {path.suffix for path in tmp_path.iterdir()} == {".csv", ".json"})


async def test_the_balancer_tells_shares_limits_and_who_waits(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("6")
        text = await seat.sees("412 tasks")
        assert "furthest from fair first" in text
        assert "12/12 at once  type render" in text
        assert all(name[:20] in text for name in Algorithm)


async def test_a_server_opens_from_its_share(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("6")
        await seat.sees("srv-0003")
        await seat.press("f")
        chosen = _shares(seat).cursor
        await seat.press("enter")
        await seat.sees("[2 Servers")
        assert seat.app.screen.table.cursor == chosen  # type: ignore[attr-defined]


async def test_enter_on_another_algorithm_asks_first_and_says_what_would_change() -> None:
    async with seated() as (seat, services):
        await seat.press("6")
        await seat.sees("round-robin")
        await seat.press("j", "k", "enter")
        await seat.sees(lambda _: isinstance(seat.app.screen, ConfirmDialog))
        await seat.sees("pointsman balancer switch round-robin --pool default")
        await seat.press("enter")
        await seat.sees(lambda _: not isinstance(seat.app.screen, ConfirmDialog))
        assert services.writes == []


def _shares(seat: Seat) -> Any:
    return seat.app.screen.query_one("#shares")


@pytest.mark.parametrize(("place", "wanted"), [("5", "HOUR (UTC)"), ("6", "round-robin")])
async def test_the_screens_fit_every_size(answers: Answers, place: str, wanted: str) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press(place)
        for width, height in SIZES:
            await seat.pilot.resize_terminal(width, height)
            shown = "needs 60x16"[:width] if width < 60 or height < 16 else wanted
            await seat.sees(lambda text: shown in text and max(map(len, text.splitlines())) <= width)  # noqa: B023


async def test_ascii_screens_hold_nothing_else(answers: Answers) -> None:
    async with cockpit(World(servers=8), size=(80, 30), bus=answers.bus, ascii_only=True) as seat:
        for place, wanted in (
            ("3", "[all]"),
            ("4", "SUBJECT"),
            ("5", "HOUR (UTC)"),
            ("6", "12/12 at once  type render"),
        ):
            await seat.press(place)
            seat.source.frame()
            text = await seat.sees(wanted)
            assert text.isascii(), [line for line in text.splitlines() if not line.isascii()]
