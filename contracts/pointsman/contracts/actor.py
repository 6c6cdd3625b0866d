"""Who asks: the subject and roles of a caller, carried in headers on NATS."""

from enum import StrEnum

from pointsman.contracts.base import Message


class Role(StrEnum):
    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    USER = "user"
    SERVICE = "service"


class Actor(Message):
    """`attempt_token` is set when the caller proves itself by the token of one attempt instead of a role.

    `trace` is the caller's `traceparent`, as `trace.accepted` gives it.
    """

    sub: str
    roles: tuple[Role, ...] = ()
    attempt_token: str | None = None
    request_id: str = ""
    trace: str = ""

    def has(self, *roles: Role) -> bool:
        return any(role in self.roles for role in roles)

    def may_see(self, owner: str) -> bool:
        """Whether a task of this owner exists for the caller."""
        return self.sub == owner or self.has(Role.ADMIN, Role.OPERATOR, Role.VIEWER)

    def may_steer(self, owner: str) -> bool:
        return self.sub == owner or self.has(Role.ADMIN, Role.OPERATOR)
