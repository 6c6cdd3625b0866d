"""The three struct bases: sent or stored as camelCase JSON, frozen, keyword-only."""

from typing import Any, dataclass_transform

import msgspec

NULL = msgspec.Raw(b"null")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class ContractMeta(msgspec.StructMeta):
    """Makes `frozen` and `kw_only` hold for every subclass too, for msgspec and for type checkers alike."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> "ContractMeta":
        return super().__new__(mcs, name, bases, namespace, **{"frozen": True, "kw_only": True, **options})


class Message(msgspec.Struct, metaclass=ContractMeta, rename="camel"):
    """A message or answer; unknown fields are skipped, so that older readers understand newer writers."""


class Record(msgspec.Struct, metaclass=ContractMeta, rename="camel", omit_defaults=True):
    """A stored record; defaults are left out to keep it small."""


class Request(msgspec.Struct, metaclass=ContractMeta, rename="camel", forbid_unknown_fields=True):
    """Input from outside; an unknown field is an error, never silently dropped."""


def is_null(raw: msgspec.Raw) -> bool:
    """Whether a raw JSON value is absent or `null`."""
    return bytes(raw) == b"null"


def encode(message: msgspec.Struct) -> bytes:
    return _ENCODER.encode(message)


_ENCODER = msgspec.json.Encoder()
