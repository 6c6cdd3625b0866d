"""The rules of single servers and of the fleet: silence, faults, outliers, stalled work, bounds, doubt, the score."""

from random import Random

import pytest

from pointsman.contracts.execution import Evidence, Results
from pointsman.contracts.server import Cause, HealthState, ServerHealth
from pointsman.services.instance.ejection import Member, share_of
from pointsman.services.instance.evidence import Tally
from pointsman.services.instance.health import HealthMachine, fresh
from pointsman.services.instance.outliers import Rate, outliers
from pointsman.services.instance.phi import Beats
from pointsman.services.instance.score import Score
from pointsman.services.instance.self_doubt import SelfDoubt
from pointsman.services.instance.watch import Look, Moment
from pointsman.services.runtime.outcomes import Accepted, Failed, Lost, Succeeded, TimedOut

HEALTHY, SUSPECT, UNHEALTHY, RECOVERING = (
    HealthState.HEALTHY,
    HealthState.SUSPECT,
    HealthState.UNHEALTHY,
    HealthState.RECOVERING,
)
REFUSED = Look("refused", refused=True)


class Fleet:
    """Servers a, b, c ... under one machine, with a clock that the test moves."""

    def __init__(self, size: int, state: HealthState = HEALTHY) -> None:
        self.machine = HealthMachine(Random(7))
        self.s = 1000.0
        self.names = [f"s{n}" for n in range(size)]
        stored = ServerHealth(state=state, since=self.now.ms)
        for name in self.names:
            self.machine.watch(name, "default", 10, stored, self.now, first_in_s=1e6)

    @property
    def now(self) -> Moment:
        return Moment(self.s, round(self.s * 1000))

    def state(self, name: str) -> HealthState:
        watch = self.machine.get(name)
        assert watch is not None
        return watch.state

    def cause(self, name: str) -> Cause | None:
        watch = self.machine.get(name)
        assert watch is not None
        return watch.health.cause

    def hear(self, name: str, **results: int) -> None:
        row = Results(server_id=name, type="t", **results)
        self.machine.heard(Evidence(executor="e", at=self.now.ms, results=(row,)), self.now)

    def fail(self, name: str, times: int) -> None:
        self.hear(name, faults=times, run=times)

    def probe(self, name: str, look: Look) -> None:
        self.machine.probed(name, look, self.now)

    def beat(self, name: str, active: int = 0) -> None:
        self.machine.beaten(name, active, self.now)

    def beat_for(self, name: str, seconds: float, active: int = 0) -> None:
        for _ in range(round(seconds / 2)):
            self.s += 2.0
            self.beat(name, active)

    def pass_(self, seconds: float) -> None:
        end_s = self.s + seconds
        while self.s < end_s:
            self.s += 0.25
            self.machine.tick(self.now)

    def count(self, state: HealthState) -> int:
        return sum(self.state(name) is state for name in self.names)


def test_silence_is_late_after_what_phi_five_means() -> None:
    beats = Beats(0.0)
    for n in range(1, 200):
        beats.note(2.0 * n)
    assert beats.limit_s == pytest.approx(2.853, abs=0.001)
    assert not beats.is_late(beats.last_s + 2.85)
    assert beats.is_late(beats.last_s + 2.86)


def test_irregular_beats_are_given_more_time() -> None:
    beats, rng, at = Beats(0.0), Random(7), 0.0
    for _ in range(200):
        at += rng.gauss(2.0, 0.5)
        beats.note(at)
    assert 3.5 < beats.limit_s < 5.0


def test_an_outage_does_not_excuse_the_next_silence_and_slow_beats_are_learnt() -> None:
    beats, at = Beats(0.0), 0.0
    for _ in range(100):
        at += 2.0
        beats.note(at)
    beats.note(at + 45.0)
    assert beats.limit_s < 4.0
    slow = Beats(0.0)
    for n in range(1, 200):
        slow.note(15.0 * n)
    assert slow.limit_s == pytest.approx(15.853, abs=0.001)


def test_a_silent_server_is_suspect_and_gone_when_it_refuses() -> None:
    fleet = Fleet(5)
    fleet.beat_for("s0", 10)
    fleet.pass_(2.5)
    assert fleet.state("s0") is HEALTHY
    fleet.pass_(0.75)
    assert (fleet.state("s0"), fleet.cause("s0")) == (SUSPECT, Cause.HEARTBEATS)
    assert fleet.machine.next_due(fleet.now) == "s0"
    fleet.probe("s0", REFUSED)
    assert fleet.state("s0") is UNHEALTHY


