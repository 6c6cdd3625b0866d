"""Frames: whatever a reader misses, it ends with what a full frame says; rates, shares and ages are right."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from pointsman.contracts.base import encode
from pointsman.contracts.flow import FlowFrame, PoolFlow, ServerFlow, bucket_of
from pointsman.contracts.frames import NEWS_MAX, SAMPLE_MAX, Frame, News, Sample, decode_frame, encode_frame
from pointsman.contracts.server import HealthState, Heartbeat, ServerAdmin, ServerConfig, ServerHealth, Wanted
from pointsman.contracts.subjects import key
from pointsman.services.instance.watch import NEW_BAD, SUSPECT_BAD
from pointsman.services.runtime.follow import Followed
from pointsman.services.statistics.aggregator import KEPT_BYTES_MAX, keep_every_s
from pointsman.services.statistics.board import Board
from pointsman.services.statistics.flow_windows import FlowWindows
from pointsman.services.statistics.framing import Framer
from pointsman.services.statistics.member import FAILURES_MAX
from pointsman.services.statistics.windows import Spread, Sums
from tests.support.viewing import Sight

NOW = 1_795_000_000_000
EPOCH = 7
NAMES = ("a", "b.c", "d")
STATES = st.sampled_from(HealthState)


class Cluster:
    """A board with time, and what is stored and told of servers."""

    def __init__(self) -> None:
        self.board = Board()
        self.framer = Framer(self.board)
        self.framer.changed(EPOCH, NOW, 0.0)
        self.now_s, self.sequence = 100.0, 0

    @property
    def now(self) -> int:
        return NOW + round(self.now_s * 1000)

    def store(self, kind: str, name: str, record: ServerConfig | ServerAdmin | ServerHealth | None) -> None:
        self.sequence += 1
        data = encode(record) if record is not None else b""
        subject = key("servers", f"{kind}.{name.replace('.', '=')}")
        self.board.fold_record(Followed(subject, self.sequence, data, deleted=not data))

    def register(self, name: str, *, pool: str = "default", limit: int = 4, at: int = 1) -> None:
        config = ServerConfig(
            id=name, name=name, predict="http://x", health="http://x", registered_at=at, max_concurrent=limit, pool=pool
        )
        self.store("config", name, config)

    def flow(self, *servers: ServerFlow, whole: bool = True, span_ms: int = 1_000, **counts: object) -> None:
        told = FlowFrame(
            epoch=3, leader="host-1", at=self.now, span_ms=span_ms, whole=whole, servers=servers, **counts  # type: ignore[arg-type]
        )  # fmt: skip
        self.board.fold_flow(told, self.now_s)
        self.framer.heard(told)

    def changed(self) -> Frame:
        return decode_frame(encode_frame(self.framer.changed(EPOCH, self.now, self.now_s)))

    def whole(self) -> Frame:
        return decode_frame(encode_frame(self.framer.snapshot(EPOCH, self.now, self.now_s)))


class Reading(RuleBasedStateMachine):
    """A reader that misses frames, asks for full ones and gets these late."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster, self.sight = Cluster(), Sight()
        self.late: Frame | None = None

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 9), at=st.integers(1, 3))
    def register(self, name: str, limit: int, at: int) -> None:
        self.cluster.register(name, limit=limit, at=at)

    @rule(name=st.sampled_from(NAMES))
    def unregister(self, name: str) -> None:
        for kind in ("config", "admin", "health"):
            self.cluster.store(kind, name, None)

    @rule(name=st.sampled_from(NAMES), wanted=st.sampled_from(Wanted), reason=st.sampled_from(("", "why")))
    def order(self, name: str, wanted: Wanted, reason: str) -> None:
        self.cluster.store("admin", name, ServerAdmin(wanted=wanted, reason=reason or None, since=self.cluster.now))

    @rule(name=st.sampled_from(NAMES), state=STATES, at=st.integers(1, 3))
    def conclude(self, name: str, state: HealthState, at: int) -> None:
        self.cluster.store("health", name, ServerHealth(state=state, since=self.cluster.now, registered_at=at))

    @rule(name=st.sampled_from(NAMES), failures=st.integers(0, 3), at=st.integers(1, 3))
    def check(self, name: str, failures: int, at: int) -> None:
        check = ServerHealth(registered_at=at, last_check=self.cluster.now, consecutive_failures=failures)
        self.cluster.board.fold_checks({name: check})

    @rule(name=st.sampled_from(NAMES))
    def beat(self, name: str) -> None:
        self.cluster.board.fold_beat(Heartbeat(server_id=name, at=self.cluster.now, status="healthy"))

    @rule(name=st.sampled_from(NAMES), active=st.integers(0, 9), done=st.integers(0, 50), whole=st.booleans())
    def work(self, name: str, active: int, done: int, whole: bool) -> None:
        runs = {bucket_of(done): done} if done else {}
        server = ServerFlow(id=name, active=active, limit=4, serves=True, started=done, done=done, runs=runs)
        self.cluster.flow(server, whole=whole)

    @rule(seconds=st.floats(0.1, 30))
    def wait(self, seconds: float) -> None:
        self.cluster.now_s += seconds

    @rule(is_lost=st.booleans())
    def tell(self, is_lost: bool) -> None:
        frame = self.cluster.changed()
        assert not set(frame.gone) & {row.id for row in frame.servers}
        if not is_lost and not self.sight.fold(frame):
            self.late = self.cluster.whole()

    @rule()
    def begin_a_term(self) -> None:
        self.cluster.framer.begin()

    @rule()
    def ask(self) -> None:
        self.late = self.cluster.whole()

    @precondition(lambda self: self.late is not None)
    @rule()
    def answer(self) -> None:
        assert self.late is not None
        self.sight.fold(self.late)
        self.late = None

    @rule()
    def keep(self) -> None:
        self.cluster.framer.key(EPOCH, self.cluster.now, self.cluster.now_s, is_watched=True)

    def teardown(self) -> None:
        """Once nothing is lost any more, it sees what a full frame says."""
        for _ in range(6):
            if not self.sight.fold(self.cluster.changed()):
                self.sight.fold(self.cluster.whole())
        whole = Sight()
        whole.fold(self.cluster.whole())
        assert (self.sight.fold(self.cluster.changed()), self.sight.rows) == (True, whole.rows)
        assert self.sight.without_ages() == whole.without_ages()
        assert set(self.sight.rows) == set(self.sight.pulses) == set(self.cluster.board.members)

    @invariant()
    def nothing_is_told_of_nobody(self) -> None:
        assert len(self.sight.rows) <= len(NAMES)


