"""Registration, orders, views and heartbeats over a bucket in memory."""

from dataclasses import dataclass, field

import msgspec
import pytest

from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.balancer import LoadFrame
from pointsman.contracts.commands import BeatServer, RegisterServer
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.server import (
    Endpoints,
    HealthState,
    Heartbeat,
    HeartbeatRequest,
    MaintenanceRequest,
    ServerAdmin,
    ServerConfig,
    ServerHealth,
    ServerQuery,
    ServerRequest,
    Tls,
    Wanted,
)
from pointsman.contracts.statistics import ServerStatistics
from pointsman.contracts.subjects import HEADER_SERVER_CREDENTIAL, key
from pointsman.services.registry import rules, view
from pointsman.services.registry.fleet import Fleet
from pointsman.services.registry.heartbeats import Heartbeats, beat_of
from pointsman.services.registry.orders import SETTLE_MS, Orders
from pointsman.services.registry.registration import Registered, Registration
from pointsman.services.registry.store import ServerStore
from pointsman.services.runtime.egress import policy_of
from pointsman.services.runtime.follow import Followed
from pointsman.services.runtime.kv import Entry, RevisionMoved
from pointsman.services.runtime.serve import Call
from tests.support.certificates import Identity

ADMIN = Actor(sub="ann", roles=(Role.ADMIN,))
NOBODY = Actor(sub="server")


@dataclass
class Memory:
    """A bucket, and the fleet that follows it."""

    fleet: Fleet
    entries: dict[str, Entry] = field(default_factory=dict)
    sequence: int = 0
    before_update: dict[str, list[str]] = field(default_factory=dict)

    async def get(self, name: str, *, latest: bool = False) -> Entry | None:
        return self.entries.get(name)

    async def create(self, name: str, data: bytes, *, operation: str, ttl_s: int | None = None) -> int:
        return await self.update(name, data, revision=0, operation=operation, ttl_s=ttl_s)

    async def update(self, name: str, data: bytes, *, revision: int, operation: str, ttl_s: int | None = None) -> int:
        last = self.entries.get(name)
        if (last.revision if last else 0) != revision:
            raise RevisionMoved(name)
        self.sequence += 1
        self.entries[name] = Entry(name, self.sequence, data, operation)
        self.fleet.fold(Followed(key("servers", name), self.sequence, data, not data))
        return self.sequence


@dataclass
class Time:
    ms: int = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


@dataclass
class Said:
    subjects: list[str] = field(default_factory=list)

    async def publish(self, subject: str, data: bytes, headers: object = None, reply: str = "") -> None:
        self.subjects.append(subject)


class Desk:
    def __init__(self) -> None:
        self.time, self.fleet, self.said = Time(), Fleet(), Said()
        self.bucket = Memory(self.fleet)
        self.store = ServerStore(self.bucket)
        self.registration = Registration(self.store, policy_of(("10.0.0.0/8",)), self.time)
        self.orders = Orders(self.store, self.fleet, self.registration, self.time)
        self.heartbeats = Heartbeats(self.said, self.fleet, self.store, self.orders, self.time)  # type: ignore[arg-type]

    async def register(self, *, if_match: int | None = None, **changes: object) -> Registered:
        return await self.registration.register(RegisterServer(server=asked(**changes), if_match=if_match), "ann")

    def running(self, **active: int) -> None:
        self.fleet.fold_load(LoadFrame(epoch=1, active=active, limits={}, cancel={}, pending=0, as_of=self.time.ms))

    def admin(self, server_id: str) -> ServerAdmin:
        member = self.fleet.member(server_id)
        assert member is not None
        return member.admin

    async def beat(self, server_id: str, actor: Actor = ADMIN, credential: str = "", **beat: object) -> bool:
        headers = {HEADER_SERVER_CREDENTIAL: credential} if credential else {}
        request = msgspec.convert(beat, HeartbeatRequest)
        answer = await self.heartbeats.take(Call(actor, b"", headers), BeatServer(id=server_id, heartbeat=request))
        return answer.drain


def asked(**changes: object) -> ServerRequest:
    given: dict[str, object] = {"id": "gpu.1", "endpoints": Endpoints(predict="http://10.0.0.1:9000/predict")}
    return ServerRequest(**(given | changes))  # type: ignore[arg-type]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def refusal(work: object) -> PointsmanError:
    with pytest.raises(PointsmanError) as refused:
        await work  # type: ignore[misc]
    return refused.value


