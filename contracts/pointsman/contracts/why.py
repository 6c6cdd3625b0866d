"""What an entry of the audit trail has to say beside who did what: the reason given, what changed, or the refusal."""

import msgspec

from pointsman.contracts.search import AuditEntry

SHOWN = ("algorithm", "wanted", "weight", "maxConcurrent")
"""The settings that people look for first."""

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


def why(entry: AuditEntry) -> str:
    """One line, "" when there is nothing to say: settings as they were and are, then the reason; of a refusal its own."""
    if entry.outcome != "done":
        return entry.detail
    before, after = _fields(entry.before), _fields(entry.after)
    changes = [
        f"{name} {_plain(before.get(name))} -> {_plain(after[name])}"
        for name in SHOWN
        if name in after and before and before.get(name) != after[name]
    ]
    return "; ".join(said for said in (", ".join(changes), _reason(after)) if said)


def _reason(after: dict[str, msgspec.Raw]) -> str:
    try:
        return _TEXT.decode(after.get("reason", msgspec.Raw(b'""')))
    except msgspec.MsgspecError:
        return ""


def _fields(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return _FIELDS.decode(raw)
    except msgspec.MsgspecError:
        return {}


def _plain(raw: msgspec.Raw | None) -> str:
    return "default" if raw is None else bytes(raw).decode(errors="replace").strip('"')
