"""What `pointsman doctor` looks at: each check returns findings, none raises."""

import asyncio
import re
import stat
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from pointsman.cli import gateway, services
from pointsman.cli.finding_of import Finding, skew
from pointsman.client import nats_bus
from pointsman.client.bus import BusError
from pointsman.services.history import migrations
from pointsman.services.history.store import refuses
from pointsman.services.runtime import durability
from pointsman.services.runtime.settings import RUN_FILE, SECRET_FILE, Settings

TIMEOUT_S = 5.0
NATS_VERSION_MIN = (2, 14)
POSTGRES_VERSION_MIN = 15
PRIVATE_FILES = (RUN_FILE, SECRET_FILE, "postgres.password", "nats/identity.json", "nats/nats.conf")


async def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order in which it is shown; of a folder on which nothing runs only what it holds."""
    if settings.data_dir and settings.nats_url == Settings().nats_url and not _runs(Path(settings.data_dir)):
        return [
            Finding(False, f"nothing runs on {settings.data_dir}: pointsman up --data-dir starts it"),
            *await folder(settings),
        ]
    checks: tuple[Callable[[Settings], Awaitable[list[Finding]]], ...] = (
        broker,
        broker_keeps,
        services.findings,
        database,
        gateway.findings,
        folder,
        secret,
    )
    return [finding for check in checks for finding in await check(settings)]


async def broker(settings: Settings) -> list[Finding]:
    try:
        bus = await nats_bus.connect(
            settings.nats_url,
            name="pointsman doctor",
            user=settings.nats_user,
            password=settings.nats_password,
            credentials_file=settings.nats_creds_file,
            connect_timeout_s=TIMEOUT_S,
        )
    except BusError as error:
        return [Finding(False, f"NATS cannot be reached: {error}")]
    try:
        answer = msgspec.json.decode((await bus.request("$JS.API.INFO", b"", timeout_s=TIMEOUT_S)).data)
    except BusError:
        return [Finding(False, "NATS is reached, but JetStream does not answer")]
    finally:
        await bus.close()
    return [Finding("error" not in answer, "NATS is reached, JetStream answers" + _refusal(answer))]


async def broker_keeps(settings: Settings) -> list[Finding]:
    """Only the monitoring address tells whether the broker syncs before it acknowledges."""
    if not settings.nats_monitor_url:
        return [Finding(False, "cannot prove that NATS syncs each write: set POINTSMAN_NATS_MONITOR_URL")]
    asked_s = time.time()
    server = await durability.monitored(settings.nats_monitor_url)
    if server is None:
        return [Finding(False, f"NATS monitoring does not answer at {settings.nats_monitor_url}")]
    return [_nats_version(server), _syncs(server), skew("NATS", _instant(server), asked_s, time.time())]


async def database(settings: Settings) -> list[Finding]:
    try:
        connection = await asyncpg.connect(settings.postgres_dsn, timeout=TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [Finding(False, f"Postgres cannot be reached: {str(error) or type(error).__name__}")]
    try:
        asked_s = time.time()
        now = await connection.fetchval("SELECT clock_timestamp()", timeout=TIMEOUT_S)
        answered_s = time.time()
        fsync = await connection.fetchval("SHOW fsync", timeout=TIMEOUT_S)
        version = str(await connection.fetchval("SHOW server_version", timeout=TIMEOUT_S))
        revision = await migrations.current(settings.postgres_dsn)
        dead = await _dead_letters(connection)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        said = "refuses" if refuses(error) else "does not answer"
        return [Finding(False, f"Postgres {said}: {str(error) or type(error).__name__}")]
    finally:
        await connection.close(timeout=TIMEOUT_S)
    return [
        Finding(_leading(version)[0] >= POSTGRES_VERSION_MIN, f"Postgres {version} is reached"),
        Finding(fsync == "on", f"Postgres fsync is {fsync}"),
        skew("Postgres", now.timestamp(), asked_s, answered_s),
        tables(revision),
        *([_set_aside(dead)] if dead is not None else []),
    ]


def tables(revision: str | None) -> Finding:
    """Whether services of this version can work with tables of that revision."""
    if revision is None:
        return Finding(False, "the database has no tables of ours: pointsman migrate makes them")
    if not migrations.knows(revision):
        return Finding(False, f"the tables are of revision {revision}, newer than this version knows")
    newest = migrations.newest()
    if revision != newest:
        return Finding(
            False, f"the tables are of revision {revision}, not {newest}: pointsman migrate brings them there"
        )
    return Finding(True, f"the tables are of our revision, {revision}")


async def _dead_letters(connection: "asyncpg.Connection[asyncpg.Record]") -> int | None:
    """How many records could not be archived; None before the first migration."""
    if await connection.fetchval("SELECT to_regclass('dead_letters')", timeout=TIMEOUT_S) is None:
        return None
    return int(await connection.fetchval("SELECT count(*) FROM dead_letters", timeout=TIMEOUT_S))


def _set_aside(count: int) -> Finding:
    if not count:
        return Finding(True, "no record was set aside by the archive")
    return Finding(False, f"{count} records could not be archived, the table dead_letters says which and why")


async def folder(settings: Settings) -> list[Finding]:
    return await asyncio.to_thread(_folder, settings)


def _folder(settings: Settings) -> list[Finding]:
    if not settings.data_dir:
        return []
    home = Path(settings.data_dir)
    if not home.is_dir():
        return [Finding(False, f"data folder {home} does not exist")]
    files = [path for name in PRIVATE_FILES if (path := home / name).exists()]
    return [
        Finding(
            not home.stat().st_mode & (stat.S_IRWXO & ~stat.S_IXOTH), f"data folder {home} cannot be listed by others"
        ),
        *(Finding(not _is_open(path), f"{path.name} is readable by its owner only") for path in files),
    ]


async def secret(settings: Settings) -> list[Finding]:
    return [
        Finding(bool(settings.jwt_secret), "token secret is set" if settings.jwt_secret else "no token secret is set")
    ]


def _runs(home: Path) -> bool:
    return (home / RUN_FILE).exists()


def _syncs(server: dict[str, Any]) -> Finding:
    if durability.syncs(server):
        return Finding(True, "NATS syncs each write before it acknowledges (sync_interval: always)")
    return Finding(
        False,
        f"NATS acknowledges before it syncs: a power cut loses accepted tasks; {durability.HOW_TO_SYNC}",
    )


def _nats_version(server: dict[str, Any]) -> Finding:
    version = str(server.get("version", "?"))
    wanted = ".".join(str(part) for part in NATS_VERSION_MIN)
    return Finding(_leading(version) >= NATS_VERSION_MIN, f"NATS {version} (at least {wanted})")


def _leading(version: str) -> tuple[int, int]:
    """Major and minor of `2.15.0-beta.1` or `18.6 (Debian 18.6-1)`."""
    found = re.match(r"(\d+)(?:\.(\d+))?", version)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _instant(server: dict[str, Any]) -> float:
    return datetime.fromisoformat(str(server["now"])).timestamp()


def _refusal(answer: dict[str, Any]) -> str:
    return f": {answer['error'].get('description', '')}" if "error" in answer else ""


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
