"""Who holds which slot: an attempt from its reservation until its server is known not to run it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple


class Lingers(NamedTuple):
    """An ended attempt that may still run: surely started by `start_by`, surely over at `until` (ms since the epoch)."""

    start_by: int
    until: int


def _nobody(server_id: str, active: int) -> None:
    """Nobody watches."""


class Slots:
    """Attempt keys per server."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Lingers | None]] = {}
        self._watcher: Callable[[str, int], None] = _nobody

    def watch(self, watcher: Callable[[str, int], None]) -> None:
        """`watcher` is told the server and how many slots are held there, after each change of that number."""
        self._watcher = watcher

    def hold(self, server_id: str, attempt: str) -> None:
        self._take(server_id, attempt, None)

    def linger(self, server_id: str, attempt: str, start_by: int, until: int) -> None:
        self._take(server_id, attempt, Lingers(start_by, until))

    def free(self, server_id: str, attempt: str) -> bool:
        held = self._held.get(server_id)
        if held is None or attempt not in held:
            return False
        del held[attempt]
        if not held:
            del self._held[server_id]
        self._watcher(server_id, len(held))
        return True

    def free_lingering(self, attempt: str) -> str | None:
        """Free a lingering attempt wherever it is; the server it was on."""
        for server_id, held in self._held.items():
            if held.get(attempt) is not None:
                self.free(server_id, attempt)
                return server_id
        return None

    def active(self, server_id: str) -> int:
        held = self._held.get(server_id)
        return len(held) if held else 0

    def by_server(self) -> dict[str, int]:
        return {server_id: len(held) for server_id, held in self._held.items()}

    def total(self) -> int:
        return sum(len(held) for held in self._held.values())

    def lingering(self) -> Iterator[tuple[str, str, Lingers]]:
        """(server, attempt, bounds) of all that linger."""
        for server_id, held in list(self._held.items()):
            for attempt, lingers in list(held.items()):
                if lingers is not None:
                    yield server_id, attempt, lingers

    def expire(self, now: int) -> bool:
        """Free what lingers no longer."""
        over = [(server_id, attempt) for server_id, attempt, lingers in self.lingering() if lingers.until <= now]
        for server_id, attempt in over:
            self.free(server_id, attempt)
        return bool(over)

    def reported(self, server_id: str, running: int, at: int) -> bool:
        """The server said at `at` that it runs `running` attempts: of those started by then no more can linger."""
        held = self._held.get(server_id, {})
        lingering = [key for key, lingers in held.items() if lingers is not None and lingers.start_by <= at]
        lingering.sort(key=lambda key: _until(held[key]))
        surplus = lingering[: max(0, len(lingering) - running)]
        for attempt in surplus:
            self.free(server_id, attempt)
        return bool(surplus)

    def _take(self, server_id: str, attempt: str, lingers: Lingers | None) -> None:
        held = self._held.setdefault(server_id, {})
        before = len(held)
        held[attempt] = lingers
        if len(held) != before:
            self._watcher(server_id, len(held))


def _until(lingers: Lingers | None) -> int:
    """Which of several goes is not known: keep those that may run longest."""
    return lingers.until if lingers is not None else 0
