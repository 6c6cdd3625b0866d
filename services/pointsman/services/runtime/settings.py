"""What an operator may set: one struct, read from a TOML file and the environment, refused when wrong."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pointsman.services.runtime import egress, settings_rules
from pointsman.services.runtime.settings_rules import SettingsError

PREFIX = "POINTSMAN_"
CONFIG_ENV = "POINTSMAN_CONFIG"
RUN_FILE = "run.json"
SECRET_FILE = "jwt-secret"  # noqa: S105
FAMILIES = ("nats_", "postgres_", "jwt_secret")
SECRETS = frozenset({"jwt_secret", "nats_password", "postgres_dsn"})
__all__ = ["Row", "Settings", "SettingsError", "describe", "env_name", "load", "require_secret", "to_env"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting with its default. The environment wins over the TOML file."""

    nats_url: Annotated[str, Meta(description="NATS server or servers, comma separated.")] = "nats://127.0.0.1:4222"
    nats_user: Annotated[str, Meta(description="NATS user name.")] = ""
    nats_password: Annotated[str, Meta(description="NATS password.")] = ""
    nats_password_file: Annotated[str, Meta(description="File to read nats_password from.")] = ""
    nats_creds_file: Annotated[str, Meta(description="NATS .creds file, instead of user and password.")] = ""
    nats_monitor_url: Annotated[
        str, Meta(description="NATS monitoring address; only there NATS shows that it syncs, which strict needs.")
    ] = ""
    postgres_dsn: Annotated[str, Meta(description="Postgres address of the history.")] = (
        "postgresql://127.0.0.1/pointsman"
    )
    postgres_dsn_file: Annotated[str, Meta(description="File to read postgres_dsn from.")] = ""
    jwt_secret: Annotated[str, Meta(description="Key that signs tokens (HS256), at least 32 bytes.")] = ""
    jwt_secret_file: Annotated[str, Meta(description="File to read jwt_secret from.")] = ""
    jwt_issuer: Annotated[str, Meta(description="Required issuer (iss) of a token; empty takes any.")] = ""
    jwt_audience: Annotated[str, Meta(description="Required audience (aud) of a token; empty takes any.")] = ""
    host: Annotated[str, Meta(description="Address the gateway listens on.", min_length=1)] = "127.0.0.1"
    port: Annotated[
        int, Meta(description="Port the gateway listens on; `up` takes a free one for 0.", ge=0, le=65535)
    ] = 8080
    public_url: Annotated[str, Meta(description="Base of callback URLs; empty means http://host:port.")] = ""
    durability: Annotated[
        Literal["strict", "relaxed"],
        Meta(description="strict: fsync before the 202; relaxed: a crash of NATS may lose the last moments."),
    ] = "strict"
    replicas: Annotated[Literal[1, 3], Meta(description="Copies of each stream: 1, or 3 in a NATS cluster.")] = 1
    result_ttl_s: Annotated[int, Meta(description="Seconds a finished task stays in NATS.", ge=10, le=604_800)] = 600
    retention_days: Annotated[
        int, Meta(description="Days a task stays in Postgres, by its creation; 0 keeps all.", ge=0, le=36_500)
    ] = 90
    egress_allow: Annotated[
        tuple[str, ...], Meta(description="Private networks (CIDR) in which backends may live.", max_length=256)
    ] = ()
    egress_schemes: Annotated[
        tuple[Literal["http", "https"], ...],
        Meta(description="Schemes of backend URLs; `https` alone refuses plain HTTP.", min_length=1, max_length=2),
    ] = ("http", "https")
    egress_ports: Annotated[
        tuple[str, ...], Meta(description="Ports and ranges at which backends may listen.", min_length=1, max_length=64)
    ] = egress.PORTS
    final_statuses: Annotated[
        tuple[Annotated[int, Meta(ge=400, le=599)], ...],
        Meta(description="HTTP statuses of a backend that fail a task for good.", max_length=64),
    ] = (400, 404, 410, 413, 422)
    max_backlog: Annotated[
        int, Meta(description="Waiting tasks from which on new ones get 429.", ge=1, le=100_000_000)
    ] = 1_000_000
    task_types_strict: Annotated[
        bool, Meta(description="Refuse tasks of a type that is not declared (`pointsman type declare`).")
    ] = False
    stale_after_s: Annotated[
        int,
        Meta(
            description="Seconds without a good probe or a heartbeat after which a server is unregistered; 0: never.",
            ge=0,
            le=31_536_000,
        ),
    ] = 0
    executor_concurrency: Annotated[
        int, Meta(description="Attempts one instance process runs at a time.", ge=1, le=100_000)
    ] = 500
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe level that is logged.")
    ] = "info"
    log_format: Annotated[Literal["json", "console"], Meta(description="Form of the log lines.")] = "json"
    data_dir: Annotated[str, Meta(description="Folder of an embedded system, to start or to find it.")] = ""

    def __post_init__(self) -> None:
        settings_rules.check(self)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{row.name}={row.value!r}' for row in describe(self))})"

    @property
    def egress(self) -> egress.EgressPolicy:
        """Where calls may go."""
        return egress.policy_of(self.egress_allow, self.egress_schemes, self.egress_ports)

    @property
    def base_url(self) -> str:
        """The URL by which backends reach the gateway, without a trailing slash."""
        return (self.public_url or f"http://{bracketed(self.host)}:{self.port}").rstrip("/")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as `pointsman settings` shows it; secrets are masked."""

    name: str
    env: str
    default: str
    doc: str
    value: str


def load(env: Mapping[str, str], config_path: Path | None = None, *, adopt_running: bool = True) -> Settings:
    """The settings of a command: an embedded system's run file, below the TOML file, below the environment.

    Raises SettingsError.
    """
    given = _from_toml(config_path or _configured_path(env)) | _from_env(env)
    running = _from_run_file(given.get("data_dir", "")) if adopt_running else {}
    return _made(_with_secret_files(_beneath(running, given) | given))


def to_env(settings: Settings) -> dict[str, str]:
    """The environment from which `load` makes these settings again."""
    return {
        env_name(field.name): _as_text(getattr(settings, field.name))
        for field in msgspec.structs.fields(Settings)
        if getattr(settings, field.name) != field.default and not _has_file(settings, field.name)
    }


def describe(settings: Settings | None = None) -> list[Row]:
    """Each setting with its documentation and, where given, its current value."""
    return [_row(field, settings) for field in msgspec.structs.fields(Settings)]


def require_secret(settings: Settings) -> str:
    """The signing key; SettingsError when there is none."""
    if not settings.jwt_secret:
        raise SettingsError(f"jwt_secret: not set; give {PREFIX}JWT_SECRET or {PREFIX}JWT_SECRET_FILE")
    return settings.jwt_secret


def env_name(field: str) -> str:
    return PREFIX + field.upper()


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _configured_path(env: Mapping[str, str]) -> Path | None:
    return Path(env[CONFIG_ENV]) if env.get(CONFIG_ENV) else None


def _from_toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    _refuse_unknown(values, lambda name: f"{path}: {name}")
    return values


def _from_env(env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {
        key.removeprefix(PREFIX).lower(): value
        for key, value in env.items()
        if key.startswith(PREFIX) and key != CONFIG_ENV
    }
    _refuse_unknown(values, env_name)
    return values | {name: _listed(values[name]) for name in _lists() if name in values}


def _lists() -> set[str]:
    return {field.name for field in msgspec.structs.fields(Settings) if isinstance(field.default, tuple)}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _beneath(running: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What the run file says, without the connections for which something else is given."""
    replaced = {family for family in FAMILIES if any(name.startswith(family) for name in given)}
    return {name: value for name, value in running.items() if not name.startswith(tuple(replaced))}


