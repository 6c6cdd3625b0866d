"""Taking many servers out at once, or back: what is asked, the plan, and what became of each server."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from pointsman.contracts.base import Message, Request
from pointsman.contracts.task import DAY_MS, Name, Reason

SERVERS_MAX = 1_000


class MaintainManyRequest(Request):
    """`POST /api/servers/maintenance`. At least one of group, pool and ids; a server must match each that is given.

    `remove` unregisters what is taken out, after its drain unless `drainTimeoutMs` is 0; only admins may. `revisions` are
    those that the caller has seen, by id: a server that has changed since is refused.
    """

    enabled: bool
    group: Name | None = None
    pool: Name | None = None
    ids: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=SERVERS_MAX)] | None = None
    drain_timeout_ms: Annotated[int, Meta(ge=0, le=DAY_MS)] | None = None
    reason: Reason | None = None
    dry_run: bool = False
    remove: bool = False
    revisions: Annotated[dict[Name, int], Meta(max_length=SERVERS_MAX)] = {}


class Change(StrEnum):
    DRAIN = "drain"
    ACTIVATE = "activate"
    REMOVE = "remove"
    NONE = "none"
    REFUSED = "refused"


class MaintainedServer(Message):
    """`done` is None where nothing was tried: a dry run, or nothing to change; `error` says why it was not done.

    `revision` is that of the server before it.
    """

    server_id: str
    pool: str | None
    status: str | None
    running: int
    change: Change
    done: bool | None = None
    error: str | None = None
    revision: int | None = None


class MaintainedPool(Message):
    """Slots of servers that take tasks now, and that would after it; `running` is what holds slots of the pool now."""

    pool: str
    slots_before: int
    slots_after: int
    running: int
    warnings: tuple[str, ...]


class MaintainManyAnswer(Message):
    dry_run: bool
    servers: tuple[MaintainedServer, ...]
    pools: tuple[MaintainedPool, ...]
    changed: int
    failed: int
