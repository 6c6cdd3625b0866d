"""The ASGI application: one Litestar handler per row of the table, every failure answered as a problem."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec.structs import replace

from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.trace import accepted
from pointsman.services.gateway import denied, intake
from pointsman.services.gateway.denied import Denied
from pointsman.services.gateway.identify import identify
from pointsman.services.gateway.observe import UNMATCHED, Observer
from pointsman.services.gateway.reply import Reply, problem
from pointsman.services.gateway.route import Incoming, Ports, Route
from pointsman.services.gateway.sse import EventStream
from pointsman.services.gateway.tokens import TokenVerifier

log = structlog.get_logger()

PROBLEM_TYPE = "application/problem+json"


class Edge:
    """What happens to every request, whatever its route: admit, act, answer, count."""

    def __init__(self, ports: Ports, verifier: TokenVerifier, observer: Observer) -> None:
        self._ports = ports
        self._verifier = verifier
        self._observer = observer

    async def serve(self, route: Route, request: Request[Any, Any, Any]) -> Reply:
        clock, observer = self._ports.clock, self._observer
        began_s = clock.monotonic_s()
        scope = request.scope
        headers = intake.headers_of(scope["headers"])
        request_id = intake.request_id(headers)
        waited = False
        observer.in_flight += 1
        try:
            incoming = await self._admitted(route, request, headers, request_id)
            reply = await route.act(self._ports, incoming)
            reply.request_id = request_id
            waited = incoming.waited
            if isinstance(reply, EventStream) and incoming.until_s is not None:
                reply.lives_s = max(0.0, incoming.until_s - clock.now_ms() / 1000)
        except Denied as error:
            await denied.record(self._ports.bus, clock, route, intake.named_in(route, scope), error)
            reply = problem(error, scope["path"], request_id)
        except PointsmanError as error:
            reply = problem(error, scope["path"], request_id)
        except Exception:
            log.exception("request failed", route=route.path, method=route.method, request_id=request_id)
            reply = problem(PointsmanError(500, "internal error"), scope["path"], request_id)
        finally:
            observer.in_flight -= 1
        took_s = clock.monotonic_s() - began_s
        observer.answered(scope["method"], route.path, scope["path"], reply.status, took_s, request_id, waited=waited)
        return reply

    def options(self, path: str, request: Request[Any, Any, Any], allow: bytes) -> Reply:
        request_id = intake.request_id(dict(request.scope["headers"]))
        self._observer.answered("OPTIONS", path, request.scope["path"], 204, 0.0, request_id, waited=False)
        return Reply(204, headers=[(b"allow", allow)], request_id=request_id)

    def refused(self, request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        """What no route took: an unknown path or method, a malformed head."""
        path, method = request.scope["path"], request.scope["method"]
        request_id = intake.request_id(dict(request.scope["headers"]))
        if isinstance(error, HTTPException):
            headers = dict(error.headers or {})
            reply = problem(PointsmanError(error.status_code, _detail(error, path)), path, request_id, more=headers)
        else:
            log.error("request failed", method=method, request_id=request_id, exc_info=error)
            reply = problem(PointsmanError(500, "internal error"), path, request_id)
        known_method = method if method in _METHODS else UNMATCHED
        self._observer.answered(known_method, UNMATCHED, path, reply.status, 0.0, request_id, waited=False)
        return Response(reply.body, status_code=reply.status, headers=_texts(reply), media_type=PROBLEM_TYPE)

    async def _admitted(
        self, route: Route, request: Request[Any, Any, Any], headers: dict[bytes, bytes], request_id: str
    ) -> Incoming:
        """The request once its caller, path, query and body are acceptable, checked in this order."""
        try:
            incoming = self._headed(route, request, headers, request_id)
        except PointsmanError:
            await intake.discard(request, headers)
            raise
        incoming.body = await intake.body_of(route, request, headers)
        return incoming

    def _headed(
        self, route: Route, request: Request[Any, Any, Any], headers: dict[bytes, bytes], request_id: str
    ) -> Incoming:
        scope = request.scope
        query = intake.query_of(route, scope["query_string"])
        named = intake.named_in(route, scope)
        caller = identify(self._verifier, route, named, headers, query, request_id)
        actor = caller.actor
        if b"traceparent" in headers:
            actor = replace(actor, trace=accepted(headers[b"traceparent"].decode("latin-1")))
        return Incoming(
            actor=actor,
            request_id=request_id,
            id=intake.path_id(route, named),
            query=intake.decoded_query(route, query),
            headers=headers,
            credential=caller.credential,
            until_s=caller.until_s,
            kind=str(scope["path_params"].get("kind", "")),
            parameters=query,
        )


def build_app(routes: Sequence[Route], edge: Edge) -> ASGIApp:
    """Litestar routes by path and method; everything it would decide by itself is turned off."""
    app = Litestar(
        route_handlers=[
            *(_options(path, methods, edge) for path, methods in _methods_of(routes).items()),
            *(_handler(route, edge) for route in routes),
        ],
        exception_handlers={Exception: edge.refused},
        openapi_config=None,
        logging_config=None,
        debug=False,
        include_in_schema=False,
    )
    return _with_encoded_slashes(app)


def _with_encoded_slashes(app: ASGIApp) -> ASGIApp:
    """A slash that came encoded is part of a name: the path is matched as it came, not as it was decoded."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path", b"").partition(b"?")[0]
        if b"%2f" in raw.lower():
            scope["path"] = raw.decode("latin-1")
        await app(scope, receive, send)

    return serve


def _handler(route: Route, edge: Edge) -> HTTPRouteHandler:
    handle = HTTPRouteHandler(
        _template(route.path),
        http_method=_methods(route),  # type: ignore[arg-type]
        name=route.name,
        status_code=200,
        request_max_body_size=route.body_bytes_max,
    )
    return handle(_function(route, edge))


def _options(path: str, methods: Sequence[str], edge: Edge) -> HTTPRouteHandler:
    """In place of Litestar's own, which names the methods of the path's first handler only: to be registered first."""
    allow = ", ".join([*methods, "OPTIONS"]).encode()

    async def handle(request: Request[Any, Any, Any]) -> ASGIApp:
        return edge.options(path, request, allow)

    return HTTPRouteHandler(_template(path), http_method="OPTIONS", status_code=200)(handle)


def _methods_of(routes: Sequence[Route]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for route in routes:
        found.setdefault(route.path, []).extend(_methods(route))
    return found


def _methods(route: Route) -> list[str]:
    return ["GET", "HEAD"] if route.method == "GET" else [route.method]


def _template(path: str) -> str:
    return path.replace("{kind}", "{kind:str}").replace("{id}", "{id:str}")


def _function(route: Route, edge: Edge) -> Callable[[Request[Any, Any, Any]], Awaitable[ASGIApp]]:
    async def handle(request: Request[Any, Any, Any]) -> ASGIApp:
        return await edge.serve(route, request)

    return handle


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


def _detail(error: HTTPException, path: str) -> str:
    match error.status_code:
        case 404:
            return f"nothing is at {path[:200]}"
        case 405:
            return "this path does not have the method"
        case _:
            return error.detail


def _texts(reply: Reply) -> dict[str, str]:
    pairs = [*reply.common, *reply.headers, (b"x-request-id", reply.request_id.encode())]
    return {name.decode(): value.decode("latin-1") for name, value in pairs}
