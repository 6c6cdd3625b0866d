"""Pure rules of live settings: what a request asks for, what an edit or an undo makes of the stored record."""

import re
from collections.abc import Collection

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict, replace

from pointsman.contracts.balancer import ALGORITHM_NAMES, ALIASES, Algorithm
from pointsman.contracts.base import NULL, encode, is_null
from pointsman.contracts.errors import PointsmanError, conflict, invalid, not_found, precondition_failed, too_large
from pointsman.contracts.json_limits import check_text, decode
from pointsman.contracts.limits import (
    CHANGES_KEPT_MAX,
    Change,
    KeySettings,
    Kind,
    Limit,
    PoolSettings,
    Rate,
    Settings,
    TypeSettings,
    in_force,
)
from pointsman.contracts.steering import SETTINGS_MAX, LimitRequest, PoolPatch, PoolRequest, TypeRequest
from pointsman.services.runtime import payload_schema
from pointsman.services.runtime.clock import clock_time
from pointsman.services.runtime.retry_policy import retry_policy

NAMES_LISTED_MAX = 20
RECORD_BYTES_MAX = 96 * 1024
_FORMS = {
    Kind.POOL: re.compile(r"[A-Za-z0-9._-]{1,64}"),
    Kind.TYPE: re.compile(r"[a-z0-9][a-z0-9._-]{0,63}"),
    Kind.KEY: re.compile(r"[^\0]{1,128}", re.DOTALL),
}


def algorithm_of(name: str) -> Algorithm:
    """The algorithm of a name or alias; 400 that lists the names."""
    try:
        return ALIASES[name] if name in ALIASES else Algorithm(name)
    except ValueError:
        raise invalid("algorithm", f"unknown; one of {', '.join(ALGORITHM_NAMES)}") from None


def kind_of(name: str) -> Kind:
    """400 that lists the kinds."""
    try:
        return Kind(name)
    except ValueError:
        raise invalid("kind", f"unknown; one of {', '.join(Kind)}") from None


def check_name(kind: Kind, name: str) -> None:
    if not _FORMS[kind].fullmatch(name):
        raise invalid("name", f"not the name of a {kind}: {_FORMS[kind].pattern}")


def limit_of(request: LimitRequest) -> Limit:
    rate = request.rate
    return Limit(
        max_concurrent=request.max_concurrent,
        rate=Rate(per_second=rate.per_second, burst=rate.burst) if rate is not None else None,
    )


def pool_of(request: PoolRequest) -> PoolSettings:
    return PoolSettings(
        algorithm=algorithm_of(request.algorithm),
        affinity=request.affinity,
        limit=limit_of(request.limit),
        shares=_shares(request.shares),
        retry_percent=request.retry_percent,
        retries_per_s=request.retries_per_s,
        max_backlog=request.max_backlog,
        max_backlog_per_owner=request.max_backlog_per_owner,
    )


def patched(pool: PoolSettings | None, patch: PoolPatch) -> PoolSettings:
    """The settings with the named ones replaced."""
    named = {name: value for name, value in asdict(patch).items() if value is not UNSET}
    if isinstance(patch.algorithm, str):
        named["algorithm"] = algorithm_of(patch.algorithm)
    if isinstance(patch.limit, LimitRequest):
        named["limit"] = limit_of(patch.limit)
    if isinstance(patch.shares, dict):
        named["shares"] = _shares(patch.shares)
    return replace(pool or PoolSettings(), **named)


def type_of(name: str, request: TypeRequest) -> TypeSettings:
    """Raises 400 also for a schema that is invalid or could cost too much."""
    return TypeSettings(
        type=name,
        pool=request.pool,
        priority=request.priority,
        capabilities=tuple(sorted(set(request.capabilities))),
        timeout_ms=request.timeout_ms,
        deadline_ms=request.deadline_ms,
        max_attempts=request.max_attempts,
        retry=retry_policy(request.retry) if request.retry is not None else None,
        limit=limit_of(request.limit),
        schema=_schema(request.schema),
    )


