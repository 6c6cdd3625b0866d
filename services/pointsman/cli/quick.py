"""Imports without what they would bring along and do not need: on a terminal, starting is what takes the time."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(name: str) -> Iterator[None]:
    """An optional module is absent for what is imported meanwhile, unless it is there already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


with without("typing_extensions"):
    import msgspec  # noqa: F401 - it takes the same from the standard library