def test_one_lost_beat_is_made_good_by_the_next_and_a_probe() -> None:
    fleet = Fleet(5)
    fleet.beat_for("s0", 10)
    fleet.pass_(3.25)
    fleet.probe("s0", Look())
    assert fleet.state("s0") is SUSPECT
    fleet.beat("s0")
    assert fleet.state("s0") is HEALTHY


def test_a_server_that_never_beats_is_never_silent() -> None:
    fleet = Fleet(5)
    fleet.pass_(100)
    assert fleet.count(HEALTHY) == 5


def test_a_silent_server_that_completes_tasks_is_not_suspect() -> None:
    fleet = Fleet(5)
    fleet.beat_for("s0", 10)
    for _ in range(20):
        fleet.hear("s0", succeeded=1, elapsed=5)
        fleet.pass_(1)
    assert fleet.state("s0") is HEALTHY


def test_five_faults_in_a_row_take_a_server_out_and_four_do_not() -> None:
    fleet = Fleet(5)
    fleet.fail("s0", 4)
    assert fleet.state("s0") is HEALTHY
    fleet.hear("s0", failed=1)
    fleet.fail("s0", 4)
    assert fleet.state("s0") is HEALTHY
    fleet.fail("s0", 1)
    assert (fleet.state("s0"), fleet.cause("s0")) == (UNHEALTHY, Cause.FAULTS)


def test_errors_of_tasks_never_take_a_server_out() -> None:
    fleet = Fleet(5)
    for name in fleet.names:
        fleet.hear(name, failed=1000)
    fleet.pass_(30)
    assert fleet.count(HEALTHY) == 5


def test_a_fault_makes_the_prober_look_at_once() -> None:
    fleet = Fleet(5)
    fleet.fail("s0", 1)
    assert fleet.machine.next_due(fleet.now) == "s0"
    assert fleet.state("s0") is HEALTHY


def test_half_open_three_successes_let_in_and_one_fault_throws_out() -> None:
    fleet = Fleet(5, RECOVERING)
    fleet.hear("s0", succeeded=2)
    assert fleet.state("s0") is RECOVERING
    fleet.hear("s0", succeeded=1)
    assert fleet.state("s0") is HealthState.WARMING
    fleet.hear("s1", succeeded=2, faults=1, run=1)
    assert fleet.state("s1") is UNHEALTHY


def test_thirty_quiet_seconds_make_warm_and_a_fault_starts_them_again() -> None:
    fleet = Fleet(5, HealthState.WARMING)
    fleet.pass_(20)
    fleet.fail("s0", 1)
    fleet.pass_(12)
    assert (fleet.state("s0"), fleet.state("s1")) == (HealthState.WARMING, HEALTHY)
    fleet.pass_(20)
    assert fleet.state("s0") is HEALTHY


@pytest.mark.parametrize(
    ("shares", "results", "expected"),
    [
        ([1.0] * 9 + [0.2], 50, ["s9"]),
        ([1.0] * 9 + [0.2], 49, []),
        ([1.0] * 3 + [0.2], 500, []),
        ([0.0] * 20, 500, []),
        ([0.99] * 19 + [0.92], 5000, []),
        ([0.5] * 19 + [0.4], 50, []),
        ([0.5] * 19 + [0.1], 200, ["s19"]),
    ],
)
def test_who_falls_out_of_the_row(shares: list[float], results: int, expected: list[str]) -> None:
    rates = {f"s{n}": Rate(round(share * results), results) for n, share in enumerate(shares)}
    assert list(outliers(rates)) == expected


def test_an_outlier_is_taken_out_every_ten_seconds() -> None:
    fleet = Fleet(10)
    fleet.pass_(1)
    for name in fleet.names:
        fleet.hear(name, succeeded=0 if name == "s3" else 60, failed=60 if name == "s3" else 0)
    fleet.pass_(10)
    assert (fleet.state("s3"), fleet.cause("s3")) == (UNHEALTHY, Cause.OUTLIER)
    assert fleet.count(HEALTHY) == 9


