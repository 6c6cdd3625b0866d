"""The filter of the servers screen: words that a server's id contains, and `field:value` terms. Pure."""

from dataclasses import dataclass

from pointsman.tui import fleet
from pointsman.tui.model import Server

FIELDS = ("pool", "state", "group", "version", "by", "reason")


@dataclass(frozen=True, slots=True)
class Terms:
    """All of `wanted` match and none of `unwanted` (those with `!` before them); a term is (field, value), "" for the id."""

    text: str = ""
    wanted: tuple[tuple[str, str], ...] = ()
    unwanted: tuple[tuple[str, str], ...] = ()

    def match(self, server: Server) -> bool:
        return all(_has(server, *term) for term in self.wanted) and not any(
            _has(server, *term) for term in self.unwanted
        )


def terms_of(text: str) -> Terms:
    """`srv-00 pool:gpu !state:up`: a field that is not known is part of the word."""
    wanted: list[tuple[str, str]] = []
    unwanted: list[tuple[str, str]] = []
    for word in text.lower().split():
        is_unwanted = word.startswith("!")
        field, colon, value = word.removeprefix("!").partition(":")
        term = (field, value) if colon and field in FIELDS else ("", word.removeprefix("!"))
        (unwanted if is_unwanted else wanted).append(term)
    return Terms(text.strip(), tuple(wanted), tuple(unwanted))


def _has(server: Server, field: str, value: str) -> bool:
    row = server.row
    match field:
        case "pool":
            return value in row.pool.lower()
        case "state":
            return value in (fleet.concern(server), row.state.lower(), row.wanted.lower())
        case "group":
            return any(value in group.lower() for group in row.groups)
        case "version":
            return (row.version or "").lower().startswith(value)
        case "by":
            return value in row.by.lower()
        case "reason":
            return value in (row.reason or "").lower()
        case _:
            return value in row.id.lower()
