"""Metrics by server: one series each up to a bound, whatever the size of the fleet."""

from pointsman.contracts.balancer import ServerLoad
from pointsman.services.gateway.observe import OTHER_SERVERS, SERVERS_SHOWN_MAX, per_server


def fleet(count: int) -> dict[str, ServerLoad]:
    return {
        f"s{n:04}": ServerLoad(
            load=0.5, active_tasks=n, weight=1, effective_limit=2, healthy=n % 2 == 0, pool="default"
        )
        for n in reversed(range(count))
    }


def series(count: int) -> dict[str, dict[str, float]]:
    return {
        family.name: {sample.labels["server"]: sample.value for sample in family.samples}
        for family in per_server(fleet(count))
    }


def test_a_small_fleet_is_shown_whole() -> None:
    shown = series(3)
    assert shown["pointsman_server_active_tasks"] == {"s0000": 0, "s0001": 1, "s0002": 2}
    assert shown["pointsman_server_healthy"] == {"s0000": 1, "s0001": 0, "s0002": 1}


def test_of_a_thousand_servers_the_first_by_id_are_shown_and_the_rest_summed_up() -> None:
    for name, values in series(1_000).items():
        assert len(values) == SERVERS_SHOWN_MAX + 1, name
        assert list(values)[:2] == ["s0000", "s0001"]
    shown = series(1_000)
    assert shown["pointsman_server_active_tasks"][OTHER_SERVERS] == sum(range(200, 1_000))
    assert shown["pointsman_server_slots"][OTHER_SERVERS] == 1_600
    assert shown["pointsman_server_healthy"][OTHER_SERVERS] == 400
