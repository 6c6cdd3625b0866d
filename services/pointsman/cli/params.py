"""Values that options take beside texts and numbers."""

from typing import Any

import click

NONE = "none"
UNBOUNDED = object()
DIGITS_MAX = 18


def is_number(text: str) -> bool:
    """Digits alone, and no more of them than any number here may have."""
    return text.isdecimal() and len(text) <= DIGITS_MAX


class Bound(click.ParamType[object]):
    """A number, or `none`, which is UNBOUNDED."""

    name = "integer|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if value != NONE and not is_number(str(value)):
            self.fail(f"{value!r} is neither a number nor none", param, ctx)
        return UNBOUNDED if value == NONE else int(value)


BOUND = Bound()


class Hertz(click.FloatRange):
    """A number within limits; `nan`, which lies neither below nor above any, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        if found != found:
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return found


class Subject(click.ParamType[str]):
    """Whom a token speaks for."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from pointsman.services.gateway.tokens import SUBJECT

        if not SUBJECT.fullmatch(value):
            self.fail("must be 1-255 printable ASCII characters", param, ctx)
        return str(value)


class Seconds(click.ParamType[float]):
    """`10`, `500ms`, `1m` in seconds."""

    name = "duration"

    def __init__(self, least: float, most: float) -> None:
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from pointsman.contracts.filter_values import DURATION, milliseconds

        if isinstance(value, float):
            return value
        found = milliseconds(value if value[-1:].isalpha() else f"{value}s")
        if found is None or not self._least <= found / 1000 <= self._most:
            limits = f"from {self._least:g} to {self._most:,.10g} seconds"
            self.fail(f"{value!r} is no duration {limits}, such as 10 or {DURATION}", param, ctx)
        return found / 1000
