"""The cluster's flow over the last seconds, folded from what the leader tells."""

import msgspec

from pointsman.contracts.balancer import Alert
from pointsman.contracts.flow import FlowFrame, quantile
from pointsman.contracts.frames import Flow
from pointsman.services.statistics.windows import Spread, Sums

SHORT_S, LONG_S = 10, 60
LONG_STEP_S = 5
SILENT_MS = 3_000
KNOWN_MS = 900
"""Rates are told once what they count took that long."""


def short_slot(now_s: float) -> int:
    return int(now_s)


def long_slot(now_s: float) -> int:
    return int(now_s) // LONG_STEP_S


class FlowWindows:
    """`span_ms` is how long the counts in the window took, so that a lost message makes no rate wrong."""

    def __init__(self) -> None:
        self.last: FlowFrame | None = None
        self.alerts: tuple[Alert, ...] = ()
        self._heard_s = float("-inf")
        self._sums = Sums(SHORT_S, 7)
        self._waits, self._runs = Spread(SHORT_S), Spread(SHORT_S)
        self._types: dict[str, Sums] = {}

    @property
    def span_ms(self) -> int:
        return self._sums.total[0]

    def fold(self, told: FlowFrame, now_s: float) -> None:
        self.last, self._heard_s = told, now_s
        self.alerts = told.alerts if told.whole else self.alerts
        slot = short_slot(now_s)
        ends = (told.completed, told.failed, told.timed_out, told.cancelled)
        self._sums.add(slot, (told.span_ms, told.submitted, *ends, told.retried))
        self._waits.add(slot, told.waits)
        self._runs.add(slot, told.runs)
        for one in told.types:
            if one.type not in self._types:
                self._types[one.type] = Sums(LONG_S // LONG_STEP_S, 2)
            self._types[one.type].add(long_slot(now_s), (one.done, one.failed))

    def types(self, now_s: float) -> dict[str, tuple[int, int]]:
        """Attempts done and failed over the long window, by task type."""
        for name, sums in list(self._types.items()):
            sums.forget(long_slot(now_s))
            if not any(sums.total):
                del self._types[name]
        return {name: (sums.total[0], sums.total[1]) for name, sums in self._types.items()}

    def rate(self, count: int) -> float | None:
        """Per second, of what the short window counted; None while it has hardly begun."""
        return shown_rate(count * 1000 / self.span_ms) if self.span_ms >= KNOWN_MS else None

    def is_silent(self, now_s: float) -> bool:
        """By when it was heard: its clock may differ."""
        return (now_s - self._heard_s) * 1000 > SILENT_MS

    def silent_ms(self, now_s: float, since_s: float) -> int:
        """Since it was heard, at most since `since_s`."""
        return round((now_s - max(self._heard_s, since_s)) * 1000)

    def shown(self, now: int, now_s: float) -> Flow:
        """Nothing is known while the leader is silent."""
        if self.last is None or self.is_silent(now_s):
            return Flow()
        slot, told = short_slot(now_s), self.last
        for window in (self._sums, self._waits, self._runs):
            window.forget(slot)
        _, submitted, completed, failed, timed_out, cancelled, retried = self._sums.total
        ended = completed + failed + timed_out
        return Flow(
            submitted=self.rate(submitted),
            completed=self.rate(completed),
            failed=self.rate(failed),
            timed_out=self.rate(timed_out),
            cancelled=self.rate(cancelled),
            retried=self.rate(retried),
            pending=told.pending,
            delayed=told.delayed,
            running=told.running,
            slots=told.slots,
            oldest_ms=max(0, now - told.oldest_due) if told.oldest_due is not None else None,
            fail_rate=round((failed + timed_out) / ended, 4) if ended else None,
            wait_p50=shown_ms(quantile(self._waits.total, 0.5)),
            wait_p95=shown_ms(quantile(self._waits.total, 0.95)),
            run_p50=shown_ms(quantile(self._runs.total, 0.5)),
            run_p95=shown_ms(quantile(self._runs.total, 0.95)),
        )


def shown_rate(per_s: float) -> float:
    return round(per_s, 1 if per_s >= 10 else 2)


def shown_ms(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1 if ms < 100 else 0)


def of_bytes(data: bytes) -> FlowFrame | None:
    """None for what is not understood, such as a newer form."""
    try:
        return _DECODER.decode(data)
    except msgspec.MsgspecError:
        return None


_DECODER = msgspec.json.Decoder(FlowFrame)
