"""Asking again until something outside of us is so: a process, a file lock, a port have no event to wait for."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(is_so: Callable[[], Awaitable[bool]], *, every_s: float) -> None:
    """Without an end of its own: the caller sets the time limit."""
    while not await is_so():  # noqa: ASYNC110
        await asyncio.sleep(every_s)
