"""The call that tells a submitter at `callbackUrl` that a task has ended: what waits to be delivered, and its signing key."""

import base64
import hashlib
import hmac
from urllib.parse import urlsplit

import msgspec

from pointsman.contracts.base import Record

SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix
AUDIENCE = b"pointsman completion webhook 1|"
HOST_BYTES = 8


class Completion(Record):
    """One ended generation of a task; `body` is what is sent, `announced_at` in ms since the epoch."""

    task_id: str
    generation: int
    owner: str
    url: str
    announced_at: int
    body: msgspec.Raw

    @property
    def webhook_id(self) -> str:
        """The same for every try, so that a receiver can tell a repetition."""
        return f"{self.task_id}-{self.generation}-ended"

    @property
    def host(self) -> str:
        """Host and port as the URL writes them: what may be said in a log."""
        return urlsplit(self.url).netloc


def host_token(url: str) -> str:
    """The receiving host as one subject token."""
    parts = urlsplit(url)
    return hashlib.blake2b(f"{parts.scheme}://{parts.netloc.lower()}".encode(), digest_size=HOST_BYTES).hexdigest()


def signing_key(jwt_secret: str, owner: str) -> bytes:
    """Derived, so that it is stored nowhere; it changes with the secret that it comes from."""
    return hmac.digest(jwt_secret.encode(), AUDIENCE + owner.encode(), hashlib.sha256)


def shown_secret(key: bytes) -> str:
    """As libraries of Standard Webhooks take it."""
    return SECRET_PREFIX + base64.b64encode(key).decode()