TestReading = Reading.TestCase
TestReading.settings = settings(max_examples=150, stateful_step_count=30)


def test_only_what_changed_is_told() -> None:
    cluster = Cluster()
    for name in NAMES:
        cluster.register(name)
    assert len(cluster.changed().servers) == 3
    for _ in range(5):
        cluster.changed()
    quiet = cluster.changed()
    assert (quiet.servers, quiet.pulses, quiet.gone, quiet.full) == ((), (), (), False)
    cluster.store("admin", "d", ServerAdmin(wanted=Wanted.DRAINING, since=cluster.now, by="olga", reason="rack"))
    (row,) = cluster.changed().servers
    assert (row.id, row.wanted, row.by, row.reason, row.since) == ("d", "DRAINING", "olga", "rack", cluster.now)
    cluster.store("config", "a", None)
    assert cluster.changed().gone == ("a",)
    assert cluster.changed().gone == ()


def test_who_went_and_came_back_between_two_frames_is_not_gone() -> None:
    cluster = Cluster()
    cluster.register("a")
    cluster.changed()
    cluster.store("config", "a", None)
    assert cluster.whole().servers == ()
    cluster.register("a", at=2)
    frame = cluster.changed()
    assert (frame.gone, [row.id for row in frame.servers]) == ((), ["a"])