def test_work_that_never_ends_takes_its_server_out_unless_it_calls_back() -> None:
    fleet = Fleet(10)
    for name in fleet.names:
        fleet.hear(name, succeeded=1, elapsed=100, slowest=100)
    fleet.hear("s1", accepted=1)
    fleet.machine.loaded({"s0": 1, "s1": 1}, fleet.s)
    for _ in range(25):
        for name in ("s0", "s1"):
            fleet.beat(name, active=1)
        fleet.pass_(2)
    assert (fleet.state("s0"), fleet.cause("s0")) == (UNHEALTHY, Cause.STALLED)
    assert fleet.state("s1") is HEALTHY


def test_at_most_thirty_percent_are_out_for_what_tasks_tell() -> None:
    fleet = Fleet(20)
    for name in fleet.names:
        fleet.fail(name, 5)
    assert fleet.count(UNHEALTHY) == 6


def test_one_may_be_out_even_where_it_is_more_than_thirty_percent() -> None:
    fleet = Fleet(3)
    for name in fleet.names:
        fleet.fail(name, 50)
    assert fleet.count(UNHEALTHY) == 1


def test_the_last_server_is_not_taken_out_for_its_tasks() -> None:
    fleet = Fleet(1)
    fleet.fail("s0", 50)
    fleet.pass_(1)
    assert fleet.state("s0") is HEALTHY
    assert fleet.machine.alarms() == ()


def test_in_panic_those_out_for_their_tasks_come_back_and_the_dead_do_not() -> None:
    fleet = Fleet(20)
    for name in fleet.names[:6]:
        fleet.fail(name, 5)
    for name in fleet.names[6:12]:
        for _ in range(3):
            fleet.probe(name, REFUSED)
        fleet.pass_(6)
    assert [alert.kind for alert in fleet.machine.alarms()] == ["panic"]
    assert {fleet.state(name) for name in fleet.names[:6]} == {HEALTHY}
    assert {fleet.state(name) for name in fleet.names[6:12]} == {UNHEALTHY}
    for name in fleet.names[:6]:
        fleet.fail(name, 50)
    assert {fleet.state(name) for name in fleet.names[:6]} == {HEALTHY}


def test_a_panic_ends_when_the_dead_return() -> None:
    fleet = Fleet(2)
    for name in fleet.names:
        for _ in range(3):
            fleet.probe(name, REFUSED)
    fleet.pass_(1)
    assert fleet.machine.alarms()
    fleet.pass_(15)
    for name in fleet.names:
        fleet.probe(name, Look())
        fleet.probe(name, Look())
    fleet.pass_(1)
    assert fleet.machine.alarms() == ()


def test_those_back_for_the_panic_do_not_end_it() -> None:
    sick = ServerHealth(state=HEALTHY, readmitted=True)
    share = share_of([Member(10, ServerHealth(state=HEALTHY)), Member(10, sick), Member(10, sick)])
    assert (share.total, share.eligible, share.is_panic) == (30, 10, True)


def test_when_half_the_fleet_fails_at_once_the_prober_blames_itself() -> None:
    fleet = Fleet(10)
    for name in fleet.names[:5]:
        fleet.probe(name, Look("no answer"))
    assert "prober-doubt" in {alert.kind for alert in fleet.machine.alarms()}
    for _ in range(5):
        for name in fleet.names[:5]:
            fleet.probe(name, Look("no answer"))
    assert fleet.count(UNHEALTHY) == 0
    assert fleet.machine.timeout_s(fleet.s) == 4.0
    fleet.pass_(11)
    assert fleet.machine.timeout_s(fleet.s) == 16.0
    for name in fleet.names[5:]:
        fleet.probe(name, Look())
    fleet.pass_(0.5)
    for _ in range(3):
        for name in fleet.names[:5]:
            fleet.probe(name, Look("no answer"))
    assert fleet.count(UNHEALTHY) == 5


def test_servers_long_dead_do_not_prolong_the_doubt() -> None:
    fleet = Fleet(50)
    for name in fleet.names[4:]:
        for _ in range(4):
            fleet.probe(name, REFUSED)
        fleet.pass_(6)
    assert fleet.count(UNHEALTHY) == 46
    for name in fleet.names[:3]:
        fleet.probe(name, Look("no answer"))
    assert "prober-doubt" in {alert.kind for alert in fleet.machine.alarms()}
    fleet.pass_(11)
    fleet.probe(fleet.names[3], Look())
    fleet.pass_(0.5)
    for name in fleet.names[:3]:
        for _ in range(3):
            fleet.probe(name, Look("no answer"))
    assert fleet.count(UNHEALTHY) == 49


