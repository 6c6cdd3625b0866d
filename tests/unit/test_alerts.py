"""What needs attention: each rule at its edge, and a list that neither flaps nor repeats itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from pointsman.contracts.alerts import AlertMark, mark_key
from pointsman.contracts.balancer import Alert
from pointsman.contracts.flow import FlowFrame, PoolFlow, ServerFlow
from pointsman.contracts.frames import ALERTS_MAX, AlertRow, Severity
from pointsman.contracts.server import HealthState, ServerAdmin, ServerConfig, ServerHealth, Wanted
from pointsman.services.statistics.alert_book import KEPT_MS, AlertBook
from pointsman.services.statistics.alert_rules import RULES, Cause, causes
from pointsman.services.statistics.facts import Archive, Facts, Storage
from pointsman.services.statistics.member import Member

NOW, NOW_S = 1_795_000_000_000, 500.0
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def a_member(name: str = "gpu-1", *, done: int = 0, failed: int = 0, **more: Any) -> Member:
    config = ServerConfig(id=name, name=name, predict="http://x", health="http://x", registered_at=1)
    member = Member(config, 0)
    member.health = ServerHealth(registered_at=1, **more.pop("health", {"state": HealthState.HEALTHY}))
    member.admin = more.pop("admin", ServerAdmin())
    member.flowed(ServerFlow(id=name, active=2, limit=4, serves=True, done=done, failed=failed), NOW_S, whole=True)
    return member


def a_pool(**more: Any) -> PoolFlow:
    told = {"servers": 2, "eligible": 2, "pending": 0, "running": 0, "slots": 8} | more
    return PoolFlow(name="default", algorithm="p2c", starts_per_s=0.0, **told)


def a_flow(*pools: PoolFlow, **more: Any) -> FlowFrame:
    told = {"executors": 1} | more
    return FlowFrame(epoch=1, leader="x", at=NOW, span_ms=1_000, whole=True, pools=pools, **told)


def facts(*members: Member, **more: Any) -> Facts:
    return Facts(now=NOW, now_s=NOW_S, members=members, **({"silent_ms": 0, "flow": a_flow(a_pool())} | more))


def found(facts: Facts) -> list[tuple[str, str, str]]:
    return [(cause.severity, cause.kind, cause.subject) for cause in causes(facts)]


def said(facts: Facts) -> str:
    (cause,) = causes(facts)
    return cause.detail


def test_a_cluster_in_order_needs_no_attention() -> None:
    calm = facts(a_member(done=1_000, failed=3), types={"a": (1_000, 3)}, archive=Archive(NOW, backlog=9, lag_ms=900))
    assert found(calm) == []


def test_servers_that_are_out_or_doubted_are_told_with_the_reason() -> None:
    down = a_member(health={"state": HealthState.UNHEALTHY, "since": 99, "error": "refused", "consecutive_failures": 3})
    doubted = a_member("gpu-2", health={"state": HealthState.SUSPECT, "since": 98})
    assert found(facts(down, doubted)) == [
        (CRITICAL, "server-down", "gpu-1"),
        (WARNING, "server-suspect", "gpu-2"),
    ]
    assert said(facts(down)) == "refused (3 checks failed in a row)"
    assert next(causes(facts(down))).since == 99


@pytest.mark.parametrize("wanted", [Wanted.MAINTENANCE, Wanted.REMOVED])
def test_who_was_taken_out_by_hand_may_be_down(wanted: Wanted) -> None:
    assert found(facts(a_member(health={"state": HealthState.UNHEALTHY}, admin=ServerAdmin(wanted=wanted)))) == []


def test_a_drain_that_should_be_over_is_told() -> None:
    late = ServerAdmin(wanted=Wanted.DRAINING, until=NOW - 5_001)
    assert found(facts(a_member(admin=late))) == [(WARNING, "drain-overdue", "gpu-1")]
    assert said(facts(a_member(admin=late))) == "should have drained 5 s ago, 2 attempts still run"
    for in_time in (NOW - 5_000, NOW + 60_000, None):
        assert found(facts(a_member(admin=ServerAdmin(wanted=Wanted.DRAINING, until=in_time)))) == []


@pytest.mark.parametrize(
    ("done", "failed", "is_told"),
    [(94, 6, True), (95, 5, False), (16, 3, False), (17, 3, True), (18, 2, False), (0, 20, True)],
)
def test_failures_count_from_a_share_and_a_number_on(done: int, failed: int, is_told: bool) -> None:
    assert found(facts(types={"resize": (done, failed)})) == [(WARNING, "type-failing", "resize")] * is_told
    assert found(facts(a_member(done=done, failed=failed))) == [(WARNING, "server-failing", "gpu-1")] * is_told


def test_how_much_fails_is_told() -> None:
    assert said(facts(types={"resize": (919, 81)})) == "failed attempts 8.1 % in 60 s (limit 5 %)"


def test_a_silent_balancer_is_told_and_what_it_said_last_is_not() -> None:
    old = a_flow(a_pool(pending=5, oldest_due=NOW - 60_000), executors=0)
    silent = facts(silent_ms=3_001, flow=old, balancer=(Alert(kind="no-server", pool="p", detail="d"),))
    assert found(silent) == [(CRITICAL, "no-leader", "")]
    assert found(facts(silent_ms=3_000)) == []
    assert next(causes(silent)).since == NOW - 3_001


def test_queues_are_old_while_their_pool_has_slots() -> None:
    assert found(facts(flow=a_flow(a_pool(pending=5, oldest_due=NOW - 5_001)))) == [(WARNING, "queue-old", "default")]
    assert said(facts(flow=a_flow(a_pool(pending=1_224, oldest_due=NOW - 12_000)))) == (
        "the oldest of 1,224 tasks has been due for 12 s"
    )
    assert found(facts(flow=a_flow(a_pool(pending=5, oldest_due=NOW - 5_000)))) == []
    assert found(facts(flow=a_flow(a_pool(pending=5, oldest_due=NOW - 60_000, slots=0)))) == [
        (CRITICAL, "no-slots", "default")
    ]
    assert found(facts(flow=a_flow(a_pool(pending=5, slots=0, servers=0)))) == []


def test_without_executors_nothing_is_dispatched() -> None:
    assert found(facts(flow=a_flow(executors=0))) == [(CRITICAL, "no-executor", "")]


def test_what_others_say_is_passed_on() -> None:
    panic = Alert(kind="panic", pool="gold", detail="half of it is out")
    doubt = Alert(kind="prober-doubt", pool="", detail="all at once")
    impossible = Alert(kind="no-server", pool="gold", detail="3 tasks wait")
    told = list(causes(facts(alarms=(panic, doubt), balancer=(impossible,))))
    assert [(one.severity, one.kind, one.subject, one.detail) for one in told] == [
        (CRITICAL, "panic", "gold", "half of it is out"),
        (WARNING, "prober-doubt", "", "all at once"),
        (WARNING, "no-server", "gold", "3 tasks wait"),
    ]


@pytest.mark.parametrize(
    ("archive", "kind", "detail"),
    [
        (Archive(NOW, answers=False), "archive-away", "history or its database does not answer: tasks that ended wait"),
        (Archive(NOW, is_away=True, backlog=1), "archive-away", "Postgres cannot be reached: 1 record waits for the archive"),
        (Archive(NOW, backlog=999, lag_ms=180_000), "archive-late", "999 records wait for the archive, the oldest for 3 min"),
    ],
)  # fmt: skip
def test_the_archive_is_told_when_it_is_away_or_late(archive: Archive, kind: str, detail: str) -> None:
    assert found(facts(archive=archive)) == [(WARNING, kind, "")]
    assert said(facts(archive=archive)) == detail


def test_a_full_store_is_told() -> None:
    assert found(facts(storage=Storage(used_share=0.91))) == [(CRITICAL, "storage", "")]
    assert found(facts(storage=Storage(used_share=0.9))) == []
    assert (
        said(facts(storage=Storage(refusal="insufficient resources")))
        == "the broker keeps nothing: insufficient resources"
    )


def test_every_rule_finds_something_in_these_tests() -> None:
    """A rule that never fires would not be missed."""
    worst = [
        facts(silent_ms=9_000),
        facts(flow=a_flow(executors=0)),
        facts(storage=Storage(refusal="no")),
        facts(a_member(health={"state": HealthState.UNHEALTHY}), a_member("b", health={"state": HealthState.SUSPECT})),
        facts(a_member(admin=ServerAdmin(wanted=Wanted.DRAINING, until=1), failed=30), types={"a": (0, 30)}),
        facts(
            flow=a_flow(a_pool(pending=1, oldest_due=1), a_pool(pending=1, slots=0)),
            archive=Archive(NOW, answers=False),
        ),
        facts(
            alarms=(Alert(kind="panic", pool="", detail=""),), balancer=(Alert(kind="no-server", pool="", detail=""),)
        ),
    ]
    assert all(any(list(rule(one)) for one in worst) for rule in RULES)


def a_cause(kind: str = "queue-old", subject: str = "p", severity: Severity = WARNING, **more: Any) -> Cause:
    return Cause(severity, kind, subject, more.pop("detail", "d"), "tasks", **more)


def shown(book: AlertBook) -> list[AlertRow]:
    return list(book.rows({}))


def names(book: AlertBook) -> list[tuple[str, str]]:
    return [(row.kind, row.subject) for row in shown(book)]


def test_an_alert_stays_for_a_while_after_its_cause_and_keeps_its_age() -> None:
    book = AlertBook()
    book.update([a_cause()], {}, NOW)
    book.update([], {}, NOW + KEPT_MS - 1)
    assert shown(book)[0].since == NOW
    book.update([a_cause(detail="worse")], {}, NOW + KEPT_MS)
    book.update([], {}, NOW + 2 * KEPT_MS - 1)
    assert [(row.since, row.detail) for row in shown(book)] == [(NOW, "worse")]
    book.update([], {}, NOW + 2 * KEPT_MS)
    assert shown(book) == []
    book.update([a_cause()], {}, NOW + 3 * KEPT_MS)
    assert shown(book)[0].since == NOW + 3 * KEPT_MS


def test_a_cause_that_comes_and_goes_is_one_alert() -> None:
    book = AlertBook()
    lists = set()
    for second in range(60):
        book.update([a_cause()] if second % 7 < 2 else [], {}, NOW + second * 1_000)
        lists.add(tuple(names(book)))
    assert lists == {(("queue-old", "p"),)}


def test_what_may_settle_by_itself_is_told_only_when_it_lasts() -> None:
    book = AlertBook()
    for passed, is_shown in ((0, False), (2_900, False), (3_000, True), (4_000, True)):
        book.update([a_cause(after_ms=3_000)], {}, NOW + passed)
        assert bool(names(book)) is is_shown
    book.update([], {}, NOW + 5_000)
    assert names(book) == [("queue-old", "p")]


def test_what_is_worse_takes_the_place_of_a_doubt_at_once() -> None:
    book = AlertBook()
    book.update([a_cause("server-suspect", "gpu-1"), a_cause("server-suspect", "gpu-2")], {}, NOW)
    down = a_cause("server-down", "gpu-1", CRITICAL, replaces=("server-suspect",))
    book.update([down, a_cause("server-suspect", "gpu-2")], {}, NOW + 1_000)
    assert names(book) == [("server-down", "gpu-1"), ("server-suspect", "gpu-2")]


def test_the_worst_come_first_then_the_oldest() -> None:
    book = AlertBook()
    book.update(
        [
            a_cause("a", "young", since=NOW - 1),
            a_cause("b", "old", since=NOW - 9),
            a_cause("c", "bad", CRITICAL, since=NOW - 1),
            a_cause("c", "bad", CRITICAL, since=NOW - 1),
        ],
        {},
        NOW,
    )
    assert [subject for _, subject in names(book)] == ["bad", "old", "young"]


def test_of_very_many_the_worst_are_told_and_the_rest_counted() -> None:
    book = AlertBook()
    book.update(_many(1_000), {}, NOW)
    rows = shown(book)
    assert len(rows) == ALERTS_MAX
    assert (rows[0].subject, rows[-1].kind, rows[-1].detail) == ("bad", "more", "901 more alerts")


def _many(count: int) -> Iterator[Cause]:
    yield from (a_cause(subject=f"p-{number}") for number in range(count - 1))
    yield a_cause("server-down", "bad", CRITICAL)


def test_a_mark_is_shown_and_makes_an_alert_as_old_as_it_was() -> None:
    mark = AlertMark(kind="queue-old", subject="p", by="olga", at=NOW, since=NOW - 50_000, note="known")
    book = AlertBook()
    book.update([a_cause()], {("queue-old", "p"): mark}, NOW)
    (row,) = book.rows({("queue-old", "p"): mark})
    assert (row.acknowledged_by, row.note, row.since) == ("olga", "known", NOW - 50_000)
    assert shown(book)[0].acknowledged_by is None


def test_subjects_of_any_kind_have_keys_of_their_own() -> None:
    keys = {mark_key("server-down", subject) for subject in ("", "_", "a.b", "a b", "ü")}
    assert len(keys) == 5
    assert all(key.count(".") == 1 and " " not in key for key in keys)
