"""What a change of settings would change: today's values against those asked for."""

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from pointsman.cli.acting import Plan, changed
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.steering import PageRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from pointsman.cli.acting import Ask
    from pointsman.client.client import Client
    from pointsman.contracts.steering import ChangeView, LimitEntry, LimitRequest, PoolPatch, TypeRequest, TypeView

NOTHING: dict[str, Any] = {}


def pool(name: str, patch: "PoolPatch", if_match: int | None) -> "Ask[Plan]":
    async def ask(client: "Client") -> Plan:
        known = await _or_none(client.pools.get(name))
        before, after = changed(known or NOTHING, patch)
        return Plan(act="set", target=f"pool {name}", before=before, after=after, revision=_revision(known, if_match))

    return ask


def pool_undo(name: str, if_match: int | None) -> "Ask[Plan]":
    async def ask(client: "Client") -> Plan:
        known = await client.pools.get(name)
        return _undo(f"pool {name}", known.changes, _revision(known, if_match))

    return ask


def limit(kind: str, name: str, asked: "LimitRequest", if_match: int | None) -> "Ask[Plan]":
    async def ask(client: "Client") -> Plan:
        known = await _limit(client, kind, name)
        was = NOTHING if known is None else msgspec.to_builtins(known.limit)
        names = ("maxConcurrent", "rate")
        will = msgspec.to_builtins(asked)
        before, after = changed({one: was.get(one) for one in names}, {one: will.get(one) for one in names})
        return Plan(
            act="set", target=f"limit {kind} {name}", before=before, after=after, revision=_revision(known, if_match)
        )

    return ask


def declaration(name: str, asked: "TypeRequest", if_match: int | None) -> "Ask[Plan]":
    async def ask(client: "Client") -> Plan:
        known = await _declared(client, name)
        before, after = changed(known or NOTHING, asked)
        return Plan(
            act="declare", target=f"type {name}", before=before, after=after, revision=_revision(known, if_match)
        )

    return ask


def undeclaration(name: str, if_match: int | None) -> "Ask[Plan]":
    async def ask(client: "Client") -> Plan:
        known = await client.types.get(name)
        return Plan(
            act="remove",
            target=f"type {name}",
            revision=_revision(known, if_match),
            note="tasks that were accepted keep what they have; `pointsman type undo` takes it back",
        )

    return ask


def type_undo(name: str, if_match: int | None) -> "Ask[Plan]":
    async def ask(client: "Client") -> Plan:
        known = await client.types.get(name)
        return _undo(f"type {name}", known.changes, _revision(known, if_match))

    return ask


def _undo(target: str, changes: "Sequence[ChangeView]", revision: int | None) -> Plan:
    before = {"settings": Raw(changes[-1].before).copy()} if changes else {}
    return Plan(act="undo", target=target, after=before, revision=revision, note="" if changes else "nothing to undo")


def _revision(known: Any, if_match: int | None) -> int | None:
    return if_match if if_match is not None else getattr(known, "revision", None)


async def _or_none[T](asked: "Awaitable[T]") -> T | None:
    try:
        found = await asked
    except PointsmanError as error:
        if error.status != 404:
            raise
        return None
    return found


async def _declared(client: "Client", name: str) -> "TypeView | None":
    return await _or_none(client.types.get(name))


async def _limit(client: "Client", kind: str, name: str) -> "LimitEntry | None":
    page = await client.limits.list()
    while True:
        for one in page.limits:
            if (one.kind, one.name) == (kind, name):
                return one
        if page.cursor is None:
            return None
        page = await client.limits.list(PageRequest(cursor=page.cursor))