def test_the_first_frame_of_a_term_is_whole() -> None:
    cluster = Cluster()
    cluster.register("a")
    cluster.changed()
    cluster.framer.begin()
    first, second = cluster.changed(), cluster.changed()
    assert (first.full, [row.id for row in first.servers], second.full, second.seq) == (
        True,
        ["a"],
        False,
        first.seq + 1,
    )


def test_rates_are_over_the_time_that_the_counts_took() -> None:
    cluster = Cluster()
    cluster.register("a")
    for _ in range(30):
        cluster.now_s += 1
        cluster.flow(
            ServerFlow(id="a", active=1, limit=4, serves=True, started=20, done=18, failed=2, runs={bucket_of(80): 20}),
            submitted=20, completed=18, failed=2, retried=5, waits={bucket_of(30): 20}, runs={bucket_of(80): 20},
        )  # fmt: skip
    frames = [cluster.changed() for _ in range(5)]
    flow, pulse = frames[-1].flow, [frame.pulses[0] for frame in frames if frame.pulses][-1]
    assert (flow.submitted, flow.completed, flow.failed, flow.retried, flow.cancelled) == (20, 18, 2, 5, 0)
    assert (flow.fail_rate, flow.wait_p50, flow.run_p95) == (
        0.1,
        pytest.approx(30, rel=0.02),
        pytest.approx(80, rel=0.02),
    )
    assert (pulse.done_per_s, pulse.error_rate, pulse.run_p95) == (18.0, 0.1, pytest.approx(80, rel=0.02))


def test_nothing_is_known_before_a_second_of_flow_and_zero_is_known_after_it() -> None:
    cluster = Cluster()
    cluster.register("a")
    assert cluster.whole().flow == Frame(epoch=1, seq=0, at=0, full=True, flow=cluster.whole().flow).flow
    assert cluster.whole().flow.submitted is None
    cluster.flow(span_ms=200, pending=3)
    assert (cluster.whole().flow.submitted, cluster.whole().flow.pending) == (None, 3)
    cluster.flow(span_ms=900)
    assert (cluster.whole().flow.submitted, cluster.whole().flow.wait_p50) == (0.0, None)


def test_what_is_older_than_its_window_counts_no_more() -> None:
    cluster = Cluster()
    cluster.register("a")
    cluster.flow(
        ServerFlow(id="a", active=1, limit=4, serves=True, done=30, failed=10, runs={1: 40}), completed=30, failed=10
    )
    for _ in range(11):
        cluster.now_s += 1
        cluster.flow(ServerFlow(id="a", active=0, limit=4, serves=True))
    frame = cluster.framer.key(EPOCH, cluster.now, cluster.now_s, is_watched=False)
    assert (frame.flow.completed, frame.flow.fail_rate, frame.flow.run_p95) == (0.0, None, None)
    assert (frame.pulses[0].done_per_s, frame.pulses[0].error_rate) == (0.0, 0.25)
    for _ in range(60):
        cluster.now_s += 1
        cluster.flow()
    frame = cluster.framer.key(EPOCH, cluster.now, cluster.now_s, is_watched=False)
    assert frame.pulses[0].error_rate is None


def test_shares_are_of_the_pool_and_fair_by_the_slots_that_were_there() -> None:
    cluster = Cluster()
    cluster.register("a", limit=30)
    cluster.register("b.c", limit=10)
    cluster.register("d", pool="other", limit=5)
    for second in range(30):
        cluster.now_s += 1
        cluster.flow(
            ServerFlow(id="a", active=0, limit=30, serves=second % 2 == 0, started=6),
            ServerFlow(id="b.c", active=0, limit=10, serves=True, started=2),
            ServerFlow(id="d", active=0, limit=5, serves=True),
        )
    pulses = {one.id: one for one in cluster.framer.key(EPOCH, cluster.now, cluster.now_s, is_watched=False).pulses}
    assert (pulses["a"].share, pulses["b.c"].share, pulses["d"].share) == (0.75, 0.25, None)
    assert (pulses["a"].fair, pulses["b.c"].fair, pulses["d"].fair) == (0.6, 0.4, 1.0)


