"""Who calls: a token with roles, the token of one attempt, or the credential of one server."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError, forbidden
from pointsman.services.gateway.denied import Denied
from pointsman.services.gateway.reply import MISSING_TOKEN
from pointsman.services.gateway.route import Proof, Route
from pointsman.services.gateway.tokens import LEEWAY_S, TokenVerifier, untrusted

CREDENTIAL_PREFIX = "psk_"
ATTEMPT_TOKEN_QUERY = "token"  # noqa: S105 - a name
ATTEMPT_TOKEN_HEADER = b"x-pointsman-attempt-token"
_OPAQUE = re.compile(r"[A-Za-z0-9._~+/=-]{1,2048}")
_PUBLIC = Actor(sub="anonymous")
_IN_ORDER = (Role.ADMIN, Role.OPERATOR, Role.VIEWER, Role.USER, Role.SERVICE)


class Caller(NamedTuple):
    """`credential` is that of a server that came with one; `until_s`, in seconds since the epoch, of who came with a token."""

    actor: Actor
    credential: str = ""
    until_s: float | None = None


def identify(
    verifier: TokenVerifier,
    route: Route,
    server_id: str,
    headers: Mapping[bytes, bytes],
    query: Mapping[str, str],
    request_id: str,
) -> Caller:
    """Raises 401 when unknown, 403 without one of the roles."""
    if route.public:
        return Caller(_PUBLIC)
    if route.proof is Proof.ATTEMPT_TOKEN and (token := _attempt_token(headers, query)):
        return Caller(Actor(sub="", attempt_token=token, request_id=request_id))
    bearer = _bearer(headers)
    if route.proof is Proof.SERVER_CREDENTIAL and bearer.startswith(CREDENTIAL_PREFIX):
        return Caller(Actor(sub=f"server:{server_id}", roles=(Role.SERVICE,), request_id=request_id), _opaque(bearer))
    identity = verifier.verify(bearer)
    actor = Actor(sub=identity.sub, roles=identity.roles, request_id=request_id)
    if route.roles.isdisjoint(identity.roles):
        raise Denied(forbidden(missing_role(route.roles)), actor)
    return Caller(actor, until_s=identity.expires_s + LEEWAY_S)


def missing_role(roles: frozenset[Role]) -> str:
    """`Admin role required`, `Admin or operator role required`, ..."""
    *others, last = [role for role in _IN_ORDER if role in roles]
    names = f"{', '.join(others)} or {last}" if others else last
    return f"{names.capitalize()} role required"


def _bearer(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"authorization")
    if given is None:
        raise PointsmanError(401, "a bearer token is required", slug=MISSING_TOKEN)
    scheme, _, token = given.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise untrusted("the scheme of Authorization must be Bearer")
    return token.strip(" ")


def _attempt_token(headers: Mapping[bytes, bytes], query: Mapping[str, str]) -> str:
    token = query.get(ATTEMPT_TOKEN_QUERY) or headers.get(ATTEMPT_TOKEN_HEADER, b"").decode("latin-1")
    return _opaque(token) if token else ""


def _opaque(token: str) -> str:
    """A token whose owner verifies it; here only that it is safe in a header."""
    if not _OPAQUE.fullmatch(token):
        raise untrusted("the token is malformed")
    return token
