"""What the values of a filter's terms mean, whoever applies them: the archive in SQL, the rest in memory. Pure."""

import re

from pointsman.contracts.filters import Op
from pointsman.contracts.ids import TASK_PREFIX

_ID_DIGITS = re.compile(r"[0-9a-f]{1,32}")


def is_like(text: str, pattern: str) -> bool:
    """`*` stands for any characters; linear in the length of the text."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    if not text.startswith(first):
        return False
    at = len(first)
    for part in others[:-1]:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return text.endswith(others[-1]) and len(text) - len(others[-1]) >= at


def contains(text: str, pattern: str) -> bool:
    """Anywhere and in any case, `*` for any characters."""
    return is_like(folded(text), f"*{folded(pattern)}*")


def folded(text: str) -> str:
    """In lower case, character by character as databases do: no final sigma, and one character for each."""
    return text.lower() if text.isascii() else "".join(letter.lower()[:1] for letter in text)


def compares(value: int, op: Op, wanted: int) -> bool:
    match op:
        case Op.IS:
            return value == wanted
        case Op.ABOVE:
            return value > wanted
        case Op.FROM:
            return value >= wanted
        case Op.BELOW:
            return value < wanted
        case Op.UP_TO:
            return value <= wanted


def id_digits(value: str) -> str | None:
    """The hex digits that an id begins with, its prefix may be left out; None for what no id begins with."""
    digits = value.lower().removeprefix(TASK_PREFIX)
    return digits if _ID_DIGITS.fullmatch(digits) or value.lower() == TASK_PREFIX else None


def begins(task_id: str, value: str) -> bool:
    digits = id_digits(value)
    return digits is not None and task_id.removeprefix(TASK_PREFIX).startswith(digits)
