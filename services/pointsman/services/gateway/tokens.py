"""Tokens with roles: strict JWT over PyJWT, one algorithm, one key, everything that matters required."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from pointsman.contracts.actor import Role
from pointsman.contracts.errors import PointsmanError
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.settings import Settings, SettingsError, require_secret
from pointsman.services.runtime.settings_rules import SECRET_BYTES_MIN

ALGORITHM = "HS256"
LEEWAY_S = 30
CACHE_MAX = 4096
TOKEN_LENGTH_MAX = 4096
SECONDS_MAX = 1 << 53
_OPTIONS: dict[str, Any] = {
    "require": ["exp", "iat", "sub"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}
SUBJECT = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
_ROLES = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a token says of its bearer; `expires_s` in seconds since the epoch."""

    sub: str
    roles: tuple[Role, ...]
    expires_s: float


class TokenVerifier:
    """Verifies bearer tokens; remembers the last ones, since the same few come with every request."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._secret = require_secret(settings)
        if len(self._secret.encode()) < SECRET_BYTES_MIN:
            raise SettingsError(f"jwt_secret: must be at least {SECRET_BYTES_MIN} bytes long")
        self._issuer = settings.jwt_issuer or None
        self._audience = settings.jwt_audience or None
        self._options = _OPTIONS | {"verify_aud": self._audience is not None}
        self._clock = clock
        self._known: OrderedDict[str, Identity] = OrderedDict()

    def verify(self, token: str) -> Identity:
        """Who it is; PointsmanError 401 when the token is not to be trusted (any more)."""
        now_s = self._clock.now_ms() / 1000
        if (identity := self._known.get(token)) is None:
            identity = self._checked(token, now_s)
            self._remember(token, identity)
        else:
            self._known.move_to_end(token)
        if now_s > identity.expires_s + LEEWAY_S:
            self._known.pop(token, None)
            raise untrusted("the token has expired")
        return identity

    def _checked(self, token: str, now_s: float) -> Identity:
        if len(token) > TOKEN_LENGTH_MAX:
            raise untrusted("the token is too long")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                options=self._options,  # type: ignore[arg-type]
            )
        except jwt.PyJWTError as error:
            raise untrusted(f"the token is not valid ({type(error).__name__})") from None
        return _identity(claims, now_s)

    def _remember(self, token: str, identity: Identity) -> None:
        self._known[token] = identity
        if len(self._known) > CACHE_MAX:
            self._known.popitem(last=False)


def untrusted(detail: str) -> PointsmanError:
    return PointsmanError(401, detail, slug="invalid-token")


def _identity(claims: Mapping[str, object], now_s: float) -> Identity:
    expires_s = _time(claims, "exp")
    if _time(claims, "iat") > now_s + LEEWAY_S:
        raise untrusted("the token was issued in the future (iat)")
    if "nbf" in claims and _time(claims, "nbf") > now_s + LEEWAY_S:
        raise untrusted("the token is not valid yet (nbf)")
    sub = claims["sub"]
    if not isinstance(sub, str) or not SUBJECT.fullmatch(sub):
        raise untrusted("sub must be 1-255 printable ASCII characters")
    return Identity(sub, _roles(claims.get("roles", [])), expires_s)


def _time(claims: Mapping[str, object], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < SECONDS_MAX:
        raise untrusted(f"{name} must be a number of seconds")
    return value


def _roles(claimed: object) -> tuple[Role, ...]:
    """The roles known here; those of other systems in the same token are no business of ours."""
    if not isinstance(claimed, list) or not all(isinstance(role, str) for role in claimed):
        raise untrusted("roles must be a list of strings")
    return tuple(Role(role) for role in dict.fromkeys(claimed) if role in _ROLES)