def _from_run_file(data_dir: str) -> dict[str, Any]:
    path = Path(data_dir) / RUN_FILE
    if not data_dir or not path.exists():
        return _from_stopped(Path(data_dir) / SECRET_FILE) if data_dir else {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=_RunFile).settings
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(f"data_dir: {path} cannot be read: {error}") from error


def _from_stopped(secret_file: Path) -> dict[str, Any]:
    """Of a system that does not run, its secret: tokens may be made ahead."""
    return {"jwt_secret_file": str(secret_file)} if secret_file.exists() else {}


class _RunFile(msgspec.Struct):
    settings: dict[str, Any]


def _with_secret_files(values: dict[str, Any]) -> dict[str, Any]:
    read = {name: _secret_in(values, name) for name in SECRETS if values.get(f"{name}_file")}
    return {**values, **read}


def _secret_in(values: dict[str, Any], name: str) -> str:
    if values.get(name):
        raise SettingsError(f"{name}: set it or {name}_file, not both")
    try:
        return Path(values[f"{name}_file"]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}_file: {error}") from error


def _made(values: dict[str, Any]) -> Settings:
    try:
        return msgspec.convert(values, type=Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_readable(error)) from error


def _refuse_unknown(values: Mapping[str, Any], shown: Callable[[str], str]) -> None:
    known = {field.name for field in msgspec.structs.fields(Settings)}
    if unknown := sorted(set(values) - known):
        raise SettingsError(f"{shown(unknown[0])}: unknown setting (`pointsman settings` lists them)")


def _readable(error: msgspec.ValidationError) -> str:
    """`port: Expected int ...` from msgspec's `Expected int ... - at $.port`."""
    reason, _, place = str(error).partition(" - at `$.")
    return f"{place.rstrip('`').replace('[...]', '')}: {reason.replace('`', '')}" if place else reason


def _row(field: msgspec.structs.FieldInfo, settings: Settings | None) -> Row:
    value = getattr(settings, field.name) if settings else ""
    masked = "********" if field.name in SECRETS and value else _as_text(value)
    return Row(
        name=field.name,
        env=env_name(field.name),
        default=_as_text(field.default),
        doc=_doc(field.type),
        value=masked,
    )


def _doc(annotation: Any) -> str:
    return str(next(meta.description for meta in annotation.__metadata__ if meta.description))


def _as_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _has_file(settings: Settings, name: str) -> bool:
    return name in SECRETS and bool(getattr(settings, f"{name}_file"))
