"""How far the archive is, for Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from pointsman.contracts.history import HistoryStatus


def archive_metrics(status: HistoryStatus | None) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Archive(status))
    return generate_latest(registry)


class _Archive:
    """What is unknown has no sample rather than a wrong one."""

    def __init__(self, status: HistoryStatus | None) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status
        is_up = status is not None and status.connected
        yield GaugeMetricFamily("pointsman_archive_up", "1 when history answers and reaches Postgres.", int(is_up))
        if status is None:
            return
        for name, text, value in (
            ("backlog_records", "Records that wait to be archived.", status.backlog),
            ("lag_seconds", "Age of the oldest of them.", None if status.lag_ms is None else status.lag_ms / 1000),
            ("dead_letters", "Records set aside because they cannot be archived.", status.dead_letters),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"pointsman_archive_{name}", text, value)