async def test_a_new_server_gets_its_credentials_once(desk: Desk) -> None:
    first, again = await desk.register(), await desk.register()
    assert (first.status, again.status) == (201, 200)
    assert first.answer.credential is not None
    assert first.answer.credential.startswith("psk_")
    assert (again.answer.credential, again.answer.signing_secret) == (None, None)
    assert b"psk_" not in b"".join(entry.data for entry in desk.bucket.entries.values())
    assert list(desk.bucket.entries) == ["secret.gpu=1", "config.gpu=1"]


async def test_another_configuration_needs_the_revision_it_replaces(desk: Desk) -> None:
    first = await desk.register()
    assert (await refusal(desk.register(weight=2))).status == 409
    assert (await refusal(desk.register(api_key="k"))).status == 409
    assert (await refusal(desk.register(weight=2, if_match=first.revision + 1))).status == 412
    assert (await refusal(desk.register(id="other", if_match=1))).status == 412
    second = await desk.register(weight=2, api_key="k", if_match=first.revision)
    assert (second.status, second.answer.credential) == (200, None)
    secret = (await desk.store.secret("gpu.1")).value
    assert secret is not None
    assert secret.api_key == "k"
    assert rules.proves(first.answer.credential or "", secret, desk.time.ms)


async def test_a_replaced_server_is_new_until_it_is_probed(desk: Desk) -> None:
    first = await desk.register()
    health = ServerHealth(state=HealthState.HEALTHY, since=desk.time.ms, registered_at=desk.time.ms)
    await desk.store.put_health("gpu.1", health, 0)
    desk.time.ms += 10
    await desk.register(weight=2, if_match=first.revision)
    assert desk.fleet.health("gpu.1").state is HealthState.NEW


async def test_who_loses_a_race_does_not_break_the_winner_s_secret(desk: Desk) -> None:
    winner = await desk.register()
    desk.bucket.entries.pop("config.gpu=1")
    original = desk.store.put_config

    async def somebody_is_faster(config: ServerConfig, revision: int) -> int:
        desk.store.put_config = original  # type: ignore[method-assign]
        await original(config, revision)
        return await original(config, revision)

    desk.store.put_config = somebody_is_faster  # type: ignore[method-assign]
    loser = await desk.register()
    assert (loser.status, loser.answer.credential) == (200, None)
    assert rules.proves(winner.answer.credential or "", (await desk.store.secret("gpu.1")).value, desk.time.ms)


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"endpoints": Endpoints(predict="http://127.0.0.1/")}, 422, "endpoints.predict"),
        ({"endpoints": Endpoints(predict="http://10.0.0.1/", health="ftp://10.0.0.1/")}, 422, "endpoints.health"),
        ({"endpoints": Endpoints(predict="http://10.0.0.1/", metrics="http://[::1]/")}, 422, "endpoints.metrics"),
        ({"endpoints": None, "url": "http://169.254.169.254"}, 422, "url"),
        ({"endpoints": None, "url": "http://[::1"}, 422, "url"),
        ({"endpoints": None}, 400, "endpoints"),
        ({"url": "http://10.0.0.1"}, 400, "endpoints"),
        ({"endpoints": None, "url": "http://10.0.0.1?x=1"}, 400, "url"),
        ({"api_key": "a\r\nX-Evil: 1"}, 400, "apiKey"),
        ({"api_key": "schlüssel"}, 400, "apiKey"),
        ({"name": "a\0b"}, 400, "name"),
        ({"version": "1\0"}, 400, "version"),
        ({"labels": {"zone": "\0"}}, 400, "labels"),
        ({"labels": {"\0": "a"}}, 400, "labels"),
        ({"id": "maintenance"}, 400, "id"),
    ],
)
async def test_a_bad_registration_names_the_field(
    desk: Desk, changes: dict[str, object], status: int, field: str
) -> None:
    refused = await refusal(desk.register(**changes))  # type: ignore[arg-type]
    assert (refused.status, refused.errors[0].field) == (status, field)
    assert desk.bucket.entries == {}


@pytest.mark.parametrize(
    ("request_", "predict", "health"),
    [
        (asked(), "http://10.0.0.1:9000/predict", "http://10.0.0.1:9000/health"),
        (asked(endpoints=None, url="http://h:8000/v1/"), "http://h:8000/v1/predict", "http://h:8000/v1/health"),
        (
            asked(endpoints=Endpoints(predict="https://h/a?b=c", health="https://i/up")),
            "https://h/a?b=c",
            "https://i/up",
        ),
    ],
)
def test_endpoints_that_are_left_out_are_derived(request_: ServerRequest, predict: str, health: str) -> None:
    config = rules.config_of(request_, "s", 1, "ann")
    assert (config.predict, config.health) == (predict, health)


