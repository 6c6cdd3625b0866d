"""What the cockpit knows: folded from frames, without a screen, a clock or a bus.

Frames are deltas with a place (`epoch`, `seq`). One that is not the next makes `wants_snapshot` true: whoever feeds the model
then asks for a whole frame. Until that comes, deltas are still folded, so that what is shown stays live, and kept, so
that those newer than the snapshot can be folded on top of it.
"""

from collections import deque
from collections.abc import Iterable
from enum import Enum
from itertools import count

import msgspec

from pointsman.contracts.frames import AlertRow, Flow, Frame, News, PoolRow, Sample, ServerPulse, ServerRow

SAMPLE_KEPT = 400
NEWS_KEPT = 2_000
FLOWS_KEPT = 3_600
HELD_MAX = 150
SECOND_MS = 1_000


_versions = count(1)


class Folded(Enum):
    """What became of a frame."""

    APPLIED = "applied"
    AGED = "aged"
    """Applied, and nothing but ages has moved."""
    OLD = "old"
    GAP = "gap"


class Server:
    """One server as last told. No two states of any server have the same `version`: rows are drawn anew when it differs."""

    __slots__ = ("pulse", "pulsed_at", "row", "version")

    def __init__(self, row: ServerRow) -> None:
        self.row = row
        self.pulse = ServerPulse(id=row.id)
        self.pulsed_at = 0
        self.version = next(_versions)

    def beat_ms(self, at: int) -> int | None:
        """The age of its last heartbeat at `at`; None before the first, or for one that sends none."""
        return None if self.pulse.beat_ms is None else self.pulse.beat_ms + self._untold_ms(at)

    def check_ms(self, at: int) -> int | None:
        """The age of its last health check at `at`; None before the first."""
        return None if self.pulse.check_ms is None else self.pulse.check_ms + self._untold_ms(at)

    def _untold_ms(self, at: int) -> int:
        """Since its last pulse, in whole seconds, so that a row that nothing is told of is drawn once a second."""
        return max(0, at - self.pulsed_at) // SECOND_MS * SECOND_MS