def test_a_lost_message_makes_no_rate_wrong() -> None:
    windows = FlowWindows()
    for second in range(10):
        if second not in (3, 7):
            told = FlowFrame(epoch=1, leader="x", at=NOW, span_ms=1_000, whole=True, submitted=50)
            windows.fold(told, float(second))
    assert windows.shown(NOW, 9.0).submitted == 50.0


def test_a_silent_leader_leaves_nothing_known_by_whatever_clock() -> None:
    windows = FlowWindows()
    windows.fold(FlowFrame(epoch=1, leader="x", at=NOW - 3_600_000, span_ms=1_000, whole=True, pending=4), 10.0)
    assert windows.shown(NOW, 12.9).pending == 4
    assert windows.shown(NOW, 13.1).pending is None


def test_a_silent_leader_leaves_nothing_known_of_pools_and_servers_until_it_tells_again() -> None:
    cluster = Cluster()
    cluster.register("a")
    pool = PoolFlow(
        name="default", algorithm="p2c", servers=1, eligible=1, pending=7, running=2, slots=4, starts_per_s=1.0
    )
    busy = ServerFlow(id="a", active=2, limit=4, serves=True)
    cluster.flow(busy, pools=(pool,))
    assert (cluster.whole().pools[0].pending, cluster.whole().pulses[0].running) == (7, 2)
    cluster.now_s += 4.0
    (shown,) = cluster.whole().pools
    assert (shown.name, shown.algorithm, shown.servers) == ("default", "p2c", 1)
    assert (shown.eligible, shown.pending, shown.running, shown.slots, shown.starts_per_s) == (None,) * 5
    assert cluster.changed().pulses[0].running is None
    cluster.flow(busy, pools=(pool,))
    assert (cluster.whole().pools[0].pending, cluster.changed().pulses[0].running) == (7, 2)


def test_what_an_older_leader_still_says_is_left_out() -> None:
    cluster = Cluster()
    cluster.flow(pending=5)
    old = FlowFrame(epoch=2, leader="old", at=cluster.now, span_ms=1_000, whole=True, pending=99)
    assert not cluster.board.fold_flow(old, cluster.now_s)
    assert cluster.whole().flow.pending == 5


def test_what_is_known_of_an_earlier_registration_does_not_count() -> None:
    cluster = Cluster()
    cluster.register("a", at=5)
    cluster.store("health", "a", ServerHealth(state=HealthState.UNHEALTHY, since=4, registered_at=1))
    cluster.board.fold_checks({"a": ServerHealth(state=HealthState.UNHEALTHY, since=4, registered_at=1)})
    (row,) = cluster.changed().servers
    assert (row.state, row.since) == ("NEW", 5)


def test_a_check_that_is_newer_than_the_stored_state_is_shown() -> None:
    cluster = Cluster()
    cluster.register("a")
    suspect = ServerHealth(state=HealthState.SUSPECT, since=50, registered_at=1, last_check=50, consecutive_failures=1)
    cluster.store("health", "a", suspect)
    cluster.board.fold_checks({"a": replace(suspect, last_check=60, consecutive_failures=2, error="no answer")})
    (row,) = cluster.changed().servers
    assert (row.state, row.failures, row.failures_max, row.error) == ("SUSPECT", 2, 3, "no answer")
    cluster.store("health", "a", ServerHealth(state=HealthState.UNHEALTHY, since=70, registered_at=1, last_check=70))
    assert cluster.changed().servers[0].state == "UNHEALTHY"


def test_failures_that_take_a_server_out_are_those_of_the_health_machine() -> None:
    assert FAILURES_MAX == {HealthState.NEW: NEW_BAD, HealthState.SUSPECT: SUSPECT_BAD}


def test_ages_are_of_the_moment_of_the_frame() -> None:
    cluster = Cluster()
    cluster.register("a")
    cluster.board.fold_beat(Heartbeat(server_id="a", at=cluster.now, status="healthy"))
    cluster.now_s += 2
    assert cluster.changed().pulses[0].beat_ms == 2_000
    cluster.now_s += 3
    assert cluster.whole().pulses[0].beat_ms == 5_000
    assert cluster.whole().pulses[0].check_ms is None


