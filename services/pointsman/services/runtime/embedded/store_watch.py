"""Starts the broker again when a full disk has silenced its store and there is room by now: it does not recover itself."""

import asyncio
import shutil
from pathlib import Path

import structlog

from pointsman.client import nats_bus
from pointsman.client.bus import Bus, BusDown
from pointsman.services.runtime.embedded.child import last_lines
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.runtime.settings import Settings
from pointsman.services.runtime.store_probe import SILENT, why_refused

log = structlog.get_logger()

EVERY_S = 5.0
PROBE_S = 3.0
ROOM_BYTES_MIN = 32 << 20
SAID = "failed to store a msg"


async def watch(broker: Kept, settings: Settings, home: Path) -> None:
    """Until cancelled."""
    while True:
        try:
            bus = await nats_bus.connect(
                settings.nats_url, name="supervisor", user=settings.nats_user, password=settings.nats_password
            )
        except BusDown:
            await asyncio.sleep(EVERY_S)
            continue
        try:
            await _watch(bus, broker, home)
        finally:
            await bus.close()


async def _watch(bus: nats_bus.NatsBus, broker: Kept, home: Path) -> None:
    while not bus.closed.is_set():
        await asyncio.sleep(EVERY_S)
        if await _is_silenced(bus, broker.launcher.log):
            free = shutil.disk_usage(home).free
            if free < ROOM_BYTES_MIN:
                log.error("the disk is full: the broker takes no writes", free_bytes=free)
            else:
                log.warning("the broker is silent after a full disk: it is started again", free_bytes=free)
                await broker.restart()


async def _is_silenced(bus: Bus, log_file: Path) -> bool:
    """Not merely slow: it says itself that it could not store."""
    return await why_refused(bus, timeout_s=PROBE_S) == SILENT and SAID in last_lines(log_file)