class Model:
    """The cluster as of `at` (ms since the epoch, by the sender's clock); None until the first frame has come."""

    def __init__(self) -> None:
        self.epoch: int | None = None
        self.seq = 0
        self.at: int | None = None
        self.flow = Flow()
        self.pools: dict[str, PoolRow] = {}
        self.servers: dict[str, Server] = {}
        self.alerts: tuple[AlertRow, ...] = ()
        self.sample: deque[Sample] = deque(maxlen=SAMPLE_KEPT)
        self.happened = 0
        self.sampled = 0
        self.news: deque[News] = deque(maxlen=NEWS_KEPT)
        self.flows: deque[tuple[int, Flow]] = deque(maxlen=FLOWS_KEPT)
        self.leader: str | None = None
        self.heard_at: int | None = None
        self.backlog: int | None = None
        self.archived_at: int | None = None
        self.frames = 0
        self.gaps = 0
        self.wants_snapshot = True
        self.membership = 0
        self._held: deque[Frame] = deque(maxlen=HELD_MAX)
        self._known_news: set[News] = set()

    @property
    def is_known(self) -> bool:
        """Whether a whole frame has been folded; until then every number is unknown, not 0."""
        return self.epoch is not None

    def fold(self, frame: Frame) -> Folded:
        self.frames += 1
        if frame.full:
            return self._fold_whole(frame)
        if frame.epoch == self.epoch and frame.seq <= self.seq and not self.wants_snapshot:
            return Folded.OLD
        if not self.wants_snapshot and frame.epoch == self.epoch and frame.seq == self.seq + 1:
            aged = self._only_ages(frame)
            self._apply(frame)
            self.seq = frame.seq
            return Folded.AGED if aged else Folded.APPLIED
        return self._hold(frame)

    def forget_place(self) -> None:
        """The link was lost: whatever comes next, a snapshot is needed."""
        if self.is_known and not self.wants_snapshot:
            self.gaps += 1
        self.wants_snapshot = True
        self._held.clear()

    def _hold(self, frame: Frame) -> Folded:
        if self.is_known and not self.wants_snapshot:
            self.gaps += 1
        self.wants_snapshot = True
        newest = self._held[-1] if self._held else None
        self._held.append(frame)
        if self.is_known and (newest is None or newest.epoch != frame.epoch or frame.seq > newest.seq):
            self._apply(frame)
        return Folded.GAP

    def _fold_whole(self, frame: Frame) -> Folded:
        """A keyframe that is older than what is known is of use only to those who wait for one."""
        if not self.wants_snapshot and frame.epoch == self.epoch and frame.seq <= self.seq:
            return Folded.OLD
        self._replace(frame)
        self.epoch, self.seq, self.wants_snapshot = frame.epoch, frame.seq, False
        held = sorted((held for held in self._held if held.epoch == frame.epoch), key=lambda held: held.seq)
        self._held.clear()
        for later in held:
            if later.seq > self.seq + 1:
                self._hold(later)
            elif later.seq == self.seq + 1 and not self.wants_snapshot:
                self._apply(later)
                self.seq = later.seq
        return Folded.APPLIED

    def _only_ages(self, frame: Frame) -> bool:
        """Whether it tells nothing new but how long ago servers were heard of."""
        happened = frame.servers or frame.gone or frame.sample or frame.news
        if happened or (frame.flow, frame.alerts, frame.leader) != (self.flow, self.alerts, self.leader):
            return False
        return frame.pools == tuple(self.pools.values()) and all(map(self._only_aged, frame.pulses))

    def _only_aged(self, pulse: ServerPulse) -> bool:
        known = self.servers.get(pulse.id)
        return known is not None and known.pulse == msgspec.structs.replace(
            pulse, beat_ms=known.pulse.beat_ms, check_ms=known.pulse.check_ms
        )

    def _replace(self, frame: Frame) -> None:
        """A whole frame: what it does not name is gone."""
        named = {row.id for row in frame.servers}
        self._remove([server_id for server_id in self.servers if server_id not in named])
        self._apply(frame)

    def _apply(self, frame: Frame) -> None:
        self.at = frame.at
        self.flow = frame.flow
        self.pools = {pool.name: pool for pool in frame.pools}
        self.alerts = frame.alerts
        self.leader, self.heard_at = frame.leader, frame.heard_at
        self.backlog, self.archived_at = frame.backlog, frame.archived_at
        self.happened, self.sampled = frame.happened, len(frame.sample)
        self._remove(frame.gone)
        for row in frame.servers:
            self._take_row(row)
        for pulse in frame.pulses:
            self._take_pulse(pulse, frame.at)
        self.sample.extend(frame.sample)
        self._take_news(frame.news)
        self._note_flow(frame.at, frame.flow)

    def _take_row(self, row: ServerRow) -> None:
        known = self.servers.get(row.id)
        if known is None:
            self.servers[row.id] = Server(row)
            self.membership += 1
        elif known.row != row:
            known.row = row
            known.version = next(_versions)

    def _take_pulse(self, pulse: ServerPulse, at: int) -> None:
        known = self.servers.get(pulse.id)
        if known is not None:
            known.pulse = pulse
            known.pulsed_at = at
            known.version = next(_versions)

    def _remove(self, gone: Iterable[str]) -> None:
        for server_id in gone:
            if self.servers.pop(server_id, None) is not None:
                self.membership += 1

    def _take_news(self, news: tuple[News, ...]) -> None:
        """Snapshots tell again what deltas told."""
        for line in news:
            if line in self._known_news:
                continue
            if len(self.news) == self.news.maxlen:
                self._known_news.discard(self.news[0])
            self._known_news.add(line)
            self.news.append(line)

    def _note_flow(self, at: int, flow: Flow) -> None:
        """The last of each second stays, for the charts."""
        second = at // SECOND_MS
        if self.flows and self.flows[-1][0] >= second:
            self.flows[-1] = (second, flow) if self.flows[-1][0] == second else self.flows[-1]
            return
        self.flows.append((second, flow))


def whole_frame(model: Model) -> Frame:
    """The model as a keyframe; raises ValueError before anything is known."""
    if model.epoch is None or model.at is None:
        raise ValueError("nothing is known yet")
    servers = model.servers.values()
    return Frame(
        epoch=model.epoch,
        seq=model.seq,
        at=model.at,
        full=True,
        flow=model.flow,
        pools=tuple(model.pools.values()),
        servers=tuple(server.row for server in servers),
        pulses=tuple(_pulse_at(server, model.at) for server in servers),
        alerts=model.alerts,
        sample=tuple(model.sample)[-20:],
        happened=model.happened,
        news=tuple(model.news)[-20:],
        leader=model.leader,
        heard_at=model.heard_at,
        backlog=model.backlog,
        archived_at=model.archived_at,
    )


def _pulse_at(server: Server, at: int) -> ServerPulse:
    """With the ages it has by now."""
    if server.pulsed_at == at:
        return server.pulse
    return msgspec.structs.replace(server.pulse, beat_ms=server.beat_ms(at), check_ms=server.check_ms(at))