def test_a_starting_server_tells_how_warm_it_is() -> None:
    cluster = Cluster()
    cluster.register("a", limit=20)
    cluster.store("health", "a", ServerHealth(state=HealthState.WARMING, since=9, registered_at=1))
    cluster.flow(ServerFlow(id="a", active=0, limit=5, serves=True))
    assert cluster.changed().servers[0].warmth == 0.25
    cluster.flow(ServerFlow(id="a", active=0, limit=20, serves=True))
    assert cluster.changed().servers[0].warmth is None


def a_news(number: int) -> News:
    return News(at=number, kind="act", subject=str(number), what="x")


def test_news_and_samples_are_told_once_to_who_looks_and_once_to_the_hour() -> None:
    cluster = Cluster()
    cluster.framer.happened(a_news(number) for number in range(NEWS_MAX + 5))
    sample = tuple(Sample(at=number, task_id="t", kind="submitted") for number in range(SAMPLE_MAX))
    cluster.flow(sample=sample, happened=400)
    first, second = cluster.changed(), cluster.changed()
    assert [one.at for one in (*first.news, *second.news)] == list(range(NEWS_MAX + 5))
    assert (len(first.sample), first.happened, second.sample, second.happened) == (SAMPLE_MAX, 400, (), 0)
    kept = cluster.framer.key(EPOCH, cluster.now, cluster.now_s, is_watched=True)
    assert (len(kept.news), len(kept.sample), kept.happened) == (NEWS_MAX, SAMPLE_MAX, 400)
    assert [one.at for one in cluster.whole().news] == list(range(5, NEWS_MAX + 5))


def test_who_begins_to_look_is_not_told_what_happened_while_nobody_did() -> None:
    cluster = Cluster()
    cluster.framer.happened([a_news(1)])
    cluster.framer.unwatched()
    assert cluster.changed().news == ()
    assert cluster.whole().news == (a_news(1),)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=60))
def test_a_window_holds_what_a_recount_finds(steps: list[tuple[int, int]]) -> None:
    sums, spread, slot, all_of_it = Sums(5, 1), Spread(5), 0, []
    for passed, count in steps:
        slot += passed
        all_of_it.append((slot, count))
        sums.add(slot, (count,))
        spread.add(slot, {count: 1})
        recent = [one for at, one in all_of_it if at > slot - 5]
        assert sums.total == [sum(recent)]
        assert spread.total == {one: recent.count(one) for one in recent}


def test_an_hour_of_keyframes_stays_within_its_bytes() -> None:
    assert keep_every_s(6_000) == keep_every_s(70_000) == 1.0
    for size in (100_000, 1_000_000):
        assert size * 3_600 / keep_every_s(size) <= KEPT_BYTES_MAX


def test_a_frame_of_two_hundred_busy_servers_is_small() -> None:
    cluster, rng = Cluster(), Random(7)
    for number in range(200):
        cluster.register(f"server-{number:04}", limit=32)
    cluster.changed()
    for _ in range(20):
        cluster.now_s += 0.2
        rows = [
            ServerFlow(id=f"server-{number:04}", active=rng.randrange(32), limit=32, serves=True, estimate=rng.randrange(90),
                       started=2, done=2, runs={rng.randrange(50, 150): 2})
            for number in range(200)
        ]  # fmt: skip
        for number in range(200):
            cluster.board.fold_beat(Heartbeat(server_id=f"server-{number:04}", at=cluster.now, status="healthy"))
        sample = tuple(
            Sample(at=cluster.now, task_id="task_" + "f" * 32, kind="completed", type="resize") for _ in range(20)
        )
        pool = PoolFlow(name="default", algorithm="p2c", servers=200, eligible=200, pending=9, running=9, slots=9,
                        starts_per_s=9.0)  # fmt: skip
        cluster.flow(*rows, sample=sample, pools=(pool,), span_ms=200)
        frame = cluster.framer.changed(EPOCH, cluster.now, cluster.now_s)
        assert len(frame.pulses) == 200
        assert len(encode_frame(frame)) <= 20_000
