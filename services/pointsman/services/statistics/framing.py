"""Frames from the board: what changed for those who look, all of it for who begins and for the hour that is kept. Pure."""

from collections import deque
from collections.abc import Iterable

from pointsman.contracts.flow import FlowFrame
from pointsman.contracts.frames import NEWS_MAX, SAMPLE_MAX, AlertRow, Frame, News, Sample
from pointsman.services.statistics.board import Board, Changes
from pointsman.services.statistics.facts import Archive

NEWS_KEPT_MAX = 500


class Gathered:
    """What happened since it was taken; of samples and news that are too many the newest, news in order."""

    def __init__(self) -> None:
        self.happened = 0
        self.sample: deque[Sample] = deque(maxlen=SAMPLE_MAX)
        self.news: deque[News] = deque(maxlen=NEWS_KEPT_MAX)

    def heard(self, told: FlowFrame) -> None:
        self.happened += told.happened
        self.sample.extend(told.sample)

    def take(self) -> "Gathered":
        """What does not fit waits for the next frame."""
        taken = Gathered()
        taken.happened, self.happened = self.happened, 0
        taken.sample, self.sample = self.sample, taken.sample
        while self.news and len(taken.news) < NEWS_MAX:
            taken.news.append(self.news.popleft())
        return taken


class Framer:
    """`seq` counts the frames told to who looks; another full one has that of the last of them, and is at least as new."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._changes, self._kept = Gathered(), Gathered()
        self._newest: deque[News] = deque(maxlen=NEWS_MAX)
        self.alerts: tuple[AlertRow, ...] = ()
        self.archive: Archive | None = None
        self.seq = 0
        self._begins = True

    def heard(self, told: FlowFrame) -> None:
        for gathered in (self._changes, self._kept):
            gathered.heard(told)

    def happened(self, news: Iterable[News]) -> None:
        for one in news:
            for kept in (self._changes.news, self._kept.news, self._newest):
                kept.append(one)

    def unwatched(self) -> None:
        """Nobody looks: what happens meanwhile is in the newest of a full frame."""
        self._changes = Gathered()

    def begin(self) -> None:
        """The next frame is the first of a term, and whole, so that nobody has to ask for it."""
        self._begins = True

    def changed(self, epoch: int, now: int, now_s: float) -> Frame:
        """What changed since the frame before."""
        begins, self._begins = self._begins, False
        self._board.settle(now_s, all_rates=False)
        self.seq += 1
        changes = self._board.take_changes(now)
        shown = self._all(now) if begins else changes
        return self._frame(epoch, now, now_s, shown, self._changes.take(), full=begins)

    def key(self, epoch: int, now: int, now_s: float, *, is_watched: bool) -> Frame:
        """Everything, and what happened since the one before."""
        self._board.settle(now_s, all_rates=not is_watched)
        return self._frame(epoch, now, now_s, self._all(now), self._kept.take(), full=True)

    def snapshot(self, epoch: int, now: int, now_s: float) -> Frame:
        """Everything, with the newest news, which the reader may have."""
        self._board.settle(now_s, all_rates=False)
        newest = Gathered()
        newest.news.extend(self._newest)
        return self._frame(epoch, now, now_s, self._all(now), newest, full=True)

    def _all(self, now: int) -> Changes:
        return Changes(self._board.rows, self._board.pulses(now), ())

    def _frame(self, epoch: int, now: int, now_s: float, changes: Changes, gathered: Gathered, *, full: bool) -> Frame:
        flow = self._board.flow
        told = flow.last
        return Frame(
            epoch=epoch,
            seq=self.seq,
            at=now,
            full=full,
            flow=flow.shown(now, now_s),
            pools=self._board.pools(now_s),
            servers=changes.rows,
            pulses=changes.pulses,
            gone=changes.gone,
            alerts=self.alerts,
            sample=tuple(gathered.sample),
            happened=gathered.happened,
            news=tuple(gathered.news),
            leader=told.leader if told is not None and not flow.is_silent(now_s) else None,
            heard_at=told.at if told is not None else None,
            backlog=self.archive.backlog if self.archive is not None else None,
            archived_at=self.archive.until if self.archive is not None else None,
        )
