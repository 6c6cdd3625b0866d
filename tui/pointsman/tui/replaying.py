"""Time travel: keeps the seconds that came, fetches others, and says which model is shown instead of the one of now."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import tzinfo

from pointsman.client.bus import Bus, BusError
from pointsman.tui.archive import keyframes
from pointsman.tui.model import SECOND_MS, Model
from pointsman.tui.moments import Moments
from pointsman.tui.recording import Recording
from pointsman.tui.replay import Period, Replay, bar_line, hour_before
from pointsman.tui.widgets.lines import Span

FETCHED = 60
AHEAD_MS = 10 * SECOND_MS
HISTORY_S = 300


class Replaying:
    """`now_ms` is the time of the newest data by the sender's clock, or the wall's before there is any.

    Of a recording nothing but the past can be looked at.
    """

    def __init__(
        self,
        model: Model,
        bus: Callable[[], Bus | None],
        wake: Callable[[], None],
        wall: Callable[[], float],
        recording: Recording | None = None,
    ) -> None:
        self.moments = Moments() if recording is None else recording.moments
        self._recording = recording
        self.place: Replay | None = None
        self.note = ""
        self._live = model
        self._bus = bus
        self._wake = wake
        self._wall = wall
        self._shown: Model | None = None
        self._asked: set[int] = set()
        self._fetches: set[asyncio.Task[None]] = set()

    @property
    def now_ms(self) -> int:
        return self._live.at if self._live.at is not None else round(1000 * self._wall())

    @property
    def period(self) -> Period:
        """What can be looked at again."""
        if self._recording is not None:
            return Period(self._recording.first_at, self._recording.last.at)
        return hour_before(self.now_ms)

    @property
    def shown(self) -> Model | None:
        """The model of the moment that is looked at; None while now is."""
        return self._shown if self.place is not None else None

    def folded(self) -> None:
        """A frame has been folded into the model of now."""
        self.moments.note(self._live)
        if self._live.news:
            self.moments.note_incidents((self._live.news[-1],))

    def enter(self, at: int | None = None) -> None:
        self.moments.note_incidents(self._live.news)
        self._put(Replay(self.now_ms).put(self.now_ms if at is None else at, self.period))

    def leave(self) -> None:
        """Back to now, or to the end of the recording."""
        if self._recording is not None:
            self.enter()
            return
        self.place, self._shown, self.note = None, None, ""
        self._asked.clear()
        self._wake()

    def step(self, by_ms: int) -> None:
        if self.place is not None:
            self._put(replace(self.place.moved(by_ms, self.period), speed=0))

    def play(self, direction: int) -> None:
        if self.place is not None:
            self._put(self.place.sped(direction))

    def tick(self, elapsed_s: float) -> None:
        if self.place is not None and self.place.speed:
            self._put(self.place.played(1000 * elapsed_s, self.period))

    def to_incident(self, direction: int) -> bool:
        """Whether there is one that way."""
        if self.place is None:
            return False
        find = self.moments.incident_after if direction > 0 else self.moments.incident_before
        at = find(self.place.at)
        if at is None or at < self.period.first:
            return False
        self._put(replace(self.place.put(at, self.period), speed=0))
        return True

    def _put(self, place: Replay) -> None:
        self.place = place
        self._load(place.at)
        if not self.moments.has(place.at) or not self.moments.has(place.at + (AHEAD_MS if place.speed > 0 else 0)):
            self._fetch_around(place.at)

    def _load(self, at: int) -> None:
        found = self.moments.model_at(at, self._live.news) if self.moments.has(at) else None
        self.note = "" if found is not None else " nothing known"
        self._shown = found if found is not None else Model()
        self._wake()

    def _fetch_around(self, at: int) -> None:
        """A minute of keyframes at a time, each minute once."""
        minute = at // (FETCHED * SECOND_MS)
        if minute in self._asked or self._bus() is None:
            return
        self._asked.add(minute)
        task = asyncio.get_running_loop().create_task(
            self._fetch(minute * FETCHED * SECOND_MS - AHEAD_MS, FETCHED + 20)
        )
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)

    async def _fetch(self, from_ms: int, count: int) -> None:
        bus = self._bus()
        if bus is None:
            return
        try:
            for packed in await keyframes(bus, from_ms, count):
                self.moments.take(packed)
        except BusError:
            self._asked.discard((from_ms + AHEAD_MS) // (FETCHED * SECOND_MS))
            return
        if self.place is not None:
            self._load(self.place.at)

    async def fetch_history(self) -> None:
        """The last minutes, for charts that are full from the beginning."""
        await self._fetch(self.now_ms - HISTORY_S * SECOND_MS, HISTORY_S)
        flows = self._live.flows
        earlier = self.moments.flows_before(flows[0][0] if flows else 1 << 62)
        flows.extendleft(reversed(earlier[-((flows.maxlen or 0) - len(flows)) :]))
        self._wake()

    def bar(self, width: int, zone: tzinfo | None) -> list[Span]:
        """The line that shows where in the hour one is."""
        if self.place is None:
            return []
        file = "" if self._recording is None else self._recording.name
        return bar_line(self.place, self.period, self.moments.incidents, width, zone, self.note, file)

    async def stop(self) -> None:
        for task in self._fetches:
            task.cancel()
