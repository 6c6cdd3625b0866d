"""The gateway as a service: granian in this process, listening where the settings say, draining when stopped."""

import asyncio
import contextlib

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server
from litestar.types import ASGIApp

from pointsman.client.wait import until_terminal
from pointsman.services.gateway.app import Edge, build_app
from pointsman.services.gateway.hub import Hub
from pointsman.services.gateway.listening import drop_stuck
from pointsman.services.gateway.observe import Observer
from pointsman.services.gateway.readiness import Readiness
from pointsman.services.gateway.route import Ports
from pointsman.services.gateway.system import all_routes
from pointsman.services.gateway.tokens import TokenVerifier
from pointsman.services.runtime.context import Context, RunningService
from pointsman.services.runtime.loop import Background

log = structlog.get_logger()

CONNECTIONS_MAX = 16_384
BACKLOG = 1024
HEAD_TIMEOUT_MS = 15_000
START_S = 10.0
DRAIN_S = 10.0
RESTART_S = 0.5
OPENING_S = 0.02
STUCK_MS = 10_000


def build(context: Context) -> RunningService:
    """Raises SettingsError without a fit secret, ValueError when a route declares no roles."""
    return Gateway(context)


def build_asgi(context: Context, hub: Hub) -> ASGIApp:
    """The application without a server."""
    observer = Observer()
    routes = all_routes(Readiness(context.bus, context.clock), observer)
    ports = Ports(context.bus, context.clock, until_terminal, hub)
    return build_app(routes, Edge(ports, TokenVerifier(context.settings, context.clock), observer))


class Gateway:
    def __init__(self, context: Context) -> None:
        self._host = context.settings.host
        self._port = context.settings.port
        self._hub = Hub(context)
        self._app = build_asgi(context, self._hub)
        self._background = Background()
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Returns when the port is open; OSError or TimeoutError when it cannot be."""
        await self._check_free()
        self._serving = serving = self._background.run(self._serve(), "gateway")
        async with asyncio.timeout(START_S):
            while not await self._is_open():
                if serving.done():
                    raise OSError(f"the gateway cannot listen on {self._host}:{self._port}")
                await asyncio.sleep(OPENING_S)
        log.info("gateway listens", host=self._host, port=self._port)

    async def stop(self) -> None:
        """Granian closes the port and idle connections, and lets running requests finish."""
        self._stopping = True
        self._hub.stop()
        if self._server is not None and self._serving is not None:
            self._server.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait((self._serving,), timeout=DRAIN_S)
        await self._background.stop()

    async def _serve(self) -> None:
        """Serve; a server that ends without being told is a fault of its own and begun again."""
        while not self._stopping:
            self._server = _server(self._app, self._host, self._port)
            bounding = self._background.run(self._bound(), "drop stuck connections")
            await self._server.serve()
            bounding.cancel()
            if not self._stopping:
                log.error("the HTTP server ended by itself, starting it again")
                await asyncio.sleep(RESTART_S)

    async def _bound(self) -> None:
        for _ in range(round(START_S / OPENING_S)):
            if drop_stuck(self._port, STUCK_MS):
                return
            await asyncio.sleep(OPENING_S)

    async def _is_open(self) -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(self._host, self._port)
            writer.close()
            return True
        return False

    async def _check_free(self) -> None:
        """Granian shares its port silently (SO_REUSEPORT): a second gateway here would take half of the requests."""
        if await self._is_open():
            raise OSError(f"{self._host}:{self._port} is in use")


def _server(app: ASGIApp, host: str, port: int) -> Server:
    """HTTP/1.1 only; granian's `backpressure` counts open connections, idle ones included."""
    return Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_TIMEOUT_MS),
        websockets=False,
        backlog=BACKLOG,
        backpressure=CONNECTIONS_MAX,
        log_enabled=False,
    )
