"""The composition root: settings, one connection, the named services, until told to stop."""

import asyncio
import importlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Sequence
from typing import Any

import structlog
import uvloop

from pointsman.client.bus import BusDown, BusError
from pointsman.client.nats_bus import NatsBus, connect
from pointsman.contracts.errors import PointsmanError
from pointsman.services.runtime import buckets, durability, logs
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context, RunningService
from pointsman.services.runtime.durability import NotDurable
from pointsman.services.runtime.loop import OUTAGES
from pointsman.services.runtime.settings import Settings, SettingsError, load

log = structlog.get_logger()

SERVICES = ("gateway", "task", "registry", "balancer", "instance", "history", "statistics")
DRIVERS = ("asyncpg", "nats", "aiohttp")
START_S = 60.0
STOP_S = 12.0
CONNECT_RETRY_S = 0.5


def run(names: Sequence[str], settings: Settings) -> int:
    """Run the named services in this process; returns the exit code."""
    unknown = [name for name in names if name not in SERVICES]
    if unknown or not names:
        print(f"unknown service {', '.join(unknown)}; one of {', '.join(SERVICES)}", file=sys.stderr)  # noqa: T201
        return 2
    logs.configure("+".join(names), level=settings.log_level, form=settings.log_format)
    return uvloop.run(_run(names, settings))


async def _run(names: Sequence[str], settings: Settings) -> int:
    stopped = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(_on_unhandled)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    instance = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    bus = await _connected(settings, f"{'+'.join(names)}@{instance}", stopped)
    if bus is None:
        return 0
    context = Context(bus=bus, settings=settings, clock=SystemClock(), instance=instance)
    try:
        return await _serve(context, names, bus, stopped)
    finally:
        await bus.close()


def _on_unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody awaited. A driver's own futures end so when its connection is lost, which is told elsewhere."""
    error = context.get("exception")
    driver = type(error).__module__.partition(".")[0]
    if isinstance(error, (OSError, *OUTAGES)) or driver in DRIVERS:
        log.warning("connection lost in the background", driver=driver, error=str(error))
    else:
        log.error("unhandled in the background", detail=context.get("message"), exc_info=error)


async def _connected(settings: Settings, name: str, stopped: asyncio.Event) -> NatsBus | None:
    while not stopped.is_set():
        try:
            return await connect(
                settings.nats_url,
                name=name,
                user=settings.nats_user,
                password=settings.nats_password,
                credentials_file=settings.nats_creds_file,
            )
        except BusDown as error:
            log.warning("bus not reachable, trying again", error=str(error))
            await _wait(stopped.wait(), CONNECT_RETRY_S)
    return None


async def _serve(context: Context, names: Sequence[str], bus: NatsBus, stopped: asyncio.Event) -> int:
    """Start in order, wait for a signal or the end of the bus, stop in reverse order."""
    started: list[RunningService] = []
    try:
        async with asyncio.timeout(START_S):
            await _start(context, names, started)
    except (PointsmanError, BusError, SettingsError, NotDurable, OSError) as error:
        log.error("start failed", error=str(error) or type(error).__name__)
        return 1
    log.info("started")
    over = {asyncio.create_task(stopped.wait()), asyncio.create_task(bus.closed.wait())}
    await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
    for task in over:
        task.cancel()
    for service in reversed(started):
        await _stop(service)
    log.info("stopped")
    return 0 if stopped.is_set() else 1


async def _start(context: Context, names: Sequence[str], started: list[RunningService]) -> None:
    settings = context.settings
    services = [importlib.import_module(f"pointsman.services.{name}.service").build(context) for name in names]
    await durability.require(settings)
    await buckets.ensure(context.bus, relaxed=settings.durability == "relaxed", replicas=settings.replicas)
    for service in services:
        await service.start()
        started.append(service)


async def _stop(service: RunningService) -> None:
    """What cannot be told to a bus that is going too is no reason to leave the other services unstopped."""
    try:
        await _wait(service.stop(), STOP_S)
    except OUTAGES as error:
        log.warning("not stopped in order", error=str(error) or type(error).__name__)


async def _wait(work: Awaitable[object], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return


def main() -> int:
    try:
        return run(sys.argv[1:], load(os.environ))
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2


if __name__ == "__main__":
    sys.exit(main())
