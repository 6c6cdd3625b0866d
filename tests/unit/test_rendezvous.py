"""Where keys belong: evenly, by weight, and moving no more than they must."""

import math
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b

import pytest

from pointsman.services.balancer.rendezvous import HASHES, Homes, seed_of

KEYS = [f"user-{n}" for n in range(20_000)]


@dataclass
class Server:
    id: str
    weight: int = 1
    active: int = 0
    limit: int = 10

    @property
    def seed(self) -> bytes:
        return seed_of(self.id)


def fleet(*weights: int) -> list[Server]:
    return [Server(f"server-{n}", weight) for n, weight in enumerate(weights)]


def homes_of(servers: list[Server], keys: list[str] = KEYS) -> dict[str, str]:
    homes = Homes(servers)
    return {key: homes.of(key).id for key in keys}


@pytest.mark.parametrize("weights", [(1,) * 20, (3, 1), (1, 2, 4, 8), (1000, 1, 500, 500)])
def test_the_share_of_each_server_is_its_weight(weights: tuple[int, ...]) -> None:
    counts = Counter(homes_of(fleet(*weights)).values())
    for n, weight in enumerate(weights):
        share = weight / sum(weights)
        spread = math.sqrt(share * (1 - share) / len(KEYS))
        assert abs(counts[f"server-{n}"] / len(KEYS) - share) <= 5 * spread


@pytest.mark.parametrize("gone", [0, 3, 6])
def test_when_a_server_leaves_only_its_own_keys_move_and_to_all_others(gone: int) -> None:
    servers = fleet(1, 2, 1, 4, 1, 1, 2)
    before, after = homes_of(servers), homes_of(servers[:gone] + servers[gone + 1 :])
    moved = {key for key in KEYS if before[key] != after[key]}
    assert moved == {key for key in KEYS if before[key] == f"server-{gone}"}
    assert len({after[key] for key in moved}) == 6


def test_a_heavier_server_only_draws_keys_to_itself() -> None:
    before, after = homes_of(fleet(1, 1, 1, 1)), homes_of(fleet(1, 1, 1, 3))
    assert {after[key] for key in KEYS if before[key] != after[key]} == {"server-3"}


def test_the_order_is_that_of_all_scores() -> None:
    """Against the plain formula: every score computed, every server sorted."""
    servers = fleet(1, 2, 4, 1, 2, 4, 1000, 1, 1)

    def score(key: str, server: Server) -> float:
        product = int.from_bytes(server.seed, "little") * int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
        return -server.weight / math.log((product % 2**64 // HASHES + 0.5) / HASHES)

    for key in KEYS[:300]:
        plain = sorted(servers, key=lambda server, key=key: score(key, server), reverse=True)
        assert [server.id for server in Homes(servers).order(key)] == [server.id for server in plain]


def test_the_order_of_servers_given_does_not_matter() -> None:
    servers = fleet(1, 2, 1, 4, 1)
    assert homes_of(servers, KEYS[:500]) == homes_of(servers[::-1], KEYS[:500])


def test_the_second_choices_of_a_server_s_keys_are_spread_by_weight_too() -> None:
    homes = Homes(fleet(1, 1, 1, 1, 1))
    seconds = Counter()
    for key in KEYS:
        first, second, *_ = homes.order(key)
        seconds[first.id, second.id] += 1
    assert len(seconds) == 20
    assert max(seconds.values()) < 1.25 * len(KEYS) / 20
    assert min(seconds.values()) > 0.75 * len(KEYS) / 20
