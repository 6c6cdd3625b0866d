"""What the gateway tells of itself: request metrics for Prometheus, and a log line for what was slow or failed."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from pointsman.contracts.balancer import BalancerStatus, ServerLoad

log = structlog.get_logger()

SLOW_S = 1.0
SERVERS_SHOWN_MAX = 200
OTHER_SERVERS = "_other"
UNMATCHED = "unmatched"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


PER_SERVER: tuple[tuple[str, str, Callable[[ServerLoad], float]], ...] = (
    ("pointsman_server_active_tasks", "Attempts by server.", lambda load: load.active_tasks),
    ("pointsman_server_slots", "Attempts a server may hold now.", lambda load: load.effective_limit),
    ("pointsman_server_healthy", "1 for a healthy server; how many among the others.", lambda load: load.healthy),
)


class Observer:
    """Counts requests by route template, method and status; label values come from the route table only."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "pointsman_http_requests_total",
            "Answered requests.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "pointsman_http_request_duration_seconds",
            "Time from the request's head to its answer.",
            ("method", "route"),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        running = Gauge("pointsman_http_requests_in_flight", "Requests being answered.", registry=self._registry)
        running.set_function(lambda: self.in_flight)
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}
        self.in_flight = 0

    def answered(
        self, method: str, route: str, path: str, status: int, took_s: float, request_id: str, *, waited: bool
    ) -> None:
        """Count one answer; `path` without its query, so that no token gets into a log."""
        self._counter(method, route, status).inc()
        self._histogram(method, route).observe(took_s)
        noteworthy = status >= 500 or (took_s > SLOW_S and not waited)
        said, tell = ("request slow or failed", log.warning) if noteworthy else ("request", log.debug)
        tell(said, method=method, path=path, status=status, took_ms=int(took_s * 1000), request_id=request_id)

    def exposition(self, balancer: BalancerStatus | None) -> bytes:
        return generate_latest(self._registry) + generate_latest(_registry_of(_Fleet(balancer)))

    def _counter(self, method: str, route: str, status: int) -> Counter:
        key = (method, route, status)
        if (counter := self._counters.get(key)) is None:
            counter = self._counters[key] = self._requests.labels(method, route, str(status))
        return counter

    def _histogram(self, method: str, route: str) -> Histogram:
        key = (method, route)
        if (histogram := self._histograms.get(key)) is None:
            histogram = self._histograms[key] = self._latency.labels(method, route)
        return histogram


class _Fleet:
    """The balancer's view as metrics; servers by name up to a bound, all others together."""

    def __init__(self, status: BalancerStatus | None) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "pointsman_balancer_up", "1 when the balancer's leader answers.", 0 if self._status is None else 1
        )
        if self._status is not None:
            yield from _fleet(self._status)


def _fleet(status: BalancerStatus) -> Iterator[Metric]:
    yield GaugeMetricFamily("pointsman_tasks_pending", "Tasks waiting for a slot.", status.pending)
    yield GaugeMetricFamily("pointsman_tasks_waiting", "Tasks waiting for their time.", status.waiting)
    yield GaugeMetricFamily("pointsman_tasks_active", "Attempts that hold a slot.", status.active)
    yield GaugeMetricFamily("pointsman_balancer_dispatched", "Attempts since this leader began.", status.dispatched)
    yield from per_server(status.servers)


def per_server(servers: Mapping[str, ServerLoad]) -> Iterator[Metric]:
    """One series each for the first 200 by id, so that the same are shown at every scrape; all others summed up."""
    for name, doc, value in PER_SERVER:
        family = GaugeMetricFamily(name, doc, labels=("server",))
        shown = sorted(servers)
        for server_id in shown[:SERVERS_SHOWN_MAX]:
            family.add_metric((server_id,), value(servers[server_id]))
        if others := shown[SERVERS_SHOWN_MAX:]:
            family.add_metric((OTHER_SERVERS,), sum(value(servers[server_id]) for server_id in others))
        yield family


def _registry_of(fleet: _Fleet) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(fleet)
    return registry
