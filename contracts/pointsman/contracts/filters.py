"""The filter language of tasks: one parser for REST, command line and cockpit.

    type:resize-* state:failed,timeout -server:srv-0017 try>1 wait>5s error:"connection refused" since:15m payload.user:42

A term is `key:value`; `-` before it negates, commas separate alternatives, `*` stands for any characters, quotes keep
spaces. Words without a key are looked for in error, type, server, owner and the beginning of the id.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import NoReturn

from msgspec.structs import replace

from pointsman.contracts.base import Record
from pointsman.contracts.errors import FieldError, PointsmanError
from pointsman.contracts.filter_values import DURATION, milliseconds, moment
from pointsman.contracts.lifecycle import Status

TEXT_LENGTH_MAX = 2_000
VALUE_LENGTH_MAX = 256
TERMS_MAX = 32
VALUES_MAX = 20
COUNT_MAX = 2**31 - 1


class Kind(Enum):
    """What the values of a key are."""

    NAME = "name"
    STATUS = "status"
    PREFIX = "prefix"
    TEXT = "text"
    PAIR = "pair"
    COUNT = "count"
    DURATION = "duration"
    AGE = "age"
    MOMENT = "moment"


class Op(Enum):
    IS = ":"
    ABOVE = ">"
    FROM = ">="
    BELOW = "<"
    UP_TO = "<="


class Term(Record):
    """`values` are alternatives; `numbers` the same as counts, or ms for durations and moments."""

    key: str
    op: Op = Op.IS
    path: str = ""
    values: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    negated: bool = False


KEYS = {
    "id": Kind.PREFIX,
    "type": Kind.NAME,
    "status": Kind.STATUS,
    "server": Kind.NAME,
    "owner": Kind.NAME,
    "pool": Kind.NAME,
    "error": Kind.TEXT,
    "text": Kind.TEXT,
    "label": Kind.PAIR,
    "labels": Kind.TEXT,
    "payload": Kind.TEXT,
    "try": Kind.COUNT,
    "priority": Kind.COUNT,
    "wait": Kind.DURATION,
    "ran": Kind.DURATION,
    "since": Kind.AGE,
    "from": Kind.MOMENT,
    "to": Kind.MOMENT,
}
ALIASES = {"state": "status", "serverId": "server", "attempt": "try"}
PATHS = ("labels", "payload")
RANGED = frozenset({Kind.COUNT, Kind.DURATION})
SINGLE = frozenset({Kind.AGE, Kind.MOMENT})
SPLIT = frozenset({Kind.NAME, Kind.STATUS, Kind.PREFIX, Kind.COUNT})
STATUS_WORDS = {
    "QUEUED": Status.PENDING,
    "WAITING": Status.PENDING,
    "RUNNING": Status.PROCESSING,
    "DONE": Status.COMPLETED,
    "CANCELED": Status.CANCELLED,
}
EXISTING = ", ".join([name if name not in PATHS else f"{name}.NAME" for name in KEYS])

_TOKEN = re.compile(r"""(?:[^\s"\\]|\\.|"(?:[^"\\]|\\.)*")+|"|\\""", re.DOTALL)
_HEAD = re.compile(
    r"(?P<key>[A-Za-z]+)(?:\.(?P<path>(?:[^\s\":=<>\\]|\"(?:[^\"\\]|\\.)*\")*))?(?P<op>!=|>=|<=|[:=<>])", re.DOTALL
)
_PARTS = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|([^\",]+)|(,)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_UNFINISHED = {'"': "this quote is not closed", "\\": "nothing follows the backslash"}
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class FilterError(PointsmanError):
    """400; `position` counts characters from 0 within the text."""

    def __init__(self, field: str, message: str, position: int = 0) -> None:
        super().__init__(
            400, f"{field}: {message}", slug="invalid-filter", errors=(FieldError(field=field, message=message),)
        )
        self.position = position


def parse(text: str, field: str = "q") -> tuple[Term, ...]:
    """The terms of a text, all of which must hold; raises FilterError with the position and what exists."""
    if len(text) > TEXT_LENGTH_MAX:
        raise FilterError(field, f"longer than {TEXT_LENGTH_MAX} characters")
    if found := _UNSTORABLE.search(text):
        _fail(field, "the character NUL and halves of characters are not allowed", found.start())
    tokens = list(_TOKEN.finditer(text))
    if len(tokens) > TERMS_MAX:
        _fail(field, f"more than {TERMS_MAX} terms", tokens[TERMS_MAX].start())
    for token in tokens:
        if token[0] in _UNFINISHED:
            _fail(field, _UNFINISHED[token[0]], token.start())
    return tuple(_term(token[0], field, token.start()) for token in tokens)


def of_parameters(given: Mapping[str, str]) -> tuple[Term, ...]:
    """The terms of named values, as REST has them: `q` holds the language, each other name is one term."""
    terms: list[Term] = []
    for name, value in given.items():
        if found := _UNSTORABLE.search(name) or _UNSTORABLE.search(value):
            _fail(name[:64], "the character NUL and halves of characters are not allowed", found.start())
        if name == "q":
            terms += parse(value)
            continue
        key, dot, path = name.partition(".")
        terms.append(_made(key, path if dot else None, ":", [(value, False)], name[:64], 0, split=True))
    return tuple(terms)


def canonical(terms: tuple[Term, ...]) -> str:
    """The same for the same filters, whatever their order."""
    return "\n".join(sorted(repr(term) for term in terms))


def _term(token: str, field: str, position: int) -> Term:
    negated = len(token) > 1 and token[0] in "-!"
    body, start = (token[1:], position + 1) if negated else (token, position)
    head = _HEAD.match(body)
    if head is None:
        word = ",".join(value for value, _ in _values(body, field, start, split=False))
        return Term(key="text", values=(_bounded(word, field, start),), negated=negated)
    values = _values(body[head.end() :], field, start + head.end(), split=True)
    path = _unquoted(head["path"]) if head["path"] is not None else None
    term = _made(head["key"], path, head["op"], values, field, start)
    return replace(term, negated=negated != (head["op"] == "!="))


def _values(text: str, field: str, position: int, *, split: bool) -> list[tuple[str, bool]]:
    """The alternatives, each with whether it was quoted."""
    found: list[tuple[str, bool]] = [("", False)]
    for part in _PARTS.finditer(text):
        quoted, plain, comma = part.groups()
        before, was_quoted = found[-1]
        if comma and split:
            found.append(("", False))
        elif quoted is not None:
            found[-1] = (before + _ESCAPED.sub(r"\1", quoted), True)
        else:
            found[-1] = (before + _ESCAPED.sub(r"\1", plain or comma), was_quoted)
    if any(not value and not quoted for value, quoted in found):
        _fail(field, "a value is missing", position)
    return found


def _made(
    name: str,
    path: str | None,
    op: str,
    values: list[tuple[str, bool]],
    field: str,
    position: int,
    *,
    split: bool = False,
) -> Term:
    key = ALIASES.get(name, name)
    kind = KEYS.get(key)
    if kind is None:
        _fail(field, f"unknown filter {name[:64]!r}; there are {EXISTING}", position)
    if (path is not None) != (key in PATHS) or path == "":
        _fail(field, f"write {key}.NAME:VALUE" if key in PATHS else f"{key} has no parts", position)
    comparison = Op.IS if op in (":", "=", "!=") else Op(op)
    if comparison is not Op.IS and kind not in RANGED:
        _fail(field, f"{key} cannot be compared with {op}", position)
    texts = [value for value, _ in values]
    if split and kind in SPLIT:
        texts = texts[0].split(",")
    if len(texts) > VALUES_MAX:
        _fail(field, f"more than {VALUES_MAX} values", position)
    term = Term(key=key, op=comparison, path=_bounded(path or "", field, position), values=tuple(texts))
    return _checked(term, kind, field, position)


def _checked(term: Term, kind: Kind, field: str, position: int) -> Term:
    for value in term.values:
        _bounded(value, field, position)
    if kind in SINGLE and len(term.values) > 1:
        _fail(field, f"{term.key} takes one value", position)
    match kind:
        case Kind.STATUS:
            return replace(term, values=tuple(_status(value, field, position) for value in term.values))
        case Kind.PAIR:
            if not all(value.find("=") > 0 for value in term.values):
                _fail(field, "write label:NAME=VALUE", position)
            return term
        case Kind.COUNT:
            return replace(term, numbers=tuple(_count(value, field, position) for value in term.values))
        case Kind.DURATION | Kind.AGE:
            return replace(term, numbers=tuple(_duration(value, field, position) for value in term.values))
        case Kind.MOMENT:
            return replace(term, numbers=tuple(_moment(value, field, position) for value in term.values))
        case Kind.NAME | Kind.PREFIX | Kind.TEXT:
            return term


def _status(value: str, field: str, position: int) -> str:
    word = value.upper()
    if word in STATUS_WORDS:
        return STATUS_WORDS[word]
    if word not in Status.__members__:
        _fail(field, f"unknown status {value[:64]!r}; there are {', '.join(Status)}", position)
    return word


def _count(value: str, field: str, position: int) -> int:
    if not value.isascii() or not value.isdecimal() or len(value) > 10 or int(value) > COUNT_MAX:
        _fail(field, f"{value[:64]!r} is not a number from 0 to {COUNT_MAX}", position)
    return int(value)


def _duration(value: str, field: str, position: int) -> int:
    found = milliseconds(value)
    if found is None:
        _fail(field, f"{value[:64]!r} is not a duration such as {DURATION}", position)
    return found


def _moment(value: str, field: str, position: int) -> int:
    found = moment(value)
    if found is None:
        _fail(field, f"{value[:64]!r} is neither ms since the epoch nor a date such as 2026-01-31T12:00:00Z", position)
    return found


def _bounded(value: str, field: str, position: int) -> str:
    if len(value) > VALUE_LENGTH_MAX:
        _fail(field, f"a value is longer than {VALUE_LENGTH_MAX} characters", position)
    return value


def _unquoted(text: str) -> str:
    return "".join(_ESCAPED.sub(r"\1", quoted) if quoted else plain for quoted, plain, _ in _PARTS.findall(text))


def _fail(field: str, message: str, position: int) -> NoReturn:
    raise FilterError(field, f"at character {position + 1}: {message}", position)
