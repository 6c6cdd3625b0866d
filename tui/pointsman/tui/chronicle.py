"""What happened in the cluster, newest first: told by frames as it happens, and by the audit trail before that. Pure."""

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from pointsman.contracts.frames import News
from pointsman.contracts.ids import is_task_id
from pointsman.contracts.search import AuditEntry
from pointsman.contracts.why import why
from pointsman.tui.commands import command

HELD_MAX = 5_000
FIELDS = ("kind", "subject", "what", "by", "why", "ok")
KINDS = ("server", "act", "tasks", "config")


@dataclass(frozen=True, slots=True)
class Happening:
    """`why` is the reason or the result; `after` what an act asked for, as far as the audit trail tells."""

    at: int
    kind: str
    subject: str
    what: str
    why: str = ""
    by: str = ""
    ok: bool = True
    status: int | None = None
    after: bytes = b""

    @property
    def key(self) -> str:
        return f"{self.at:015} {self.subject} {self.what} {self.by}"


def of_news(news: News) -> Happening:
    return Happening(
        at=news.at,
        kind=news.kind,
        subject=news.subject,
        what=news.what,
        why=news.why or "",
        by=news.by or "",
        ok=news.ok,
    )


def of_entry(entry: AuditEntry) -> Happening:
    """Named as frames name it, so that both are one line."""
    service, _, verb = entry.what.partition(".")
    return Happening(
        at=entry.at,
        kind="config" if service == "balancer" else "act",
        subject=entry.target,
        what=verb or entry.what,
        why=why(entry),
        by=entry.who,
        ok=entry.outcome == "done",
        status=entry.status if entry.outcome != "done" else None,
        after=bytes(entry.after),
    )


class Chronicle:
    """Each happening once, whoever told it."""

    def __init__(self, held_max: int = HELD_MAX) -> None:
        self._held_max = held_max
        self._held: dict[str, Happening] = {}
        self._order: list[str] = []
        self.version = 0

    def __len__(self) -> int:
        return len(self._held)

    def take(self, told: Iterable[Happening]) -> None:
        for one in told:
            known = self._held.get(one.key)
            if known == one:
                continue
            if known is None:
                insort(self._order, one.key)
            self._held[one.key] = one if known is None else _both(known, one)
            self.version += 1
        for key in self._order[: max(0, len(self._order) - self._held_max)]:
            del self._held[key]
        del self._order[: max(0, len(self._order) - self._held_max)]

    def get(self, key: str) -> Happening | None:
        return self._held.get(key)

    def matching(self, text: str) -> list[str]:
        """The keys of what matches all words of a filter, newest first."""
        terms = terms_of(text)
        return [key for key in reversed(self._order) if matches(self._held[key], terms)]


def _both(known: Happening, one: Happening) -> Happening:
    """What frames shorten, the audit trail tells whole; what they found out stays."""
    rich, poor = (one, known) if one.after else (known, one)
    return Happening(
        at=rich.at,
        kind=rich.kind,
        subject=rich.subject,
        what=rich.what,
        why=rich.why or poor.why,
        by=rich.by,
        ok=rich.ok,
        status=rich.status,
        after=rich.after,
    )


type Term = tuple[str, str, bool]


def terms_of(text: str) -> list[Term]:
    """`ana kind:act subject:srv-* -ok:yes`: field ("" for any), what it contains, and whether it must not."""
    found = []
    for word in text.split():
        negated = len(word) > 1 and word[0] in "-!"
        field, colon, value = word[negated:].partition(":")
        is_field = bool(colon) and field in FIELDS
        found.append((field if is_field else "", (value if is_field else word[negated:]).lower(), negated))
    return found


def matches(one: Happening, terms: Sequence[Term]) -> bool:
    return all(_has(one, field, value) != negated for field, value, negated in terms)


def _has(one: Happening, field: str, value: str) -> bool:
    match field:
        case "":
            return any(value in text.lower() for text in (one.subject, one.what, one.why, one.by, one.kind))
        case "ok":
            return one.ok == (value in ("yes", "true", "1"))
        case "kind":
            return one.kind.startswith(value)
        case _:
            text = str(getattr(one, field)).lower()
            return text.startswith(value[:-1]) if value.endswith("*") else value in text


def command_of(one: Happening) -> str | None:
    """What does the same from a shell; None for what nobody ordered, or what the trail tells too little of."""
    asked, subject = _asked(one.after), one.subject
    match one.what:
        case "cancel" | "retry" if is_task_id(subject):
            return command("task", one.what, of=[subject])
        case "unregister":
            return command("server", "remove", of=[subject])
        case "maintenance":
            inner = _inner(asked, "maintenance")
            wanted = inner.get("maintenance", inner.get("enabled"))
            return command("server", "activate" if wanted is False else "maintenance", of=[subject])
        case "algorithm":
            name, pool = asked.get("algorithm"), asked.get("pool", subject)
            return command("balancer", "switch", str(name), options=["--pool", str(pool)]) if name else None
        case "pool.undo":
            return command("balancer", "undo", options=["--pool", subject])
        case _:
            return None


def _asked(data: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(data, type=dict[str, object]) if data else {}
    except msgspec.MsgspecError:
        return {}


def _inner(asked: dict[str, object], name: str) -> dict[str, object]:
    inner = asked.get(name)
    return inner if isinstance(inner, dict) else asked


def place_of(one: Happening) -> str:
    """The screen that shows its subject."""
    if is_task_id(one.subject):
        return "tasks"
    return "balancer" if one.kind == "config" else "servers"
