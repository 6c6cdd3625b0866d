"""What may happen to a part of the system: each fault ends by itself and tells since when work should flow again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from tests.support.pieces import Piece, Pieces

type Fault = Callable[[Pieces, float, Random], Awaitable[float]]
"""`(system, seconds, rng)`; answers with the monotonic second from which on dispatch should go on."""


async def leader_killed(system: Pieces, _seconds: float, _rng: Random) -> float:
    return await _killed(await system.leader())


async def leader_frozen(system: Pieces, seconds: float, _rng: Random) -> float:
    return await _frozen(await system.leader(), seconds)


async def leader_cut_off(system: Pieces, seconds: float, _rng: Random) -> float:
    return await _cut_off(await system.leader(), seconds)


async def leader_deaf(system: Pieces, seconds: float, _rng: Random) -> float:
    """What it writes arrives and is carried out, what it is told does not."""
    return await _cut_off(await system.leader(), seconds, there=False)


async def leader_mute(system: Pieces, seconds: float, _rng: Random) -> float:
    return await _cut_off(await system.leader(), seconds, back=False)


async def answers_lost(system: Pieces, seconds: float, _rng: Random) -> float:
    """Writes are committed and their acknowledgements never come: the connection breaks with them."""
    leader, began_s = await system.leader(), time.monotonic()
    leader.proxy.partition(there=False)
    await asyncio.sleep(min(seconds, 1.0))
    leader.proxy.reset()
    leader.proxy.heal()
    return began_s


async def executor_killed(system: Pieces, _seconds: float, rng: Random) -> float:
    return await _killed(_executor(system, rng))


async def executor_frozen(system: Pieces, seconds: float, rng: Random) -> float:
    return await _frozen(_executor(system, rng), seconds)


async def executor_cut_off(system: Pieces, seconds: float, rng: Random) -> float:
    return await _cut_off(_executor(system, rng), seconds)


async def broker_frozen(system: Pieces, seconds: float, _rng: Random) -> float:
    system.freeze_broker()
    try:
        await asyncio.sleep(seconds)
    finally:
        system.thaw_broker()
    return time.monotonic()


async def broker_killed(system: Pieces, _seconds: float, _rng: Random) -> float:
    system.kill_broker()
    return time.monotonic()


FAULTS: Mapping[str, Fault] = {
    one.__name__.replace("_", " "): one
    for one in (
        leader_killed,
        leader_frozen,
        leader_cut_off,
        leader_deaf,
        leader_mute,
        answers_lost,
        executor_killed,
        executor_frozen,
        executor_cut_off,
        broker_frozen,
        broker_killed,
    )
}


def _executor(system: Pieces, rng: Random) -> Piece:
    return rng.choice([piece for name, piece in system.pieces.items() if name.startswith("instance")])


async def _killed(piece: Piece) -> float:
    began_s = time.monotonic()
    await piece.kill()
    await piece.start()
    return began_s


async def _frozen(piece: Piece, seconds: float) -> float:
    began_s = time.monotonic()
    piece.freeze()
    try:
        await asyncio.sleep(seconds)
    finally:
        piece.thaw()
    return began_s


async def _cut_off(piece: Piece, seconds: float, *, there: bool = True, back: bool = True) -> float:
    began_s = time.monotonic()
    piece.proxy.partition(there=there, back=back)
    try:
        await asyncio.sleep(seconds)
    finally:
        piece.proxy.heal()
    return began_s
