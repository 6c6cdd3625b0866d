"""One row per route: what guards, handlers and the OpenAPI document read alike."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import msgspec

from pointsman.client.bus import Bus, Message
from pointsman.contracts.actor import Actor, Role
from pointsman.services.gateway.hub import Hub
from pointsman.services.gateway.reply import Reply
from pointsman.services.runtime.clock import Clock

KIB = 1024
BODY_BYTES_MAX = 16 * KIB

Until = Callable[[Bus, Actor, str, float], Awaitable[Message]]


class Proof(Enum):
    """How a caller may prove itself other than by a token with roles."""

    ATTEMPT_TOKEN = "attempt token"  # noqa: S105 - a kind, not a token
    SERVER_CREDENTIAL = "server credential"


class Id(Enum):
    """What the `{id}` of a path names."""

    TASK = "task"
    SERVER = "server"
    POOL = "pool"
    TYPE = "type"
    LIMITED = "pool, type or key"
    JOB = "job"


@dataclass(slots=True)
class Incoming:
    """One admitted request as an action sees it; `waited` says that it was meant to take long.

    `until_s`: when the caller's token ends, in seconds since the epoch; None without one.
    `kind` says of what kind the thing is that `id` names, where the path does.
    """

    actor: Actor
    request_id: str
    id: str
    query: msgspec.Struct | None
    headers: Mapping[bytes, bytes]
    body: bytes = b""
    credential: str = ""
    waited: bool = False
    kind: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """What actions reach: the services over the bus, the end of a task, all that happens, the time."""

    bus: Bus
    clock: Clock
    until_terminal: Until
    hub: Hub


Act = Callable[[Ports, Incoming], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as documented; `headers` are names of `openapi.HEADERS`."""

    description: str
    body: type[msgspec.Struct] | None = None
    headers: tuple[str, ...] = ()
    example: object = None
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`roles` may call it, or everybody when `public`; `errors` are statuses beyond those of every route;
    `query_prefixes` begin names of query parameters that no struct can list."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    name: str
    tag: str
    summary: str
    act: Act
    answers: Mapping[int, Answer]
    roles: frozenset[Role] = frozenset()
    public: bool = False
    proof: Proof | None = None
    id: Id | None = None
    request: type[msgspec.Struct] | None = None
    body_optional: bool = False
    body_bytes_max: int = BODY_BYTES_MAX
    query: type[msgspec.Struct] | None = None
    query_prefixes: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    example: object = None
    query_names: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        if self.public == bool(self.roles):
            raise ValueError(f"{self.method} {self.path}: declares no roles, or roles although it is public")
        if ("{id}" in self.path) != (self.id is not None):
            raise ValueError(f"{self.method} {self.path}: says not what its id names")
        if self.query:
            names = frozenset(entry.encode_name for entry in msgspec.structs.fields(self.query))
            object.__setattr__(self, "query_names", names)
