"""What a report covers, and that its parts add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.balancer import Algorithm, BalancerStatus, PoolStatus, ServerLoad
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.statistics import StatisticsQuery
from pointsman.contracts.task import DAY_MS
from pointsman.services.statistics import rules
from pointsman.services.statistics.spans import HOUR_MS, Range
from pointsman.services.statistics.tally import Counted, Ended, Served

NOW = 1_795_000_000_000
MIDNIGHT = NOW - NOW % DAY_MS


def test_without_a_date_the_report_is_of_today() -> None:
    assert rules.range_of(StatisticsQuery(), NOW) == Range(start=MIDNIGHT, end=MIDNIGHT + DAY_MS)


def test_a_date_is_a_day_in_utc() -> None:
    assert rules.day_range("1970-01-02", NOW) == Range(start=DAY_MS, end=2 * DAY_MS)


def test_a_range_may_be_as_long_as_ninety_days() -> None:
    span = rules.range_of(StatisticsQuery(from_ms=0, to_ms=90 * DAY_MS), NOW)
    assert span == Range(start=0, end=90 * DAY_MS)


def test_a_range_without_an_end_has_all_of_the_running_hour() -> None:
    span = rules.range_of(StatisticsQuery(from_ms=NOW - 5), NOW)
    assert (span.start, span.end % HOUR_MS) == (NOW - 5, 0)
    assert NOW < span.end <= NOW + HOUR_MS


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (StatisticsQuery(date="2026-02-30"), "date"),
        (StatisticsQuery(date="0000-01-01"), "date"),
        (StatisticsQuery(date="1969-12-31"), "date"),
        (StatisticsQuery(date="2026-02-03", from_ms=1), "date"),
        (StatisticsQuery(to_ms=1), "from"),
        (StatisticsQuery(from_ms=5, to_ms=5), "from"),
        (StatisticsQuery(from_ms=6, to_ms=5), "from"),
        (StatisticsQuery(from_ms=-1, to_ms=5), "from"),
        (StatisticsQuery(from_ms=0, to_ms=2**70), "to"),
        (StatisticsQuery(from_ms=0, to_ms=90 * DAY_MS + 1), "to"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused_by_name(query: StatisticsQuery, field: str) -> None:
    with pytest.raises(PointsmanError) as refusal:
        rules.range_of(query, NOW)
    assert refusal.value.status == 400
    assert refusal.value.errors[0].field == field


@pytest.mark.parametrize(
    ("window", "length"),
    [(None, HOUR_MS), ("90s", 90_000), ("15m", 900_000), ("2h", 2 * HOUR_MS), ("90d", 90 * DAY_MS)],
)
def test_a_window_ends_now(window: str | None, length: int) -> None:
    span = rules.window_range(window, NOW)
    assert (span.end, span.end - span.start) == (NOW + 1, length)


@pytest.mark.parametrize("window", ["0h", "1", "h", "-1h", "1y", "1h ", "91d", "9999999999d"])
def test_a_bad_window_is_refused(window: str) -> None:
    with pytest.raises(PointsmanError) as refusal:
        rules.window_range(window, NOW)
    assert refusal.value.errors[0].field == "window"


counts = st.integers(0, 1000)
endings = st.builds(Ended, successful=counts, failed=counts, timed_out=counts, cancelled=counts)


days = st.dictionaries(
    st.integers(-24, 23).map(lambda hour: MIDNIGHT + hour * HOUR_MS), st.builds(Counted, created=counts, ended=endings)
)


@given(days)
def test_a_day_has_24_hours_and_they_add_up(hours: dict[int, Counted]) -> None:
    day = Range(start=MIDNIGHT, end=MIDNIGHT + DAY_MS)
    report = rules.breakdown(day, hours, Counted(), NOW)
    today = [one for at, one in hours.items() if at >= MIDNIGHT]
    assert [hour.hour for hour in report] == list(range(24))
    assert sum(hour.created for hour in report) == sum(one.created for one in today)
    assert sum(hour.completed for hour in report) == sum(one.ended.total for one in today)
    assert sum(hour.successful for hour in report) == sum(one.ended.successful for one in today)
    assert all(hour.successful + hour.failed <= hour.completed for hour in report)


@given(days)
def test_an_hour_is_compared_with_24_hours_ago_and_the_running_one_with_as_much_of_it(
    hours: dict[int, Counted],
) -> None:
    part = Counted(created=12_345)
    report = rules.breakdown(Range(start=MIDNIGHT, end=MIDNIGHT + DAY_MS), hours, part, NOW)
    running = (NOW - MIDNIGHT) // HOUR_MS
    for hour, entry in enumerate(report[:running]):
        assert entry.vs is not None
        assert entry.vs.created == hours.get(MIDNIGHT + hour * HOUR_MS - DAY_MS, Counted()).created
        assert (entry.vs.from_ms, entry.vs.to_ms - entry.vs.from_ms) == (MIDNIGHT + (hour - 24) * HOUR_MS, HOUR_MS)
    compared = report[running].vs
    assert compared is not None
    assert (compared.created, compared.to_ms) == (12_345, (NOW // 60_000 + 1) * 60_000 - DAY_MS)
    assert [entry.vs for entry in report[running + 1 :]] == [None] * (23 - running)


def test_an_hour_without_tasks_has_zeros_and_nulls() -> None:
    hour = rules.breakdown(Range(start=MIDNIGHT, end=MIDNIGHT + DAY_MS), {}, Counted(), NOW)[23]
    assert (hour.period, hour.tasks, hour.completed, hour.average_time, hour.p99) == ("23:00-24:00", 0, 0, None, None)


@given(counts, counts)
def test_a_success_rate_is_a_percentage(successes: int, failures: int) -> None:
    rate = rules.success_rate(successes, successes + failures)
    assert 0 <= rate <= 100
    assert rate * (successes + failures) == pytest.approx(100 * successes)


def test_the_ten_busiest_servers_are_named_in_order() -> None:
    servers = [Served(server_id=f"s{n:02}", successes=n, failures=1) for n in range(12)]
    top = rules.top_servers(servers)
    assert [server.server_id for server in top[:2]] == ["s11", "s10"]
    assert (len(top), top[0].tasks_processed, top[-1].success_rate) == (10, 12, pytest.approx(200 / 3))


def load(share: float) -> ServerLoad:
    return ServerLoad(load=share, active_tasks=1, weight=1, effective_limit=2, healthy=True, pool="default")


def status(algorithms: dict[str, Algorithm], servers: dict[str, ServerLoad]) -> BalancerStatus:
    pools = {
        name: PoolStatus(algorithm=algorithm, servers=1, eligible=1, pending=0, active_tasks=0, slots=2)
        for name, algorithm in algorithms.items()
    }
    return BalancerStatus(
        leader="here", epoch=3, pools=pools, servers=servers, pending=7, waiting=2, active=5, last_dispatch=None,
        dispatched=9, as_of=NOW,
    )  # fmt: skip


def test_the_balancer_is_reported_as_it_says_of_itself() -> None:
    report = rules.load_balancer(
        status({"a": Algorithm.P2C, "default": Algorithm.FIRST}, {"x": load(0.5), "y": load(1)})
    )
    assert (report.algorithm, report.leader, report.pending, report.total_active_tasks) == ("first", "here", 7, 5)
    assert (report.average_load, report.as_of) == (0.75, NOW)


def test_a_fleet_without_the_default_pool_and_without_servers_is_reported_too() -> None:
    report = rules.load_balancer(status({"b": Algorithm.RANDOM, "a": Algorithm.P2C}, {}))
    assert (report.algorithm, report.average_load) == ("p2c", 0.0)