def limited(kind: Kind, name: str, held: Settings | None, limit: Limit) -> Settings:
    """The settings with this limit; a pool or type that has none gets its defaults, and so is declared."""
    match kind:
        case Kind.POOL:
            return replace(held or PoolSettings(), limit=limit)
        case Kind.TYPE:
            return replace(held or TypeSettings(type=name), limit=limit)
        case Kind.KEY:
            return KeySettings(key=name, limit=limit)


def unlimited(kind: Kind, held: Settings) -> Settings | None:
    """The settings without a limit; a key has nothing else."""
    return None if kind is Kind.KEY else replace(held, limit=Limit())


def edited[S: PoolSettings | TypeSettings | KeySettings](
    stored: S | None, wanted: S | None, blank: S, *, by: str, now: int
) -> S | None:
    """The record to write: `wanted` (None: removed) with one more change, or None when nothing would change.

    Raises 413 when the settings are too large to be kept with their history.
    """
    held = in_force(stored)
    before = NULL if held is None else msgspec.Raw(encode(bare(held)))
    after = NULL if wanted is None else msgspec.Raw(encode(bare(wanted)))
    if bytes(before) == bytes(after):
        return None
    if len(bytes(after)) > RECORD_BYTES_MAX:
        raise too_large("settings", RECORD_BYTES_MAX)
    changes = (*(stored.changes if stored else ()), Change(at=now, by=by, before=before))[-CHANGES_KEPT_MAX:]
    return replace(wanted or blank, removed=wanted is None, updated_at=now, by=by, changes=changes)


def undone[S: PoolSettings | TypeSettings | KeySettings](stored: S | None, blank: S, *, by: str, now: int) -> S:
    """The settings as they were before the last change; to undo that again is to redo. 409 when nothing changed."""
    if stored is None or not stored.changes:
        raise conflict("nothing was changed that could be undone", slug="nothing-to-undo")
    before = stored.changes[-1].before
    wanted = None if is_null(before) else msgspec.json.decode(before, type=type(blank))
    record = edited(stored, wanted, blank, by=by, now=now)
    if record is None:
        raise conflict("the settings are what they were before the last change", slug="nothing-to-undo")
    return record


def bare[S: PoolSettings | TypeSettings | KeySettings](settings: S) -> S:
    """The settings alone: not who changed them, nor when."""
    return replace(settings, removed=False, updated_at=0, by="", changes=())


def check_revision(if_match: int | None, revision: int, stored: Settings | None) -> None:
    """412 that says who changed the settings last, and when."""
    if if_match is None or if_match == revision:
        return
    told = f": changed by {stored.by} at {clock_time(stored.updated_at)}" if stored is not None and stored.by else ""
    raise precondition_failed(f"the revision is {revision}, not {if_match}{told}")


def check_room(kind: Kind, count: int) -> None:
    if count >= SETTINGS_MAX:
        raise invalid(kind, f"at most {SETTINGS_MAX} may have settings")


def absent(kind: Kind, name: str, known: list[str], what: str = "") -> PointsmanError:
    """404 that lists up to 20 of what exists."""
    return not_found(f"{kind} {name} {what or 'does not exist'}; there is{f': {_listed(known)}' if known else ' none'}")


def unknown_pool(name: str, known: Collection[str]) -> PointsmanError:
    """400 that lists up to 20 of the pools."""
    return invalid("pool", f"unknown: {name}; there is: {_listed(known)}")


def _listed(names: Collection[str]) -> str:
    more = f" and {len(names) - NAMES_LISTED_MAX} more" if len(names) > NAMES_LISTED_MAX else ""
    return ", ".join(sorted(names)[:NAMES_LISTED_MAX]) + more


def blank_of(kind: Kind, name: str) -> Settings:
    match kind:
        case Kind.POOL:
            return PoolSettings()
        case Kind.TYPE:
            return TypeSettings(type=name)
        case Kind.KEY:
            return KeySettings(key=name)


def _shares(shares: dict[str, int]) -> dict[str, int]:
    for key in shares:
        check_text(key, "shares")
    return dict(sorted(shares.items()))


def _schema(schema: msgspec.Raw) -> msgspec.Raw:
    if is_null(schema):
        return NULL
    payload_schema.compiled(bytes(schema))
    return msgspec.Raw(msgspec.json.encode(decode(bytes(schema), "schema")))
