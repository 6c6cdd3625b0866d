"""The cockpit without a screen: one line per change, nothing repaints. For screen readers, logs and slow links."""

import asyncio
from collections.abc import Callable
from datetime import UTC
from functools import partial
from time import monotonic

from pointsman.tui.changes import Look, changes, look_at, summary
from pointsman.tui.feed import Feed, MakeSource
from pointsman.tui.link import Link, Sign, State
from pointsman.tui.model import Model
from pointsman.tui.options import Options
from pointsman.tui.told import Connected, FrameCame, Lost, Refused, Told

LINK_CHECK_S = 0.25
SUMMARY_S = 60.0


class Plain:
    """Tells the link's states, what changes in the cluster, and how it is once a minute."""

    def __init__(self, options: Options, write: Callable[[str], None], make_source: MakeSource | None = None) -> None:
        self._write = write
        self._model = Model()
        self._link = Link(since=monotonic())
        self._look: Look | None = None
        self._summed_at = float("-inf")
        make = make_source or partial(Feed, options.system.locate, options.actor)
        self._source = make(self.take)

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._source.run())
            group.create_task(self._watch_link())

    def take(self, told: Told) -> None:
        now = monotonic()
        match told:
            case FrameCame(frame=frame):
                self._model.fold(frame)
                if self._model.wants_snapshot:
                    self._source.want_snapshot()
                self._set_link(self._link.after(Sign.FRAME, now))
                self._tell_changes(now)
            case Connected(where=where):
                self._set_link(self._link.after(Sign.CONNECTED, now), f" to {where}")
            case Lost(reason=reason):
                self._model.forget_place()
                self._set_link(self._link.after(Sign.LOST, now), f": {reason}")
            case Refused(what=what):
                self._set_link(self._link.after(Sign.REFUSED, now), f": {what}")
            case _:
                pass

    def _tell_changes(self, now: float) -> None:
        if not self._model.is_known or self._model.wants_snapshot:
            return
        if self._look is not None:
            for told in changes(self._look, self._model, UTC):
                self._write(told)
        self._look = look_at(self._model)
        if now - self._summed_at >= SUMMARY_S:
            self._summed_at = now
            self._write(summary(self._model, UTC))

    def _set_link(self, link: Link, more: str = "") -> None:
        was, self._link = self._link.state, link
        if link.state is not was and link.state is not State.SLOW and was is not State.SLOW:
            word = "connected" if link.state is State.WAITING else link.state
            self._write(f"link {word}{more}")

    async def _watch_link(self) -> None:
        while True:
            await asyncio.sleep(LINK_CHECK_S)
            self._set_link(self._link.aged(monotonic()))
