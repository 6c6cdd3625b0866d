"""Which server could take a task now: kept up bit by bit, and always what a look at every server would say."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.limits import Affinity, PoolSettings
from pointsman.contracts.record import Attempt
from pointsman.contracts.server import HealthState, ServerAdmin, ServerConfig, ServerHealth, Wanted
from pointsman.services.balancer.fleet import Fleet, ServerState
from pointsman.services.balancer.slots import Slots

NOW = 1_800_000_000_000
ANY = "default", frozenset[str]()
S = HealthState


@dataclass
class Wish:
    type: str = "work"
    affinity_key: str | None = None


def config(name: str, *, slots: int = 4, pool: str = "default", priority: int = 1, weight: int = 1,
           capabilities: tuple[str, ...] = (), registered_at: int = 1) -> ServerConfig:  # fmt: skip
    return ServerConfig(
        id=name,
        name=name,
        predict="http://s/predict",
        health="http://s/health",
        registered_at=registered_at,
        max_concurrent=slots,
        pool=pool,
        priority=priority,
        weight=weight,
        capabilities=capabilities,
    )


class Yard:
    """A fleet that has been known for a minute, and the slots it watches."""

    def __init__(self, *servers: ServerConfig, settings: PoolSettings | None = None) -> None:
        self.slots = Slots()
        self.fleet = Fleet(self.slots)
        self.fleet.has_free(ANY, NOW - 60_000)
        self.held = 0
        self.rng = Random(7)
        for one in servers:
            self.fleet.configure(one)
            self.health(one.id)
        if settings is not None:
            self.fleet.set_pool("default", settings)

    def health(self, name: str, state: HealthState = S.HEALTHY, since: int = NOW) -> None:
        self.fleet.set_health(name, ServerHealth(state=state, since=since, registered_at=1))

    def admin(self, name: str, wanted: Wanted) -> None:
        self.fleet.set_admin(name, ServerAdmin(wanted=wanted))

    def take(self, name: str, count: int = 1) -> None:
        for _ in range(count):
            self.held += 1
            self.slots.hold(name, f"t{self.held}/1/1")

    def server(self, name: str) -> ServerState:
        server = self.fleet.get(name)
        assert server is not None
        return server

    def pick(self, now: int = NOW, *, type: str = "work", key: str | None = None, avoid: str | None = None,
             needs: tuple[str, ...] = ()) -> str | None:  # fmt: skip
        requirement = "default", frozenset(needs)
        server = self.fleet.pick(requirement, Wish(type, key), now, now / 1000, self.rng, avoid=avoid)
        return server.id if server is not None else None

    def ended(self, name: str, now: int = NOW, *, type: str = "work", outcome: str = "succeeded", status: int | None = 200,
              retry_after_ms: int | None = None, fault: bool = False, took: int = 10) -> None:  # fmt: skip
        attempt = Attempt(number=1, server_id=name, started_at=now - took, finished_at=now, outcome=outcome,
                          http_status=status, retry_after_ms=retry_after_ms, server_fault=fault)  # fmt: skip
        self.fleet.observe(type, attempt, now / 1000)

    def failed(self, name: str, now: int = NOW, *, type: str = "work", times: int = 1) -> None:
        for _ in range(times):
            self.ended(name, now, type=type, outcome="failed", status=500, took=1)

    def why(self, name: str, requirement: tuple[str, frozenset[str]] = ANY, now: int = NOW) -> tuple[str, ...]:
        return self.fleet.refusals(self.server(name), requirement, now)


def test_nothing_can_take_a_task_where_nothing_is() -> None:
    yard = Yard()
    assert yard.pick() is None
    assert not yard.fleet.has_free(("nowhere", frozenset()), NOW)
    assert yard.fleet.algorithm("nowhere") is Algorithm.RESPONSE_TIME


def test_the_highest_priority_that_has_a_slot_is_taken() -> None:
    yard = Yard(config("a", slots=1, priority=5), config("b"), config("c"))
    assert yard.pick() == "a"
    yard.take("a")
    assert yard.pick() in ("b", "c")


def test_a_retry_goes_elsewhere_even_to_a_lower_priority() -> None:
    yard = Yard(config("a", priority=5), config("b", slots=1))
    assert yard.pick(avoid="a") == "b"
    yard.take("b")
    assert yard.pick(avoid="a") == "a"
    assert yard.pick(avoid="gone") == "a"


def test_only_servers_with_all_the_capabilities_match() -> None:
    yard = Yard(config("a"), config("b", capabilities=("gpu",)), config("c", capabilities=("gpu", "big")))
    assert yard.pick(needs=("big", "gpu")) == "c"
    assert {yard.pick(needs=("gpu",)) for _ in range(4)} == {"b", "c"}
    assert yard.pick(needs=("tpu",)) is None


def test_a_server_that_moves_to_another_pool_takes_its_slots_along() -> None:
    yard = Yard(config("a", slots=1))
    yard.take("a")
    yard.fleet.configure(config("a", slots=2, pool="other"))
    assert yard.pick() is None
    assert yard.fleet.has_free(("other", frozenset()), NOW)
    yard.take("a")
    assert not yard.fleet.has_free(("other", frozenset()), NOW)


def test_slots_held_before_a_server_is_known_count() -> None:
    yard = Yard()
    yard.take("a", 2)
    yard.fleet.configure(config("a", slots=2))
    yard.health("a")
    assert yard.pick() is None


def test_a_limit_lowered_below_what_runs_admits_nothing_until_enough_have_ended() -> None:
    yard = Yard(config("a", slots=8))
    yard.take("a", 8)
    yard.fleet.configure(config("a", slots=4))
    for ended in range(1, 5):
        yard.slots.free("a", f"t{ended}/1/1")
        assert yard.pick() is None
    yard.slots.free("a", "t5/1/1")
    assert yard.pick() == "a"


def test_backpressure_holds_a_server_until_its_time_and_then_it_is_free_by_itself() -> None:
    yard = Yard(config("a", slots=10))
    yard.ended("a", outcome="lost", status=429, retry_after_ms=2_000)
    assert yard.pick(NOW + 1_999) is None
    assert yard.fleet.earliest_hold(NOW) == NOW + 2_000
    assert yard.why("a", now=NOW) == ("held until 2027-01-15T08:00:02.000Z after 429",)
    assert yard.pick(NOW + 2_000) == "a"
    assert yard.server("a").limit == 9
    assert yard.fleet.earliest_hold(NOW + 2_000) is None


def test_a_limit_grows_by_one_in_a_second_in_which_half_was_in_use_if_only_for_a_moment() -> None:
    yard = Yard(config("a", slots=10))
    yard.ended("a", outcome="lost", status=429, retry_after_ms=0)
    yard.ended("a", outcome="lost", status=429, retry_after_ms=0)
    yard.fleet.tick(NOW, 1.0)
    assert yard.server("a").limit == 8
    yard.take("a", 4)
    for n in range(1, 5):
        yard.slots.free("a", f"t{n}/1/1")
    yard.fleet.tick(NOW, 2.0)
    assert yard.server("a").limit == 9
    yard.fleet.tick(NOW, 3.0)
    assert yard.server("a").limit == 9


@pytest.mark.parametrize(("passed", "slots"), [(0, 1), (3_000, 1), (3_001, 2), (15_000, 5), (29_999, 10), (30_000, 10)])
def test_a_returning_server_starts_slowly(passed: int, slots: int) -> None:
    yard = Yard(config("a", slots=10), config("b"), config("c"))
    yard.health("a", S.WARMING, NOW)
    yard.fleet.has_free(ANY, NOW + passed)
    assert yard.server("a").limit == slots


def test_the_next_slot_of_a_slow_start_opens_by_itself() -> None:
    yard = Yard(config("a", slots=10), config("b", slots=1, capabilities=("x",)), config("c", slots=1))
    yard.health("a", S.WARMING, NOW)
    yard.fleet.has_free(ANY, NOW)
    yard.take("a")
    assert yard.why("a") == ("slow start reached 1/1",)
    assert yard.fleet.earliest_hold(NOW) == NOW + 3_001
    yard.admin("b", Wanted.MAINTENANCE)
    yard.take("c")
    assert yard.pick(NOW + 3_000) is None
    assert yard.pick(NOW + 3_001) == "a"


def test_a_fleet_that_has_just_been_found_starts_at_full_speed() -> None:
    yard = Yard(config("a", slots=10), config("b"), config("c"))
    yard.health("a", S.WARMING, NOW - 31_000)
    yard.fleet.has_free(ANY, NOW - 31_000)
    assert yard.server("a").limit == 10


def test_a_pool_that_warms_up_by_more_than_half_starts_at_full_speed() -> None:
    yard = Yard(config("a", slots=10), config("b", slots=10), config("c", slots=10))
    yard.health("a", S.WARMING)
    yard.fleet.has_free(ANY, NOW)
    assert [server.limit for server in yard.fleet] == [1, 10, 10]
    yard.health("b", S.WARMING)
    assert [server.limit for server in yard.fleet] == [10, 10, 10]


def test_a_recovering_server_gets_one_task_at_a_time() -> None:
    yard = Yard(config("a"), config("b", capabilities=("x",)))
    yard.health("a", S.RECOVERING)
    assert yard.pick() in ("a", "b")
    yard.take("a")
    assert yard.why("a") == ("half open reached 1/1",)
    assert yard.pick() == "b"


def test_suspects_serve_only_when_the_pool_panics() -> None:
    yard = Yard(*(config(name, slots=10) for name in "abcd"))
    for name in "ab":
        yard.health(name, S.SUSPECT)
    assert {yard.pick() for _ in range(8)} == {"c", "d"}
    yard.health("c", S.UNHEALTHY)
    assert {yard.pick() for _ in range(9)} == {"a", "b", "d"}
    yard.admin("a", Wanted.DRAINING)
    assert {yard.pick() for _ in range(8)} == {"b", "d"}


def test_health_of_an_earlier_registration_does_not_count() -> None:
    yard = Yard(config("a"))
    yard.fleet.configure(config("a", registered_at=2))
    assert yard.pick() is None
    assert yard.why("a") == ("not probed yet",)


def test_every_reason_of_a_refusal_is_told() -> None:
    yard = Yard(config("a", slots=2, pool="other"))
    yard.take("a", 2)
    yard.admin("a", Wanted.DRAINING)
    yard.health("a", S.UNHEALTHY)
    yard.ended("a", outcome="failed", status=None, fault=True)
    assert yard.why("a", ("default", frozenset({"gpu", "big"}))) == (
        "in pool other",
        "lacks capability big",
        "lacks capability gpu",
        "draining",
        "unhealthy",
        "held until 2027-01-15T08:00:00.250Z after a fault",
        "limit reached 2/1",
    )


def by_key(affinity: Affinity) -> Yard:
    hashed = PoolSettings(algorithm=Algorithm.CONSISTENT_HASH, affinity=affinity)
    return Yard(*(config(name, slots=2) for name in "abcdef"), settings=hashed)


def test_a_key_that_must_go_home_waits_while_its_server_is_full() -> None:
    yard = by_key(Affinity.REQUIRE)
    home = yard.pick(key="k")
    assert home is not None
    yard.take(home, 2)
    assert yard.fleet.has_free(ANY, NOW)
    assert yard.pick(key="k") is None
    assert yard.pick(key="k", avoid=home) is None
    yard.slots.free(home, "t1/1/1")
    assert yard.pick(key="k", avoid=home) == home


def test_who_waits_for_the_home_of_its_key_waits_for_that_server() -> None:
    yard = by_key(Affinity.REQUIRE)
    home = yard.pick(key="k")
    assert home is not None
    assert yard.fleet.free_slots(home) == 2
    yard.take(home, 2)
    assert yard.fleet.wait(ANY, Wish(affinity_key="k"), NOW).server_id == home
    assert yard.fleet.free_slots(home) == 0
    yard.health(home, S.UNHEALTHY)
    yard.fleet.settle(NOW)
    assert yard.fleet.free_slots(home) == math.inf


def test_who_waits_for_the_end_of_a_probation_looks_again_soon_for_another_slot() -> None:
    yard = well_elsewhere()
    yard.failed("a", times=3)
    only(yard, "a")
    assert yard.fleet.on_probation("default", "work", NOW) == {"a"}
    assert yard.fleet.wait(ANY, Wish(), NOW).until == NOW + 50
    assert yard.fleet.wait(ANY, Wish(), NOW + 230).until == NOW + 250
    assert yard.fleet.on_probation("default", "work", NOW + 250) == set()


def test_the_keys_of_a_server_that_stops_serving_go_to_the_next_and_come_back() -> None:
    yard = by_key(Affinity.REQUIRE)
    home = yard.pick(key="k")
    assert home is not None
    yard.health(home, S.UNHEALTHY)
    second = yard.pick(key="k")
    assert second not in (None, home)
    yard.health(home)
    assert yard.pick(key="k") == home


def test_a_key_that_may_go_elsewhere_spills_to_the_next_and_is_not_held_up() -> None:
    yard = by_key(Affinity.PREFER)
    home = yard.pick(key="k")
    assert home is not None
    yard.take(home, 2)
    second = yard.pick(key="k")
    assert second not in (None, home)
    assert yard.pick(key="k", avoid=second) not in (None, home, second)


def test_a_key_spills_before_its_home_is_full_when_that_is_far_above_the_average() -> None:
    hashed = PoolSettings(algorithm=Algorithm.CONSISTENT_HASH)
    yard = Yard(*(config(name, slots=10) for name in "abcd"), settings=hashed)
    home = yard.pick(key="k")
    assert home is not None
    for name in "abcd":
        yard.take(name, 9 if name == home else 1)
    assert yard.pick(key="k") != home


def test_without_a_key_a_pool_that_hashes_takes_the_fastest() -> None:
    yard = by_key(Affinity.REQUIRE)
    for name, took in zip("abcdef", (50, 50, 5, 50, 50, 50), strict=True):
        yard.ended(name, took=took)
    assert yard.pick() == "c"


def well_elsewhere() -> Yard:
    """Five servers that have just done well with `work`."""
    yard = Yard(*(config(name) for name in "abcde"))
    for name in "abcde":
        yard.ended(name)
    return yard


def only(yard: Yard, name: str) -> None:
    """No slot but on this server."""
    for one in yard.fleet:
        if one.id != name:
            yard.take(one.id, one.limit - one.active)


def test_a_server_that_fails_what_others_complete_gets_that_type_no_more_for_a_while() -> None:
    yard = well_elsewhere()
    yard.failed("a", times=3)
    only(yard, "a")
    assert yard.pick() is None
    assert yard.pick(type="other") == "a"
    assert yard.fleet.earliest_hold(NOW) == NOW + 250
    assert yard.pick(NOW + 250) == "a"
    assert yard.pick(NOW + 251) is None
    yard.failed("a", NOW + 260)
    assert yard.pick(NOW + 759) is None
    assert yard.pick(NOW + 760) == "a"
    yard.ended("a", NOW + 800)
    assert yard.pick(NOW + 801) == "a"
    assert yard.pick(NOW + 801) == "a"


def test_answers_to_what_began_before_the_failures_end_no_probation() -> None:
    yard = well_elsewhere()
    yard.failed("a", times=3)
    yard.ended("a", NOW + 100, took=5_000)
    only(yard, "a")
    assert yard.pick(NOW + 100) is None


def test_a_poison_type_that_fails_everywhere_is_held_back_nowhere() -> None:
    yard = well_elsewhere()
    for n in range(200):
        name = yard.pick(NOW + n)
        assert name is not None
        yard.failed(name, NOW + n)
    only(yard, "a")
    assert yard.pick(NOW + 60_000) == "a"


def test_what_fails_on_the_only_server_is_not_held_against_it() -> None:
    yard = Yard(config("a"))
    yard.failed("a", times=50)
    assert yard.pick() == "a"


def test_refused_requests_and_lost_attempts_are_no_failures_of_the_server() -> None:
    yard = well_elsewhere()
    for _ in range(10):
        yard.ended("a", outcome="failed", status=422)
        yard.ended("a", outcome="lost", status=None)
    only(yard, "a")
    assert yard.pick() == "a"


def test_a_trial_that_was_lost_is_followed_by_another() -> None:
    yard = well_elsewhere()
    yard.failed("a", times=3)
    only(yard, "a")
    assert yard.pick(NOW + 250) == "a"
    yard.ended("a", NOW + 300, outcome="lost", status=None)
    assert yard.pick(NOW + 300) == "a"


def test_no_more_than_three_tenths_of_a_pool_are_on_probation_for_a_type() -> None:
    yard = Yard(*(config(f"s{n}") for n in range(10)))
    for n in range(10):
        yard.ended(f"s{n}")
    for n in range(4):
        yard.failed(f"s{n}", times=3)
    for n in range(4, 10):
        yard.take(f"s{n}", 4)
    assert {yard.pick() for _ in range(20)} == {"s3"}


def test_a_new_algorithm_counts_from_the_next_pick() -> None:
    yard = Yard(*(config(name) for name in "abc"), settings=PoolSettings(algorithm=Algorithm.ROUND_ROBIN))
    assert [yard.pick() for _ in range(6)] == list("abcabc")
    yard.fleet.set_pool("default", PoolSettings(algorithm=Algorithm.FIRST))
    assert [yard.pick() for _ in range(3)] == ["a"] * 3


def test_a_newcomer_to_the_round_neither_floods_nor_starves() -> None:
    yard = Yard(*(config(name) for name in "abcd"), settings=PoolSettings(algorithm=Algorithm.ROUND_ROBIN))
    for _ in range(1002):
        yard.pick()
    yard.fleet.configure(config("e"))
    yard.health("e")
    picks = [yard.pick() for _ in range(50)]
    assert {name: picks.count(name) for name in "abcde"} == dict.fromkeys("abcde", 10)


NAMES = st.sampled_from("abcd")
POOLS = ("default", "other")
NEEDS = ((), ("x",), ("y",), ("x", "y"))


class FleetMachine(RuleBasedStateMachine):
    """Everything that may change, in any order; what the fleet says is compared with a look at every server."""

    @initialize(algorithm=st.sampled_from(Algorithm), affinity=st.sampled_from(Affinity))
    def begin(self, algorithm: Algorithm, affinity: Affinity) -> None:
        self.slots = Slots()
        self.fleet = Fleet(self.slots)
        self.now = self.known_since = NOW
        self.fleet.tick(self.now, self.now / 1000)
        self.configs: dict[str, ServerConfig] = {}
        self.admins: dict[str, ServerAdmin] = {}
        self.healths: dict[str, ServerHealth] = {}
        self.held: dict[str, list[str]] = {name: [] for name in "abcd"}
        self.count = 0
        self.rng = Random(7)
        self.settings = PoolSettings(algorithm=algorithm, affinity=affinity)
        for pool in POOLS:
            self.fleet.set_pool(pool, self.settings)
        for name in "abcd":
            self.configure(name, slots=3, pool="default", priority=1, capabilities=("x",), registered_at=1)
            self.judge(name, S.HEALTHY, 0)

    @rule(name=NAMES, slots=st.sampled_from([1, 3, 10]), pool=st.sampled_from(POOLS), priority=st.integers(0, 1),
          capabilities=st.sampled_from(NEEDS), registered_at=st.sampled_from([1, 1, 1, 2]))  # fmt: skip
    def configure(
        self, name: str, slots: int, pool: str, priority: int, capabilities: tuple[str, ...], registered_at: int
    ) -> None:
        self.configs[name] = config(name, slots=slots, pool=pool, priority=priority, weight=slots,
                                    capabilities=capabilities, registered_at=registered_at)  # fmt: skip
        self.fleet.configure(self.configs[name])

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.configs.pop(name, None)
        self.fleet.remove(name)

    @rule(name=NAMES, wanted=st.sampled_from([Wanted.ACTIVE, Wanted.ACTIVE, Wanted.DRAINING, Wanted.MAINTENANCE, None]))
    def order(self, name: str, wanted: Wanted | None) -> None:
        admin = ServerAdmin(wanted=wanted) if wanted is not None else None
        self.admins[name] = admin or ServerAdmin()
        self.fleet.set_admin(name, admin)

    @rule(name=NAMES, state=st.sampled_from([S.HEALTHY, *S, None]), ago=st.sampled_from([0, 2_000, 31_000]))
    def judge(self, name: str, state: HealthState | None, ago: int) -> None:
        health = ServerHealth(state=state, since=self.now - ago, registered_at=1) if state is not None else None
        self.healths[name] = health or ServerHealth()
        self.fleet.set_health(name, health)

    @rule(name=NAMES)
    def take(self, name: str) -> None:
        self.count += 1
        self.held[name].append(f"t{self.count}/1/1")
        self.slots.hold(name, self.held[name][-1])

    @rule(name=NAMES)
    def give_back(self, name: str) -> None:
        if self.held[name]:
            self.slots.free(name, self.held[name].pop())

    @rule(
        name=NAMES, how=st.sampled_from(["succeeded", "429", "fault", "failed"]), type=st.sampled_from(["work", "rest"])
    )
    def end(self, name: str, how: str, type: str) -> None:
        outcome = {"429": "lost", "fault": "failed"}.get(how, how)
        attempt = Attempt(number=1, server_id=name, started_at=self.now - 10, finished_at=self.now, outcome=outcome,
                          http_status=429 if how == "429" else 500, server_fault=how == "fault",
                          retry_after_ms=700 if how == "429" else None)  # fmt: skip
        self.fleet.observe(type, attempt, self.now / 1000)

    @rule(passed=st.sampled_from([1, 300, 1_000, 7_000, 31_000]))
    def wait(self, passed: int) -> None:
        self.now += passed

    @rule()
    def tick(self) -> None:
        self.fleet.tick(self.now, self.now / 1000)

    @precondition(lambda self: self.configs)
    @rule(pool=st.sampled_from(POOLS), needs=st.sampled_from(NEEDS), type=st.sampled_from(["work", "rest"]),
          avoid=st.none() | NAMES, key=st.sampled_from([None, "k", "l"]))  # fmt: skip
    def pick(self, pool: str, needs: tuple[str, ...], type: str, avoid: str | None, key: str | None) -> None:
        requirement = pool, frozenset(needs)
        able = {name for name in self.able(requirement) if not self.is_on_probation(pool, type, name)}
        elsewhere = able - {avoid} or able
        picked = self.fleet.pick(requirement, Wish(type, key), self.now, self.now / 1000, self.rng, avoid=avoid)
        if picked is None and self.must_go_home(key):
            return
        assert (picked is None) == (not able)
        if picked is not None:
            assert picked.id in able
            if not self.must_go_home(key):
                assert picked.id in elsewhere
            if self.settings.algorithm is not Algorithm.CONSISTENT_HASH:
                assert picked.config.priority == max(self.configs[name].priority for name in elsewhere)

    def must_go_home(self, key: str | None) -> bool:
        hashed = self.settings.algorithm is Algorithm.CONSISTENT_HASH and self.settings.affinity is Affinity.REQUIRE
        return hashed and key is not None

    def is_on_probation(self, pool: str, type: str, name: str) -> bool:
        return name in self.fleet._pools[pool].probation.held(type, self.now)

    def able(self, requirement: tuple[str, frozenset[str]]) -> set[str]:
        """The naive scan."""
        pool, capabilities = requirement
        return {
            name
            for name, one in self.configs.items()
            if one.pool == pool and capabilities <= set(one.capabilities) and self.could(name)
        }

    def could(self, name: str) -> bool:
        server = self.fleet.get(name)
        assert server is not None
        is_open = self.admin(name) is Wanted.ACTIVE and self.state(name) in self.serving(self.configs[name].pool)
        limit = min(server.effective.value, self.allowed(name))
        return is_open and server.effective.held_until <= self.now and len(self.held[name]) < limit

    def admin(self, name: str) -> Wanted:
        return self.admins.get(name, ServerAdmin()).wanted

    def state(self, name: str) -> HealthState:
        health = self.healths.get(name, ServerHealth())
        return health.state if health.registered_at == self.configs[name].registered_at else S.NEW

    def of(self, pool: str) -> Iterator[tuple[str, ServerConfig]]:
        """The servers of a pool that are wanted."""
        return (
            (name, one) for name, one in self.configs.items() if one.pool == pool and self.admin(name) is Wanted.ACTIVE
        )

    def serving(self, pool: str) -> set[HealthState]:
        good = {S.HEALTHY, S.WARMING, S.RECOVERING}
        total = sum(one.max_concurrent for _, one in self.of(pool))
        left = sum(one.max_concurrent for name, one in self.of(pool) if self.state(name) in good)
        return good | {S.SUSPECT} if left < total / 2 else good

    def allowed(self, name: str) -> int:
        most, health = self.configs[name].max_concurrent, self.healths.get(name, ServerHealth())
        if self.state(name) is S.RECOVERING:
            return 1
        states = [self.state(other) for other, _ in self.of(self.configs[name].pool)]
        is_full = states.count(S.WARMING) > len(states) / 2 or health.since < self.known_since + 30_000
        if self.state(name) is not S.WARMING or is_full:
            return most
        return min(most, math.ceil(round(most * max(0.1, (self.now - health.since) / 30_000), 9)))

    @invariant()
    def the_fleet_says_what_a_look_at_every_server_says(self) -> None:
        for pool in POOLS:
            for needs in NEEDS:
                requirement = pool, frozenset(needs)
                able = self.able(requirement)
                assert self.fleet.has_free(requirement, self.now) == bool(able)
                willing = {s.id for s in self.fleet if not self.fleet.refusals(s, requirement, self.now)}
                assert willing == able


FleetMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestFleet = FleetMachine.TestCase
