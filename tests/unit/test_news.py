"""The lines of the screen Events: what changed, by whom and why; each once."""

import msgspec

from pointsman.contracts.base import encode
from pointsman.contracts.flow import FlowFrame, ServerFlow
from pointsman.contracts.search import AuditEntry
from pointsman.contracts.server import HealthState, ServerAdmin, ServerConfig, ServerHealth, Wanted
from pointsman.contracts.subjects import key
from pointsman.services.runtime.follow import Followed
from pointsman.services.statistics.news import TEXT_MAX, NewsDesk

NOW = 1_795_000_000_000
CONFIG = ServerConfig(id="a.b", name="a", predict="http://x", health="http://x", registered_at=1)


def record(desk: NewsDesk, kind: str, data: msgspec.Struct | None) -> list[tuple[str, str | None, str | None]]:
    body = encode(data) if data is not None else b""
    entry = Followed(key("servers", f"{kind}.a=b"), 1, body, deleted=not body)
    return [(one.what, one.why, one.by) for one in desk.record(entry, NOW)]


def test_a_server_comes_changes_and_goes() -> None:
    desk = NewsDesk()
    assert record(desk, "config", CONFIG) == [("registered", None, None)]
    assert record(desk, "config", CONFIG) == []
    healthy = ServerHealth(state=HealthState.HEALTHY, since=NOW, registered_at=1)
    assert record(desk, "health", healthy) == [("NEW -> HEALTHY", None, "prober")]
    down = ServerHealth(state=HealthState.UNHEALTHY, since=NOW, registered_at=1, error="no answer" * 100)
    ((what, why, by),) = record(desk, "health", down)
    assert (what, by) == ("HEALTHY -> UNHEALTHY", "prober")
    assert why is not None and len(why) == TEXT_MAX
    drain = ServerAdmin(wanted=Wanted.DRAINING, since=NOW, reason="rack", by="olga")
    assert record(desk, "admin", drain) == [("ACTIVE -> DRAINING", "rack", "olga")]
    itself = ServerAdmin(wanted=Wanted.MAINTENANCE, since=NOW, declared=True)
    assert record(desk, "admin", itself) == [("DRAINING -> MAINTENANCE", None, "a.b")]
    assert record(desk, "config", None) == [("unregistered", None, None)]
    assert record(desk, "health", None) == []
    record(desk, "admin", None)
    assert desk == NewsDesk()


def an_entry(**more: object) -> AuditEntry:
    fields = {"id": "1", "at": NOW, "who": "olga", "roles": ("operator",), "what": "registry.maintenance", "target": "a.b",
              "outcome": "done", "status": 200, "request_id": "r-1"} | more  # fmt: skip
    return AuditEntry(**fields)  # type: ignore[arg-type]


def test_an_act_is_told_once_with_who_and_which_request() -> None:
    desk = NewsDesk()
    (news,) = desk.audited(an_entry())
    assert (news.kind, news.subject, news.what, news.by, news.ok, news.request_id) == (
        "act", "a.b", "maintenance", "olga", True, "r-1",
    )  # fmt: skip
    assert list(desk.audited(an_entry())) == []


def test_a_refusal_is_told_with_its_reason() -> None:
    (news,) = NewsDesk().audited(an_entry(outcome="denied", status=403, detail="Operator role required"))
    assert (news.ok, news.why) == (False, "Operator role required")


def test_a_change_of_settings_says_from_what_to_what() -> None:
    before = msgspec.Raw(b'{"algorithm":"p2c","updatedAt":1}')
    after = msgspec.Raw(b'{"algorithm":"first","updatedAt":2}')
    (news,) = NewsDesk().audited(an_entry(what="balancer.pool.change", target="gold", before=before, after=after))
    assert (news.kind, news.subject, news.what, news.why) == ("config", "gold", "pool.change", "algorithm p2c -> first")


def test_an_act_is_told_with_the_reason_that_was_given() -> None:
    after = msgspec.Raw(b'{"wanted":"DRAINING","reason":"new \\"disk\\""}')
    (news,) = NewsDesk().audited(an_entry(before=msgspec.Raw(b'{"wanted":"ACTIVE"}'), after=after))
    assert news.why == 'wanted ACTIVE -> DRAINING; new "disk"'
    (news,) = NewsDesk().audited(an_entry(what="task.cancel", after=msgspec.Raw(b'{"reason":"asked to"}')))
    assert news.why == "asked to"
    for nothing in (b'{"reason":null}', b'{"reason":7}', b"null"):
        assert [one.why for one in NewsDesk().audited(an_entry(after=msgspec.Raw(nothing)))] == [None]


def a_flow(*servers: ServerFlow, leader: str = "one", whole: bool = False) -> FlowFrame:
    return FlowFrame(epoch=1, leader=leader, at=NOW, span_ms=200, whole=whole, servers=servers)


def test_lost_attempts_are_counted_up_for_a_second() -> None:
    desk = NewsDesk()
    lost = ServerFlow(id="a.b", active=0, limit=1, serves=False, lost=2)
    assert list(desk.flowed(a_flow(lost))) == []
    (news,) = desk.flowed(a_flow(lost, whole=True))
    assert (news.kind, news.subject, news.what, news.by) == ("tasks", "a.b", "4 attempts lost", "balancer")
    assert list(desk.flowed(a_flow(whole=True))) == []


def test_another_leader_is_news_the_first_is_not() -> None:
    desk = NewsDesk()
    assert list(desk.flowed(a_flow())) == []
    (news,) = desk.flowed(a_flow(leader="two"))
    assert (news.subject, news.what, news.why) == ("balancer", "another leads", "two")