async def test_an_unregistered_server_is_gone_and_its_id_free_again(desk: Desk) -> None:
    first = await desk.register()
    await desk.registration.remove("gpu.1")
    assert desk.fleet.member("gpu.1") is None
    assert (await refusal(desk.registration.remove("gpu.1"))).status == 404
    again = await desk.register()
    assert again.status == 201
    assert again.answer.credential != first.answer.credential


async def test_an_order_left_by_a_broken_removal_does_not_hold_for_the_next_server(desk: Desk) -> None:
    await desk.register()
    await desk.orders.remove_after_drain("gpu.1", "ann")
    config = await desk.store.config("gpu.1")
    await desk.bucket.update("config.gpu=1", b"", revision=config.revision, operation="crash")
    await desk.register()
    assert desk.admin("gpu.1").wanted is Wanted.ACTIVE


async def test_maintenance_is_at_once_when_no_time_is_given(desk: Desk) -> None:
    await desk.register()
    order = MaintenanceRequest(enabled=True, reason="disk", drain_timeout_ms=0)
    assert await desk.orders.maintain("gpu.1", order, "ann")
    assert (desk.admin("gpu.1").wanted, desk.admin("gpu.1").reason) == (Wanted.MAINTENANCE, "disk")


async def test_even_an_idle_server_drains_until_the_leader_has_told_again(desk: Desk) -> None:
    await desk.register()
    await desk.orders.maintain("gpu.1", MaintenanceRequest(enabled=True), "ann")
    assert desk.admin("gpu.1").wanted is Wanted.DRAINING
    desk.time.ms += SETTLE_MS
    await desk.orders.complete_drains()
    assert desk.admin("gpu.1").wanted is Wanted.MAINTENANCE


async def test_maintenance_waits_for_what_runs(desk: Desk) -> None:
    await desk.register()
    desk.running(**{"gpu.1": 1})
    await desk.orders.maintain("gpu.1", MaintenanceRequest(maintenance=True), "ann")
    assert desk.admin("gpu.1").wanted is Wanted.DRAINING
    desk.time.ms += SETTLE_MS
    await desk.orders.complete_drains()
    assert desk.admin("gpu.1").wanted is Wanted.DRAINING
    desk.running()
    await desk.orders.complete_drains()
    assert desk.admin("gpu.1").wanted is Wanted.MAINTENANCE


async def test_a_drain_ends_with_its_time(desk: Desk) -> None:
    await desk.register()
    desk.running(**{"gpu.1": 1})
    await desk.orders.maintain("gpu.1", MaintenanceRequest(enabled=True, drain_timeout_ms=5_000), "ann")
    desk.time.ms += 4_999
    await desk.orders.complete_drains()
    assert desk.admin("gpu.1").wanted is Wanted.DRAINING
    desk.time.ms += 1
    await desk.orders.complete_drains()
    assert desk.admin("gpu.1").wanted is Wanted.MAINTENANCE


async def test_a_server_that_comes_back_is_probed_first(desk: Desk) -> None:
    await desk.register()
    registered_at = desk.time.ms
    await desk.store.put_health(
        "gpu.1", ServerHealth(state=HealthState.HEALTHY, since=registered_at, registered_at=registered_at), 0
    )
    await desk.orders.maintain("gpu.1", MaintenanceRequest(enabled=True), "ann")
    desk.time.ms += 1_000
    assert not await desk.orders.maintain("gpu.1", MaintenanceRequest(enabled=False), "ann")
    assert desk.admin("gpu.1").wanted is Wanted.ACTIVE
    assert desk.fleet.health("gpu.1").state is HealthState.NEW


async def test_maintenance_takes_one_of_its_two_names_and_a_server_that_exists(desk: Desk) -> None:
    await desk.register()
    for request in (MaintenanceRequest(), MaintenanceRequest(enabled=True, maintenance=True)):
        assert (await refusal(desk.orders.maintain("gpu.1", request, "ann"))).status == 400
    for enabled in (True, False):
        unknown = desk.orders.maintain("unknown", MaintenanceRequest(enabled=enabled), "ann")
        assert (await refusal(unknown)).status == 404


async def test_unregister_with_drain_removes_when_nothing_runs_any_more(desk: Desk) -> None:
    await desk.register()
    desk.running(**{"gpu.1": 1})
    await desk.orders.remove_after_drain("gpu.1", "ann")
    until = desk.admin("gpu.1").until
    desk.time.ms += SETTLE_MS
    await desk.orders.remove_after_drain("gpu.1", "ann")
    assert desk.admin("gpu.1").until == until
    back = desk.orders.maintain("gpu.1", MaintenanceRequest(enabled=False), "ann")
    assert (await refusal(back)).status == 409
    desk.running()
    await desk.orders.complete_drains()
    assert desk.fleet.member("gpu.1") is None


