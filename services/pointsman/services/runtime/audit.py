"""The audit trail: what is written of an act, and the strict stream that keeps it until the archive has it."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
import structlog

from pointsman.client.bus import Bus, BusError
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import NULL, encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.json_limits import DEPTH_MAX
from pointsman.contracts.search import AuditEntry
from pointsman.contracts.subjects import audit_subject

log = structlog.get_logger()

STORE_S = 2.0
STORE_TRIES = 5
DETAIL_LENGTH_MAX = 300
SHOWN_BYTES_MAX = 8 * 1024
TARGET_NAMES = ("id", "serverId", "pool", "type", "name", "key")
SECRET = re.compile(
    r"(?<!^)(?<!fairness)(?<!concurrency)(?<!affinity)key$|credential|secret|password|token|authorization|^payload$|^result$",
    re.IGNORECASE,
)
HIDDEN = "********"
TOO_DEEP = "..."
_QUERY = re.compile(r"\?.*", re.DOTALL)

type Json = dict[str, Json] | list[Json] | str | int | float | bool | None


@dataclass(slots=True)
class Notes:
    """What a handler adds to the entry of its act: plain structs or JSON values, secrets in them are hidden.

    `is_plan`: it was only asked what an act would do; nobody needs to know that, unless it was denied.
    `refused`: why nothing was done, where the answer tells that without being an error.
    """

    target: str = ""
    before: object = None
    after: object = None
    is_plan: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Audited:
    """Marks a verb whose every call is written down; `when` leaves out callers for whom it is no privilege."""

    when: Callable[[Actor], bool] = lambda _: True


def acts_with_power(actor: Actor) -> bool:
    """For verbs that a user may call for own tasks."""
    return actor.has(Role.ADMIN, Role.OPERATOR)


def entry_of(
    what: str, actor: Actor, data: bytes, notes: Notes, error: PointsmanError | None, now_ms: int
) -> AuditEntry:
    """`after` is what was asked for, unless the handler noted what came of it."""
    asked = _decoded(data)
    return AuditEntry(
        id=new_operation_id(),
        at=now_ms,
        who=actor.sub,
        roles=tuple(actor.roles),
        what=what,
        target=notes.target or _target(asked),
        outcome="failed" if notes.refused and error is None else _outcome(error),
        status=error.status if error else 200,
        request_id=actor.request_id,
        detail=(error.detail if error else notes.refused)[:DETAIL_LENGTH_MAX],
        before=_shown(notes.before),
        after=_shown(notes.after if notes.after is not None else asked),
    )


async def keep(bus: Bus, entry: AuditEntry) -> None:
    """Store it before the caller is answered. A repeated publish is one entry, by its id; without a store, a log line."""
    for _ in range(STORE_TRIES):
        try:
            answer = await bus.request(
                audit_subject(entry.what), encode(entry), headers={"Nats-Msg-Id": entry.id}, timeout_s=STORE_S
            )
            if b'"error"' not in answer.data:
                return
        except BusError:
            await asyncio.sleep(0.1)
    log.error("audit entry not stored", entry=msgspec.to_builtins(entry, str_keys=True))


def _outcome(error: PointsmanError | None) -> Literal["done", "denied", "failed"]:
    if error is None:
        return "done"
    return "denied" if error.status in (401, 403) else "failed"


def _decoded(data: bytes) -> Json:
    try:
        value: Json = msgspec.json.decode(data) if data else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return value


def _target(asked: Json) -> str:
    """The first thing that a request names, at most two levels down."""
    if not isinstance(asked, dict):
        return ""
    for level in (asked, *(inner for inner in asked.values() if isinstance(inner, dict))):
        for name in TARGET_NAMES:
            value = level.get(name)
            if isinstance(value, str):
                return value[:128]
    return ""


def _shown(value: object) -> msgspec.Raw:
    if value is None:
        return NULL
    shown = msgspec.json.encode(hidden(msgspec.json.decode(msgspec.json.encode(value))))
    if len(shown) > SHOWN_BYTES_MAX:
        shown = msgspec.json.encode({"omitted": f"{len(shown)} bytes"})
    return msgspec.Raw(shown)


def hidden(value: Json, levels: int = DEPTH_MAX) -> Json:
    """Without secrets: by the names of fields, and queries of URLs; and no deeper than `levels`."""
    match value:
        case dict() | list() if levels == 0:
            return TOO_DEEP
        case dict():
            return {
                name: HIDDEN if SECRET.search(name) and inner else hidden(inner, levels - 1)
                for name, inner in value.items()
            }
        case list():
            return [hidden(inner, levels - 1) for inner in value]
        case str() if value.startswith(("http://", "https://")):
            return _QUERY.sub(f"?{HIDDEN}", value)
        case _:
            return value
