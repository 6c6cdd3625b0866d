"""The last report of each question, told again while the archive is away."""

import msgspec

from pointsman.contracts.statistics import (
    FleetStatistics,
    HourlyStatistics,
    ServerStatistics,
    TaskStatistics,
    TypesStatistics,
)

KEPT_MAX = 128

Report = TaskStatistics | HourlyStatistics | TypesStatistics | FleetStatistics | ServerStatistics
type Question = tuple[str, bytes, str]


class Lasting:
    """Bounded: the question asked longest ago is forgotten first."""

    def __init__(self) -> None:
        self._reports: dict[Question, Report] = {}

    def keep[T](self, question: Question, answer: T) -> T:
        if isinstance(answer, Report):
            self._reports.pop(question, None)
            self._reports[question] = answer
            if len(self._reports) > KEPT_MAX:
                del self._reports[next(iter(self._reports))]
        return answer

    def again(self, question: Question) -> Report | None:
        """As it was, `asOf` then, and marked."""
        report = self._reports.get(question)
        return msgspec.structs.replace(report, stale=True) if report is not None else None