async def test_a_heartbeat_is_proven_by_role_or_by_the_server_s_own_credential(desk: Desk) -> None:
    mine = (await desk.register()).answer.credential or ""
    other = (await desk.register(id="other", weight=3)).answer.credential or ""
    assert not await desk.beat("gpu.1")
    assert not await desk.beat("gpu.1", Actor(sub="b", roles=(Role.SERVICE,)))
    assert not await desk.beat("gpu.1", NOBODY, mine)
    for actor, credential in ((NOBODY, other), (ADMIN, other), (NOBODY, "psk_x"), (NOBODY, "")):
        assert (await refusal(desk.beat("gpu.1", actor, credential))).status == 403
    assert (await refusal(desk.beat("viewer", Actor(sub="v", roles=(Role.VIEWER,))))).status == 403
    assert (await refusal(desk.beat("unknown"))).status == 404


async def test_an_older_heartbeat_of_the_same_boot_is_refused(desk: Desk) -> None:
    await desk.register()
    await desk.beat("gpu.1", seq=5, bootId="a")
    assert (await refusal(desk.beat("gpu.1", seq=4, bootId="a"))).status == 409
    await desk.beat("gpu.1", seq=5, bootId="a")
    await desk.beat("gpu.1", seq=1, bootId="b")
    assert len(desk.said.subjects) == 3


async def test_a_late_heartbeat_from_another_replica_does_not_undo_a_newer_one(desk: Desk) -> None:
    await desk.register()
    await desk.beat("gpu.1", seq=5, bootId="a")
    desk.fleet.fold_beat(Heartbeat(server_id="gpu.1", at=1, status="healthy", seq=4, boot_id="a"))
    assert (await refusal(desk.beat("gpu.1", seq=4, bootId="a"))).status == 409


def test_a_heartbeat_of_a_server_that_is_gone_is_not_kept(desk: Desk) -> None:
    desk.fleet.fold_beat(Heartbeat(server_id="gone", at=1, status="healthy"))
    assert desk.fleet.beat("gone") is None


def test_everything_a_server_says_of_itself_is_told_on() -> None:
    request = HeartbeatRequest(running=("t1/1",), free_slots=3, ready=False)
    told = beat_of("gpu.1", request, 7)
    assert (told.running, told.free_slots, told.ready) == (("t1/1",), 3, False)


async def test_a_draining_server_hears_of_it_in_its_heartbeat(desk: Desk) -> None:
    await desk.register()
    await desk.orders.maintain("gpu.1", MaintenanceRequest(enabled=True), "ann")
    assert await desk.beat("gpu.1")


async def test_the_list_is_filtered_and_paged(desk: Desk) -> None:
    for number in range(7):
        await desk.register(id=f"s{number}", pool="even" if number % 2 == 0 else "odd", groups=(f"g{number % 3}",))
    await desk.orders.maintain("s3", MaintenanceRequest(enabled=True, drain_timeout_ms=0), "ann")

    def listed(**query: object) -> list[str]:
        page = view.page_of(desk.fleet, ServerQuery(**query), desk.time.ms)  # type: ignore[arg-type]
        return [server.id for server in page.servers]

    assert listed(pool="odd") == ["s1", "s3", "s5"]
    assert listed(group="g0") == ["s0", "s3", "s6"]
    assert listed(status="maintenance") == ["s3"]
    assert listed(status="online", pool="odd") == ["s1", "s5"]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = view.page_of(desk.fleet, ServerQuery(limit=3, cursor=cursor), desk.time.ms)
        seen += [server.id for server in page.servers]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [f"s{number}" for number in range(7)]
    with pytest.raises(PointsmanError, match="online, offline, maintenance, degraded, draining, initializing"):
        listed(status="sleepy")
    for query in ({"cursor": "x"}, {"cursor": "!"}, {"cursor": "ü"}, {"cursor": "AAAA"}, {"status": "sleepy"}):
        with pytest.raises(PointsmanError) as refused:
            listed(**query)
        assert refused.value.status == 400


