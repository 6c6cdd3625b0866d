"""Where a list goes on: opaque to clients, signed, and bound to the filters it was made for."""

import base64
import binascii
import hashlib
import hmac

import msgspec

from pointsman.contracts.errors import invalid

SIGNATURE_BYTES = 12


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The last row seen, and the range that the first page settled on. Times in ms since the epoch."""

    filters: bytes
    start: int
    end: int
    at: int
    id: str


_DECODER = msgspec.msgpack.Decoder(Position)


class Cursors:
    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"pointsman cursor" + secret.encode()).digest()

    def fingerprint(self, filters: str) -> bytes:
        return hashlib.blake2b(filters.encode(), digest_size=8).digest()

    def write(self, position: Position) -> str:
        data = msgspec.msgpack.encode(position)
        return base64.urlsafe_b64encode(self._signature(data) + data).decode().rstrip("=")

    def read(self, cursor: str, filters: bytes) -> Position:
        """Raises 400 for a cursor that is not ours, or of other filters."""
        try:
            data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise invalid("cursor", "not one that was given") from None
        signature, data = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(data)):
            raise invalid("cursor", "not one that was given")
        position = _DECODER.decode(data)
        if position.filters != filters:
            raise invalid("cursor", "was given for other filters")
        return position

    def _signature(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256")[:SIGNATURE_BYTES]
