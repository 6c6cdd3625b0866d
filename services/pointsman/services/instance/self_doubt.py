"""When half of all servers turn suspect at once it is the prober that is ill: it waits longer and takes nobody out.

The idea is that of Lifeguard (local health awareness, Dadgar et al. 2018).
"""

from collections import deque

TOGETHER_S = 5.0
SUSPECTS_MIN = 3
DOUBT_S_MIN = 10.0
DOUBT_S_MAX = 60.0
STRETCH_MAX = 8.0
STRETCH_EVERY_S = 5.0
SEEN_WELL_S = 10.0
SEEN_WELL_SHARE = 0.1


class SelfDoubt:
    """Times in s, monotonic. Doubt ends when a tenth of those that serve has lately been seen well, and after a minute
    when even one has: then the way is open, and those that are still silent are so themselves."""

    def __init__(self) -> None:
        self._suspected: deque[tuple[float, str]] = deque()
        self._since_s: float | None = None

    @property
    def is_doubting(self) -> bool:
        return self._since_s is not None

    def stretch(self, now_s: float) -> float:
        """What to multiply timeouts with: 1, and in doubt 2, 4, 8, each for 5 s and the last from then on."""
        if self._since_s is None:
            return 1.0
        steps = int((now_s - self._since_s) / STRETCH_EVERY_S)
        return min(STRETCH_MAX, 2.0 * 2.0 ** min(steps, 8))

    def suspected(self, server_id: str, serving: int, now_s: float) -> bool:
        """A server has just turned suspect, of `serving` that served; whether the prober begins to doubt itself."""
        self._suspected.append((now_s, server_id))
        while self._suspected[0][0] < now_s - TOGETHER_S:
            self._suspected.popleft()
        together = len({name for _, name in self._suspected})
        if together < SUSPECTS_MIN or together * 2 < serving:
            return False
        begins = self._since_s is None
        self._since_s = now_s if begins else self._since_s
        return begins

    def is_over(self, seen_well: int, serving: int, now_s: float) -> bool:
        """`seen_well` of `serving` servers have answered, beaten or completed something within the last 10 s."""
        if self._since_s is None or not seen_well or (doubted_s := now_s - self._since_s) < DOUBT_S_MIN:
            return False
        if seen_well < serving * SEEN_WELL_SHARE and doubted_s < DOUBT_S_MAX:
            return False
        self._since_s = None
        self._suspected.clear()
        return True
