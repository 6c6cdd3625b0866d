"""The verbs by which settings are read and changed; every replica answers them, whoever leads."""

import asyncio
from collections.abc import Callable, Iterable

import msgspec
import structlog

from pointsman.contracts.actor import Role
from pointsman.contracts.balancer import AlgorithmAnswer, AlgorithmRequest
from pointsman.contracts.base import encode
from pointsman.contracts.errors import forbidden
from pointsman.contracts.limits import Kind, Limit, PoolSettings, Settings, TypeSettings, in_force
from pointsman.contracts.steering import (
    ChangePool,
    DeclareType,
    LimitEntry,
    LimitName,
    LimitPage,
    PageRequest,
    PlanPool,
    PoolName,
    PoolPage,
    PoolPlan,
    Removed,
    ReplacePool,
    SetLimit,
    TypeName,
    TypePage,
)
from pointsman.contracts.subjects import HEADER_REVISION
from pointsman.services.balancer import forecast, planning
from pointsman.services.balancer import rules as balancing
from pointsman.services.balancer import settings_rules as rules
from pointsman.services.balancer import settings_view as view
from pointsman.services.balancer.model import Model
from pointsman.services.balancer.settings_book import SettingsBook
from pointsman.services.runtime.audit import Audited
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.live_settings import SettingsStore, Stored
from pointsman.services.runtime.serve import Answer, Call, Verb, VerbHandler

log = structlog.get_logger()

READERS = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
WRITERS = (Role.OPERATOR, Role.ADMIN)
READS = ("pool.list", "pool.get", "pool.plan", "type.list", "type.get", "limit.list")
CONCURRENCY = 32
POOL_LOOKS, POOL_LOOK_S = 10, 0.05

_PAGE = msgspec.json.Decoder(PageRequest)
_POOL = msgspec.json.Decoder(PoolName)
_PLAN = msgspec.json.Decoder(PlanPool)
_REPLACE = msgspec.json.Decoder(ReplacePool)
_CHANGE = msgspec.json.Decoder(ChangePool)
_TYPE = msgspec.json.Decoder(TypeName)
_DECLARE = msgspec.json.Decoder(DeclareType)
_LIMIT = msgspec.json.Decoder(LimitName)
_SET_LIMIT = msgspec.json.Decoder(SetLimit)
_ALGORITHM = msgspec.json.Decoder(AlgorithmRequest)

Wanted = Callable[[Settings | None], Settings | None]
"""The settings that shall hold instead of those in force; None: none."""