def test_a_fleet_that_died_but_for_one_server_is_believed_after_a_minute() -> None:
    fleet = Fleet(50)
    for name in fleet.names[1:]:
        fleet.probe(name, REFUSED)
    for second in range(62):
        assert fleet.count(UNHEALTHY) == 0, f"taken out after {second} s"
        fleet.pass_(1)
        fleet.probe(fleet.names[0], Look())
    for name in fleet.names[1:]:
        for _ in range(3):
            fleet.probe(name, REFUSED)
    assert fleet.count(UNHEALTHY) == 49


def test_who_sees_nobody_at_all_keeps_doubting_itself() -> None:
    fleet = Fleet(20)
    for _ in range(300):
        for name in fleet.names:
            fleet.probe(name, Look("no answer"))
        fleet.pass_(1)
    assert fleet.count(UNHEALTHY) == 0
    assert "prober-doubt" in {alert.kind for alert in fleet.machine.alarms()}


def test_a_few_suspects_are_no_reason_to_doubt() -> None:
    doubt = SelfDoubt()
    assert not any(doubt.suspected(f"s{n}", 20, 0.1 * n) for n in range(9))
    assert not SelfDoubt().suspected("only", 1, 0.0)
    spread = SelfDoubt()
    assert not any(spread.suspected(f"s{n}", 20, 6.0 * n) for n in range(20))


def test_a_new_registration_starts_over_and_a_new_prober_does_not() -> None:
    stored = ServerHealth(state=UNHEALTHY, registered_at=1, ejections=3, ejected_until=60_000)
    assert fresh(stored, 2, 5).state is HealthState.NEW
    machine = HealthMachine(Random(7))
    machine.watch("a", "default", 10, fresh(stored, 1, 5), Moment(10.0, 20_000))
    machine.probed("a", Look(), Moment(10.0, 20_000))
    machine.probed("a", Look(), Moment(49.9, 59_900))
    watch = machine.get("a")
    assert watch is not None
    assert watch.state is UNHEALTHY
    machine.probed("a", Look(), Moment(50.1, 60_100))
    assert watch.state is RECOVERING


def test_the_score_is_made_of_successes_latency_and_probes() -> None:
    score = Score()
    assert score.value(HEALTHY, 0.0) == 100
    for n in range(300):
        score.heard(Results(server_id="a", type="t", succeeded=10, elapsed=1000), n)
    assert score.value(HEALTHY, 300) == 100
    for n in range(20):
        score.heard(Results(server_id="a", type="t", succeeded=10, elapsed=8000), 300 + n)
    assert score.value(HEALTHY, 320) == pytest.approx(75, abs=2)
    score.heard(Results(server_id="a", type="t", faults=5000), 321)
    assert score.value(HEALTHY, 321) < 45
    assert score.value(HEALTHY, 3000) == pytest.approx(75, abs=2)
    for _ in range(20):
        score.probed(good=False)
    assert score.value(HEALTHY, 3000) == pytest.approx(50, abs=2)
    assert score.value(UNHEALTHY, 3000) == 0


def test_a_failing_server_is_told_at_once_and_a_good_one_once_a_second() -> None:
    tally = Tally("e")
    assert not any(tally.note("a", "t", Succeeded(), elapsed_ms=7, now=n) for n in range(1000))
    assert not tally.note("a", "t", Failed(error="HTTP 500"), elapsed_ms=1, now=1000)
    assert not tally.note("a", "t", Lost(reason="busy", http_status=429), elapsed_ms=1, now=1000)
    assert tally.note("a", "u", Lost(reason="refused", server_fault=True), elapsed_ms=1, now=1000)
    evidence = tally.take(1000)
    assert evidence is not None
    assert evidence.results == (
        Results(server_id="a", type="t", succeeded=1000, failed=1, run=1, elapsed=7000, slowest=7),
        Results(server_id="a", type="u", faults=1, detail="refused"),
    )
    assert not tally.note("a", "t", TimedOut(), elapsed_ms=1, now=1199)
    assert tally.note("a", "t", TimedOut(), elapsed_ms=1, now=1200)
    assert not tally.note("a", "t", Accepted(), elapsed_ms=1, now=1200)
    evidence = tally.take(1200)
    assert evidence is not None
    assert evidence.results[0].run == 0
    assert tally.take(1300) is None
