"""The routes beside the API: liveness, readiness, metrics, the OpenAPI document and its page."""

import asyncio

from pointsman.contracts.actor import Role
from pointsman.services.gateway import docs, openapi
from pointsman.services.gateway.archive_metrics import archive_metrics
from pointsman.services.gateway.observe import CONTENT_TYPE, Observer
from pointsman.services.gateway.readiness import Alive, NotReady, Readiness, Ready, healthz
from pointsman.services.gateway.reply import JSON, Reply
from pointsman.services.gateway.route import Act, Answer, Incoming, Ports, Route
from pointsman.services.gateway.table import API

SYSTEM = "System"
PAGES = "Pages"
METRICS_READERS = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})


def all_routes(readiness: Readiness, observer: Observer) -> tuple[Route, ...]:
    """The API, what watches it, and the document that describes both."""
    rows = (*API, *_watching(readiness, observer))
    return (*rows, _document(openapi.document(rows)), *_pages())


def _watching(readiness: Readiness, observer: Observer) -> tuple[Route, ...]:
    async def metrics(_ports: Ports, _incoming: Incoming) -> Reply:
        balancer, history = await asyncio.gather(readiness.balancer(), readiness.history())
        return Reply(200, observer.exposition(balancer) + archive_metrics(history), content_type=CONTENT_TYPE)

    return (
        Route(
            method="GET",
            path="/healthz",
            name="getHealth",
            tag=SYSTEM,
            summary="Whether this process lives",
            public=True,
            act=healthz,
            answers={200: Answer(description="It lives.", body=Alive, example={"status": "ok"})},
        ),
        Route(
            method="GET",
            path="/readyz",
            name="getReadiness",
            tag=SYSTEM,
            summary="Whether all that is needed is there",
            public=True,
            act=readiness.readyz,
            answers={
                200: Answer(description="Ready, or degraded.", body=Ready),
                503: Answer(description="Something needed is missing.", body=NotReady, headers=("Retry-After",)),
            },
        ),
        Route(
            method="GET",
            path="/metrics",
            name="getMetrics",
            tag=SYSTEM,
            summary="Metrics for Prometheus",
            roles=METRICS_READERS,
            act=metrics,
            answers={200: Answer(description="Text exposition format.")},
        ),
    )


def _document(document: bytes) -> Route:
    return _page("/openapi.json", "getOpenapi", lambda headers: docs.cacheable(document, JSON, headers))


def _pages() -> tuple[Route, ...]:
    files = [name for name in docs.FILES if name != "index.html"]
    return (
        _page("/docs", "getDocs", lambda headers: docs.page("index.html", headers)),
        *(_page(f"/docs/{name}", f"getDocs{number}", _file(name)) for number, name in enumerate(files)),
    )


def _file(name: str) -> docs.Page:
    return lambda headers: docs.page(name, headers)


def _page(path: str, name: str, page: docs.Page) -> Route:
    return Route(
        method="GET",
        path=path,
        name=name,
        tag=PAGES,
        summary="Documentation",
        public=True,
        act=_showing(page),
        answers={200: Answer(description="The page.")},
    )


def _showing(page: docs.Page) -> Act:
    async def act(_ports: Ports, incoming: Incoming) -> Reply:
        return page(incoming.headers)

    return act
