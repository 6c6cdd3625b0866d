"""Servers whose success rate falls out of the row, by task type. Pure.

Envoy's rule `sr < mean - 1.9 sd`, and `sr < 0.9`. With equal servers that all fail a part of a type's tasks it would
take out one of twenty each time by chance alone, so the distance must also be beyond what chance explains: 4 standard
errors of a binomial share.
"""

from collections.abc import Mapping
from math import sqrt
from typing import NamedTuple

INTERVAL_S = 10.0
SERVERS_MIN = 5
RESULTS_MIN = 50
DEVIATIONS = 1.9
RATE_MAX = 0.9
CHANCE = 4.0


class Rate(NamedTuple):
    succeeded: int
    results: int

    @property
    def share(self) -> float:
        return self.succeeded / self.results


def outliers(rates: Mapping[str, Rate]) -> tuple[str, ...]:
    """Of the servers that ran one type in one pool, those that do notably worse than the others."""
    judged = {server_id: rate for server_id, rate in rates.items() if rate.results >= RESULTS_MIN}
    if len(judged) < SERVERS_MIN:
        return ()
    shares = [rate.share for rate in judged.values()]
    mean = sum(shares) / len(shares)
    sd = sqrt(sum((share - mean) ** 2 for share in shares) / len(shares))
    return tuple(server_id for server_id, rate in judged.items() if _is_outlier(rate, mean, sd))


def _is_outlier(rate: Rate, mean: float, sd: float) -> bool:
    by_chance = CHANCE * sqrt(mean * (1 - mean) / rate.results)
    return rate.share < RATE_MAX and rate.share < mean - max(DEVIATIONS * sd, by_chance)
