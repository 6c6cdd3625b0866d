"""Weighted rendezvous hashing with bounded load: the home of a key, which moves only when that very server leaves."""

import hashlib
import math
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

LOAD_BOUND = 1.25
LANE_BYTES = 16
HASHES = 2**32


class Home(Protocol):
    @property
    def seed(self) -> bytes: ...
    @property
    def weight(self) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def limit(self) -> int: ...


def seed_of(server_id: str) -> bytes:
    """An odd 64-bit number in a lane of 128 bits."""
    return (_digest(server_id) | 1).to_bytes(LANE_BYTES, "little")


class Homes[H: Home]:
    """Where keys belong among these servers (at least one)."""

    def __init__(self, servers: Sequence[H]) -> None:
        self._servers = sorted(servers, key=lambda server: server.weight)
        self._lanes = int.from_bytes(b"".join([server.seed for server in self._servers]), "little")
        self._spans = list(_spans([server.weight for server in self._servers]))

    def of(self, key: str) -> H:
        return next(self.order(key))

    def order(self, key: str) -> Iterator[H]:
        """All servers by -weight / ln(hash(key, server)), highest first; hash uniform in (0, 1).

        Of servers with the same weight that is the order of their hashes, so only the first of each weight are compared.
        """
        hashes = self._hashes(key)
        firsts = [_first(hashes, span) for span in self._spans]
        while firsts:
            _, place, span = first = max(firsts)
            yield self._servers[place]
            hashes[place] = 0
            firsts.remove(first)
            following = _first(hashes, span)
            if hashes[following.place]:
                firsts.append(following)

    def share_in_use(self) -> float:
        return sum([server.active for server in self._servers]) / sum([server.limit for server in self._servers])

    def _hashes(self, key: str) -> "array[int]":
        """The upper half of seed x key mod 2^64 (multiplicative hashing), for all servers in one multiplication."""
        products = (self._lanes * _digest(key)).to_bytes(LANE_BYTES * len(self._servers), "little")
        words = array("I", products)
        if sys.byteorder == "big":
            words.byteswap()
        return words[1 :: LANE_BYTES // words.itemsize]


class Span(NamedTuple):
    """Places of servers with the same weight."""

    start: int
    stop: int
    weight: int


class First(NamedTuple):
    score: float
    place: int
    span: Span


def _spans(weights: Sequence[int]) -> Iterator[Span]:
    start = 0
    for weight, same in groupby(weights):
        stop = start + sum(1 for _ in same)
        yield Span(start, stop, weight)
        start = stop


def _first(hashes: "array[int]", span: Span) -> First:
    drawn = max(hashes[span.start : span.stop])
    place = hashes.index(drawn, span.start, span.stop)
    return First(-span.weight / math.log((drawn + 0.5) / HASHES), place, span)


def is_within(server: Home, share_in_use: float) -> bool:
    return server.active <= math.ceil(LOAD_BOUND * share_in_use * server.limit)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
