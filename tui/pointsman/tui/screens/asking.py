"""Screens that ask the cluster for more than frames tell: in the background, with a time limit, one question at a time."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from pointsman.client.bus import BusError, BusTimeout, NoResponders
from pointsman.client.client import Client
from pointsman.contracts.errors import PointsmanError
from pointsman.tui.asked import Asked
from pointsman.tui.screens.base import CockpitScreen

TIMEOUT_S = 10.0


class AskingScreen(CockpitScreen):
    @property
    def may_ask(self) -> bool:
        """Whether there is somebody to ask, or never will be: that is to be said too."""
        return self.cockpit.client is not None or self.cockpit.options.system.recording is not None

    def ask[T](
        self,
        asked: Asked[T],
        question: Callable[[Client], Awaitable[T]],
        then: Callable[[T], None] | None = None,
        *,
        anew: bool = False,
    ) -> None:
        """Ask unless the same is being asked; `anew` gives up on the question before. Never raises."""
        if asked.is_busy and not anew:
            return
        client = self.cockpit.client
        if client is None:
            asked.failed(self.cockpit.why_alone, self.cockpit.moment.now, self.cockpit.moment.wall_ms)
            return
        asked.began(self.cockpit.moment.now)
        self.run_worker(
            self._asking(asked, asked.asks, question(client), then), group=f"ask {asked.what}", exit_on_error=False
        )
        self.set_timer(TIMEOUT_S / 20, self.cockpit.wake)

    async def _asking[T](
        self, asked: Asked[T], number: int, question: Awaitable[T], then: Callable[[T], None] | None
    ) -> None:
        why, answer = "", None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await question
        except (PointsmanError, BusError, TimeoutError, msgspec.MsgspecError) as error:
            why = why_of(error)
        if number != asked.asks:
            return
        if answer is None:
            asked.failed(why, self.cockpit.moment.now, self.cockpit.moment.wall_ms)
        else:
            asked.came(answer, self.cockpit.moment.now)
            if then is not None:
                then(answer)
        self.cockpit.wake()


def why_of(error: Exception) -> str:
    """What failed, for people."""
    match error:
        case PointsmanError():
            return error.detail
        case NoResponders():
            return "nobody answers"
        case BusTimeout() | TimeoutError():
            return "no answer in time"
        case BusError():
            return f"the bus: {str(error) or type(error).__name__}"
        case _:
            return f"not understood: {error}"
