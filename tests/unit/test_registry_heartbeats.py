"""What a server may say of itself, in which order, with which credential, and what that costs."""

import msgspec
import pytest

from pointsman.contracts.commands import RotateCredential
from pointsman.contracts.server import (
    CredentialAnswer,
    CredentialRequest,
    HealthState,
    HeartbeatRequest,
    MaintenanceRequest,
    ServerHealth,
    Wanted,
)
from pointsman.services.registry.orders import SETTLE_MS
from tests.unit.test_registry import NOBODY, Desk, refusal


@pytest.fixture
async def desk() -> Desk:
    desk = Desk()
    await desk.register()
    return desk


async def rotate(desk: Desk, server_id: str = "gpu.1", **asked: int) -> CredentialAnswer:
    return await desk.registration.rotate(RotateCredential(id=server_id, rotation=CredentialRequest(**asked)))


async def test_the_old_credential_and_secret_hold_for_the_grace_period_only() -> None:
    desk = Desk()
    first = (await desk.register()).answer
    rotated = await rotate(desk, grace_ms=5_000)
    assert rotated.previous_until == desk.time.ms + 5_000
    secret = (await desk.store.secret("gpu.1")).value
    assert secret is not None
    assert (secret.signing_secret, secret.previous_secret) == (rotated.signing_secret, first.signing_secret)
    for credential in (first.credential or "", rotated.credential):
        await desk.beat("gpu.1", NOBODY, credential)
    desk.time.ms += 5_000
    await desk.beat("gpu.1", NOBODY, rotated.credential)
    assert (await refusal(desk.beat("gpu.1", NOBODY, first.credential or ""))).status == 403


async def test_without_a_grace_period_the_old_credential_is_refused_at_once() -> None:
    desk = Desk()
    old = (await desk.register()).answer.credential or ""
    await rotate(desk, grace_ms=0)
    assert (await refusal(desk.beat("gpu.1", NOBODY, old))).status == 403


async def test_of_two_rotations_the_first_credential_is_out(desk: Desk) -> None:
    second = await rotate(desk)
    third = await rotate(desk)
    fourth = await rotate(desk)
    for credential in (third.credential, fourth.credential):
        await desk.beat("gpu.1", NOBODY, credential)
    assert (await refusal(desk.beat("gpu.1", NOBODY, second.credential))).status == 403


async def test_a_rotation_needs_a_server_and_keeps_its_key(desk: Desk) -> None:
    await desk.register(id="keyed", api_key="k")
    await rotate(desk, "keyed")
    secret = (await desk.store.secret("keyed")).value
    assert secret is not None
    assert secret.api_key == "k"
    assert (await refusal(rotate(desk, "unknown"))).status == 404
    await desk.registration.remove("keyed")
    assert (await refusal(rotate(desk, "keyed"))).status == 404


@pytest.mark.parametrize(("beat", "field"), [({"status": "a\0"}, "status"), ({"bootId": "\0"}, "bootId")])
async def test_nul_is_refused(desk: Desk, beat: dict[str, object], field: str) -> None:
    refused = await refusal(desk.beat("gpu.1", **beat))  # type: ignore[arg-type]
    assert (refused.status, refused.errors[0].field) == (400, field)
    assert desk.said.subjects == []


def test_a_sequence_has_a_bound() -> None:
    assert msgspec.convert({"seq": 2**63 - 1}, HeartbeatRequest).seq == 2**63 - 1
    for seq in (2**63, -1):
        with pytest.raises(msgspec.ValidationError, match="seq"):
            msgspec.convert({"seq": seq}, HeartbeatRequest)


async def test_an_evicted_server_starts_its_sequence_anew(desk: Desk) -> None:
    await desk.beat("gpu.1", seq=9, bootId="a")
    await desk.registration.remove("gpu.1")
    await desk.register()
    await desk.beat("gpu.1", seq=1, bootId="a")


@pytest.mark.parametrize("out", [{"status": "draining"}, {"status": "maintenance"}, {"ready": False}])
async def test_a_server_takes_itself_out_and_comes_back(desk: Desk, out: dict[str, object]) -> None:
    registered_at = desk.time.ms
    healthy = ServerHealth(state=HealthState.HEALTHY, since=registered_at, registered_at=registered_at)
    await desk.store.put_health("gpu.1", healthy, 0)
    assert await desk.beat("gpu.1", **out)  # type: ignore[arg-type]
    assert (desk.admin("gpu.1").wanted, desk.admin("gpu.1").declared) == (Wanted.DRAINING, True)
    desk.time.ms += SETTLE_MS
    await desk.orders.complete_drains()
    assert (desk.admin("gpu.1").wanted, desk.admin("gpu.1").declared) == (Wanted.MAINTENANCE, True)
    desk.time.ms += 1_000
    assert not await desk.beat("gpu.1", status="healthy", ready=True)
    assert desk.admin("gpu.1").wanted is Wanted.ACTIVE
    assert desk.fleet.health("gpu.1").state is HealthState.NEW


async def test_a_server_that_wavers_comes_back_a_second_later(desk: Desk) -> None:
    assert await desk.beat("gpu.1", ready=False)
    assert await desk.beat("gpu.1", ready=True)
    desk.time.ms += 1_000
    assert not await desk.beat("gpu.1", ready=True)


async def test_a_server_cannot_end_what_an_operator_ordered(desk: Desk) -> None:
    await desk.beat("gpu.1", status="maintenance")
    await desk.orders.maintain("gpu.1", MaintenanceRequest(enabled=True, reason="disk"), "ann")
    assert (desk.admin("gpu.1").by, desk.admin("gpu.1").reason) == ("ann", "disk")
    desk.time.ms += SETTLE_MS
    for _ in range(2):
        desk.time.ms += 2_000
        assert await desk.beat("gpu.1", status="healthy", ready=True)
        await desk.orders.complete_drains()
    assert desk.admin("gpu.1").wanted is Wanted.MAINTENANCE


async def test_a_server_that_says_the_same_again_costs_no_write(desk: Desk) -> None:
    await desk.beat("gpu.1", ready=False)
    before = desk.bucket.sequence
    for seq in range(100):
        desk.time.ms += 2_000
        await desk.beat("gpu.1", ready=False, seq=seq, bootId="a", activeTasks=seq)
    assert desk.bucket.sequence == before