async def test_a_walk_by_cursor_misses_and_repeats_nothing_while_servers_come_and_go(desk: Desk) -> None:
    for number in range(20):
        await desk.register(id=f"s{number:02}")
    seen: list[str] = []
    cursor: str | None = None
    for step in range(5):
        page = view.page_of(desk.fleet, ServerQuery(limit=4, cursor=cursor), desk.time.ms)
        seen += [server.id for server in page.servers]
        cursor = page.cursor
        await desk.register(id=f"a{step}")
        await desk.registration.remove(seen[-1])
    assert seen == [f"s{number:02}" for number in range(20)]
    assert cursor is None


async def test_what_clients_see_of_a_server(desk: Desk) -> None:
    await desk.register(api_key="very secret", max_concurrent=4)
    desk.running(**{"gpu.1": 3})
    member = desk.fleet.member("gpu.1")
    assert member is not None
    assert member.config is not None
    server = view.server_view(desk.fleet, member.config, member, desk.time.ms + 500)
    assert (server.status, server.health.status, server.active_tasks, server.current_load) == (
        *("online", "healthy"),
        *(3, 0.75),
    )
    assert (server.uptime, server.last_heartbeat, server.effective_limit) == (500, None, 4)
    assert b"secret" not in msgspec.json.encode(server)


async def test_the_metrics_of_a_server_are_those_of_the_window(desk: Desk) -> None:
    await desk.register(max_concurrent=4, capabilities=("gpu",))
    desk.running(**{"gpu.1": 1})
    member = desk.fleet.member("gpu.1")
    assert member is not None
    assert member.config is not None
    told = ServerStatistics(
        server_id="gpu.1",
        tasks_processed=10,
        success_count=9,
        failure_count=1,
        success_rate=90.0,
        average_processing_time=850.0,
        p50=800.0,
        p95=1_200.0,
        p99=1_500.0,
        uptime=1,
        as_of=1,
    )
    seen = view.metrics_view(desk.fleet, member.config, member, told, desk.time.ms + 500).metrics
    assert (seen.tasks_processed, seen.success_count, seen.failure_count, seen.success_rate) == (10, 9, 1, 90.0)
    assert (seen.average_response_time, seen.p50, seen.p95, seen.p99) == (850.0, 800.0, 1_200.0, 1_500.0)
    assert (seen.active_tasks, seen.current_load, seen.max_capacity, seen.uptime) == (1, 0.25, 4, 500)
    assert (seen.healthy, seen.status, seen.capabilities) == (True, "online", ("gpu",))


@pytest.mark.parametrize("window", ["soon", "0h", "1y", "1h ", ""])
def test_an_unknown_window_is_refused_with_those_there_are(window: str) -> None:
    with pytest.raises(PointsmanError) as refused:
        rules.check_window(window)
    assert (refused.value.status, refused.value.errors[0].field) == (400, "window")
    assert "s, m, h, d" in refused.value.errors[0].message


@pytest.mark.parametrize(
    ("wanted", "state", "status"),
    [
        (Wanted.ACTIVE, HealthState.NEW, "online"),
        (Wanted.ACTIVE, HealthState.WARMING, "online"),
        (Wanted.ACTIVE, HealthState.HEALTHY, "online"),
        (Wanted.ACTIVE, HealthState.SUSPECT, "degraded"),
        (Wanted.ACTIVE, HealthState.RECOVERING, "degraded"),
        (Wanted.ACTIVE, HealthState.UNHEALTHY, "offline"),
        *((Wanted.DRAINING, state, "draining") for state in HealthState),
        *((Wanted.MAINTENANCE, state, "maintenance") for state in HealthState),
    ],
)
def test_the_status_of_both_axes(wanted: Wanted, state: HealthState, status: str) -> None:
    assert view.status_of(wanted, state) == status


async def test_tls_is_checked_kept_with_the_secrets_and_never_shown(desk: Desk) -> None:
    authority = Identity("authority")
    https: dict[str, object] = {"endpoints": Endpoints(predict="https://10.0.0.1:9000/predict")}
    spoiled = await refusal(desk.register(**https, tls=Tls(ca="none")))
    assert (spoiled.status, spoiled.errors[0].field) == (400, "tls.ca")
    assert (await refusal(desk.register(tls=Tls(ca=authority.cert)))).errors[0].field == "tls"
    first = await desk.register(**https, tls=Tls(ca=authority.cert))
    assert (await desk.register(**https, tls=Tls(ca=authority.cert))).status == 200
    assert b"BEGIN" not in desk.bucket.entries["config.gpu=1"].data
    assert (await refusal(desk.register(**https))).status == 409
    await desk.register(**https, if_match=first.revision)
    secret = (await desk.store.secret("gpu.1")).value
    assert secret is not None
    assert secret.tls is None
