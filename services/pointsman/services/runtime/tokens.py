"""Attempt tokens: an HMAC over task, generation, attempt, server and expiry, with a key of their own."""

import base64
import binascii
import hashlib
import hmac

from pointsman.contracts.base import Record
from pointsman.contracts.errors import unauthorized

PREFIX = "pat_"
AUDIENCE = b"pointsman attempt token 1"
GRACE_MS = 86_400_000


class AttemptClaims(Record):
    """`expires_at` in ms since the epoch."""

    task_id: str
    generation: int
    number: int
    server_id: str
    expires_at: int


class AttemptTokens:
    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), AUDIENCE, hashlib.sha256)

    def mint(self, claims: AttemptClaims) -> str:
        body = "|".join(
            (claims.task_id, str(claims.generation), str(claims.number), claims.server_id, str(claims.expires_at))
        ).encode()
        return PREFIX + _encode(body) + "." + _encode(self._mac(body))

    def verify(self, token: str, now: int) -> AttemptClaims:
        """The claims of a genuine token that has not expired; raises 401."""
        body_text, separator, mac_text = token.removeprefix(PREFIX).partition(".")
        if not token.startswith(PREFIX) or not separator:
            raise unauthorized("not an attempt token")
        try:
            body, mac = _decode(body_text), _decode(mac_text)
        except (ValueError, binascii.Error):
            raise unauthorized("the attempt token is damaged") from None
        if not hmac.compare_digest(mac, self._mac(body)):
            raise unauthorized("the attempt token is not ours")
        task_id, generation, number, server_id, expires_at = body.decode().split("|")
        if now > int(expires_at):
            raise unauthorized("the attempt token has expired")
        return AttemptClaims(
            task_id=task_id,
            generation=int(generation),
            number=int(number),
            server_id=server_id,
            expires_at=int(expires_at),
        )

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(data) != text:
        raise ValueError("not canonical")
    return data