class SettingsDesk:
    """`changed` is called with each record that was written, ahead of the stream."""

    def __init__(
        self, store: SettingsStore, book: SettingsBook, model: Model, clock: Clock, changed: Callable[[Stored], None]
    ) -> None:
        self._store = store
        self._book = book
        self._model = model
        self._clock = clock
        self._changed = changed

    def verbs(self) -> tuple[Verb, ...]:
        handlers: dict[str, VerbHandler] = {
            "pool.list": self._list_pools,
            "pool.get": self._get_pool,
            "pool.plan": self._plan_pool,
            "pool.replace": self._replace_pool,
            "pool.change": self._change_pool,
            "pool.undo": self._undo_pool,
            "type.list": self._list_types,
            "type.get": self._get_type,
            "type.declare": self._declare_type,
            "type.remove": self._remove_type,
            "type.undo": self._undo_type,
            "limit.list": self._list_limits,
            "limit.set": self._set_limit,
            "limit.clear": self._clear_limit,
            "algorithm": self._switch,
        }
        return tuple(
            Verb(name, _for(READERS, handle), CONCURRENCY)
            if name in READS
            else Verb(name, _for(WRITERS, handle), CONCURRENCY, audit=Audited())
            for name, handle in handlers.items()
        )

    async def _list_pools(self, call: Call) -> PoolPage:
        asked = call.decode(_PAGE)
        views = [(name, view.pool_view(name, *self._book.pool(name))) for name in self._pools()]
        pools, cursor = view.page(views, asked.cursor, asked.limit)
        return PoolPage(pools=tuple(pools), cursor=cursor)

    async def _get_pool(self, call: Call) -> Answer:
        name = call.decode(_POOL).pool
        return _pool(await self._existing_pool(name))

    async def _plan_pool(self, call: Call) -> PoolPlan:
        """Changes nothing; what is told holds for as long as the servers stay as they are."""
        asked = call.decode(_PLAN)
        wanted = rules.algorithm_of(asked.algorithm)
        stored = await self._existing_pool(asked.pool)
        now_s = self._clock.monotonic_s()
        servers = forecast.stands((one for one in self._model.fleet if one.config.pool == asked.pool), now_s)
        status = balancing.pool_status(self._model, asked.pool)
        per_s = forecast.pace(servers, status.starts_per_s)
        current = self._model.fleet.algorithm(asked.pool)
        now, then = [await forecast.shares(algorithm, servers, per_s) for algorithm in (current, wanted)]
        return planning.plan(stored, status, wanted, per_s, now, then)

    async def _replace_pool(self, call: Call) -> Answer:
        command = call.decode(_REPLACE)
        wanted = rules.pool_of(command.settings)
        return _pool(await self._edit(call, Kind.POOL, command.pool, lambda _: wanted, command.if_match))

    async def _change_pool(self, call: Call) -> Answer:
        command = call.decode(_CHANGE)

        def wanted(held: Settings | None) -> Settings:
            assert held is None or isinstance(held, PoolSettings)
            return rules.patched(held, command.settings)

        return _pool(await self._edit(call, Kind.POOL, command.pool, wanted, command.if_match))

    async def _undo_pool(self, call: Call) -> Answer:
        command = call.decode(_POOL)
        await self._existing_pool(command.pool)
        return _pool(await self._undo(call, Kind.POOL, command.pool, command.if_match))

    async def _list_types(self, call: Call) -> TypePage:
        asked = call.decode(_PAGE)
        views = [
            (stored.name, view.type_view(stored.settings, stored.revision))
            for stored in self._book.held(Kind.TYPE)
            if isinstance(stored.settings, TypeSettings)
        ]
        types, cursor = view.page(views, asked.cursor, asked.limit)
        return TypePage(types=tuple(types), cursor=cursor)

    async def _get_type(self, call: Call) -> Answer:
        name = call.decode(_TYPE).type
        stored = await self._store.get(Kind.TYPE, name)
        if in_force(stored.settings) is None:
            raise self._absent(Kind.TYPE, name)
        return _type(stored)

    async def _declare_type(self, call: Call) -> Answer:
        command = call.decode(_DECLARE)
        wanted = rules.type_of(command.type, command.settings)
        return _type(await self._edit(call, Kind.TYPE, command.type, lambda _: wanted, command.if_match))

    async def _remove_type(self, call: Call) -> Answer:
        command = call.decode(_TYPE)

        def wanted(held: Settings | None) -> None:
            if held is None:
                raise self._absent(Kind.TYPE, command.type)

        stored = await self._edit(call, Kind.TYPE, command.type, wanted, command.if_match)
        return _answer(Removed(message=f"Type {command.type} is no longer declared", revision=stored.revision), stored)

    async def _undo_type(self, call: Call) -> Answer:
        command = call.decode(_TYPE)
        return _type(await self._undo(call, Kind.TYPE, command.type, command.if_match))

    async def _list_limits(self, call: Call) -> LimitPage:
        asked = call.decode(_PAGE)
        views = [(f"{stored.kind}/{stored.name}", self._limit(stored)) for stored in self._limits()]
        limits, cursor = view.page(views, asked.cursor, asked.limit)
        return LimitPage(limits=tuple(limits), cursor=cursor)

    async def _set_limit(self, call: Call) -> Answer:
        command = call.decode(_SET_LIMIT)
        kind = rules.kind_of(command.kind)
        rules.check_name(kind, command.name)
        limit = rules.limit_of(command.limit)

        def wanted(held: Settings | None) -> Settings:
            return rules.limited(kind, command.name, held, limit)

        stored = await self._edit(call, kind, command.name, wanted, command.if_match)
        return _answer(self._limit(stored), stored)

    async def _clear_limit(self, call: Call) -> Answer:
        command = call.decode(_LIMIT)
        kind = rules.kind_of(command.kind)
        rules.check_name(kind, command.name)

        def wanted(held: Settings | None) -> Settings | None:
            if held is None or held.limit == Limit():
                known = [stored.name for stored in self._limits() if stored.kind is kind]
                raise rules.absent(kind, command.name, known, "has no limit")
            return rules.unlimited(kind, held)

        stored = await self._edit(call, kind, command.name, wanted, command.if_match)
        message = f"{kind.capitalize()} {command.name} has no limit any more"
        return _answer(Removed(message=message, revision=stored.revision), stored)

    async def _switch(self, call: Call) -> AlgorithmAnswer:
        """The algorithm of a pool, the rest of its settings as it is."""
        request = call.decode(_ALGORITHM)
        algorithm = rules.algorithm_of(request.algorithm)
        await self._check_pool(request.pool)

        def wanted(held: Settings | None) -> Settings:
            assert held is None or isinstance(held, PoolSettings)
            return msgspec.structs.replace(held or PoolSettings(), algorithm=algorithm)

        await self._edit(call, Kind.POOL, request.pool, wanted, None)
        return AlgorithmAnswer(message=f"Algorithm of pool {request.pool} is now {algorithm}", algorithm=algorithm)

    async def _edit(self, call: Call, kind: Kind, name: str, wanted: Wanted, if_match: int | None) -> Stored:
        def change(stored: Stored) -> Settings | None:
            rules.check_revision(if_match, stored.revision, stored.settings)
            settings = wanted(in_force(stored.settings))
            if stored.settings is None and settings is not None:
                rules.check_room(kind, self._book.count(kind, self._clock.now_ms()))
            blank = rules.blank_of(kind, name)
            return rules.edited(stored.settings, settings, blank, by=call.actor.sub, now=self._clock.now_ms())

        return await self._write(call, kind, name, change)

    async def _undo(self, call: Call, kind: Kind, name: str, if_match: int | None) -> Stored:
        def change(stored: Stored) -> Settings:
            if stored.settings is None and kind is Kind.TYPE:
                raise self._absent(kind, name)
            rules.check_revision(if_match, stored.revision, stored.settings)
            return rules.undone(
                stored.settings, rules.blank_of(kind, name), by=call.actor.sub, now=self._clock.now_ms()
            )

        return await self._write(call, kind, name, change)

    async def _write(self, call: Call, kind: Kind, name: str, change: Callable[[Stored], Settings | None]) -> Stored:
        def noted(stored: Stored) -> Settings | None:
            """For the audit trail, of the round that was written."""
            wanted = change(stored)
            call.notes.before, call.notes.after = stored.settings, wanted
            return wanted

        stored = await self._store.edit(kind, name, noted, call.operation)
        self._changed(stored)
        log.info("settings", kind=kind, name=name, revision=stored.revision, by=call.actor.sub)
        return stored

    async def _existing_pool(self, name: str) -> Stored:
        stored = await self._store.get(Kind.POOL, name)
        if stored.settings is None and name not in self._pools():
            raise rules.absent(Kind.POOL, name, list(self._pools()))
        return stored

    async def _check_pool(self, name: str) -> None:
        """400 that lists the pools; `pool.change` makes new ones. A server that has just been registered may be on its way."""
        for _ in range(POOL_LOOKS):
            if name in self._pools():
                return
            await asyncio.sleep(POOL_LOOK_S)
        if (await self._store.get(Kind.POOL, name)).settings is None:
            raise rules.unknown_pool(name, self._pools())

    def _absent(self, kind: Kind, name: str) -> Exception:
        return rules.absent(kind, name, [stored.name for stored in self._book.held(kind)], "is not declared")

    def _pools(self) -> set[str]:
        """Pools with servers, settings or waiting tasks, and the default one."""
        return balancing.known_pools(self._model) | {stored.name for stored in self._book.held(Kind.POOL)}

    def _limits(self) -> Iterable[Stored]:
        return (stored for kind in Kind for stored in self._book.held(kind) if _limit_of(stored) != Limit())

    def _limit(self, stored: Stored) -> LimitEntry:
        assert stored.settings is not None
        in_use, blocked_until = balancing.under_limit(self._model, stored.kind, stored.name, self._clock.now_ms())
        return view.limit_entry(
            stored.kind, stored.name, stored.settings, stored.revision, in_use=in_use, blocked_until=blocked_until
        )


def _limit_of(stored: Stored) -> Limit:
    return stored.settings.limit if stored.settings is not None else Limit()


def _for(roles: tuple[Role, ...], handle: VerbHandler) -> VerbHandler:
    async def guarded(call: Call) -> Answer | msgspec.Struct:
        if not call.actor.has(*roles):
            raise forbidden(f"{roles[0].capitalize()} role required")
        return await handle(call)

    return guarded


def _pool(stored: Stored) -> Answer:
    assert stored.settings is None or isinstance(stored.settings, PoolSettings)
    return _answer(view.pool_view(stored.name, stored.settings, stored.revision), stored)


def _type(stored: Stored) -> Answer:
    assert isinstance(stored.settings, TypeSettings)
    return _answer(view.type_view(stored.settings, stored.revision), stored)


def _answer(shown: msgspec.Struct, stored: Stored) -> Answer:
    return Answer(encode(shown), {HEADER_REVISION: str(stored.revision)})
