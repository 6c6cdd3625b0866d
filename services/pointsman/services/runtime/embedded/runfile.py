"""The note a running system leaves in its data folder, by which other commands find it."""

from pathlib import Path
from typing import Any

import msgspec

from pointsman.services.runtime.embedded import folder
from pointsman.services.runtime.settings import RUN_FILE, Settings


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """Holds passwords: readable by the owner only."""

    gateway: str
    nats: str
    nats_monitor: str
    postgres: str
    supervisor_pid: int
    pids: dict[str, int]
    settings: dict[str, Any]


def write(data_dir: Path, settings: Settings, *, supervisor_pid: int, pids: dict[str, int]) -> None:
    note = RunFile(
        gateway=settings.base_url,
        nats=settings.nats_url,
        nats_monitor=settings.nats_monitor_url,
        postgres=settings.postgres_dsn,
        supervisor_pid=supervisor_pid,
        pids=pids,
        settings=_connections(settings),
    )
    folder.write_private(data_dir / RUN_FILE, msgspec.json.format(msgspec.json.encode(note), indent=2))


def read(data_dir: Path) -> RunFile | None:
    """None when no system has left its note there; msgspec.DecodeError when it cannot be read."""
    path = data_dir / RUN_FILE
    return msgspec.json.decode(path.read_bytes(), type=RunFile) if path.exists() else None


def remove(data_dir: Path) -> None:
    (data_dir / RUN_FILE).unlink(missing_ok=True)


def _connections(settings: Settings) -> dict[str, Any]:
    return {
        field.name: getattr(settings, field.name)
        for field in msgspec.structs.fields(Settings)
        if field.name != "jwt_secret" and getattr(settings, field.name) != field.default
    }
