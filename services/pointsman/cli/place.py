"""Which system a command speaks to, how, and who said so: flag, environment, context, or what is found here."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pointsman.cli import contexts
from pointsman.cli.contexts import Context, ContextError, Contexts, NotRunning
from pointsman.cli.given import Given

URL_ENV, TOKEN_ENV, CONTEXT_ENV, READ_ONLY_ENV = (
    f"POINTSMAN_{name}" for name in ("URL", "TOKEN", "CONTEXT", "READ_ONLY")
)
SETTINGS_ENV = tuple(f"POINTSMAN_{name}" for name in ("NATS_URL", "DATA_DIR", "CONFIG"))
NAMES_OF_BROKERS = ("POINTSMAN_NATS_URL", "POINTSMAN_CONFIG")
YES, NO = ("1", "true", "yes"), ("", "0", "false", "no")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """`origins` says of each field where it comes from. Of a REST place only `url` and `token` are set."""

    url: str
    is_rest: bool = False
    user: str = ""
    password: str = ""
    creds_file: str = ""
    token: str = ""
    context: str | None = None
    protected: bool = False
    color: str | None = None
    folder: str = ""
    origins: dict[str, str] = {}

    @property
    def shown(self) -> str:
        """For people: the context's name, the folder's, else the address without what is secret."""
        return self.context or Path(self.folder).name or self.url.rpartition("@")[2]


def chosen_context(given: Given, env: Mapping[str, str], book: Contexts) -> tuple[str, str] | None:
    """Name and origin of the context in force; None when something nearer names the system."""
    if given.url or given.data_dir or given.config_path:
        return None
    if given.context:
        return given.context, "--context"
    if env.get(URL_ENV) or any(env.get(name) for name in SETTINGS_ENV):
        return None
    if name := env.get(CONTEXT_ENV):
        return name, CONTEXT_ENV
    return (book.current, "selected") if book.current else None


def resolve(given: Given, env: Mapping[str, str]) -> Place:
    """Raises ContextError and SettingsError. A secret goes only to the address that it was given with."""
    book = contexts.read(contexts.path_of(env))
    if chosen := chosen_context(given, env, book):
        return of_context(chosen[0], book.named(chosen[0]), given, env)
    if given.url:
        return _of_url(given.url, "--url", _token(given, env, env.get(TOKEN_ENV, "")), TOKEN_ENV)
    if env.get(URL_ENV) and not (given.data_dir or given.config_path):
        return _of_url(env[URL_ENV], URL_ENV, _token(given, env, env.get(TOKEN_ENV, "")), TOKEN_ENV)
    return _of_settings(given, env)


def of_context(name: str, context: Context, given: Given, env: Mapping[str, str]) -> Place:
    """NATS when the context has it: more can be done there than over REST."""
    origin = f"context {name}"
    marks = {"context": name, "protected": context.protected, "color": context.color}
    if context.nats_url:
        password = contexts.secret(context.nats_password, env) if context.nats_password else ""
        return Place(
            url=context.nats_url,
            user=context.nats_user or "",
            password=password,
            creds_file=str(Path(context.nats_creds).expanduser()) if context.nats_creds else "",
            origins={"url": origin, "user": origin, "password": context.nats_password or "", "protected": origin},
            **marks,  # type: ignore[arg-type]
        )
    if context.url:
        written = contexts.secret(context.token, env) if context.token and not given.token else ""
        token = _token(given, env, written)
        origins = {"url": origin, "token": "--token" if given.token else context.token or "", "protected": origin}
        return Place(url=context.url, is_rest=True, token=token, origins=origins, **marks)  # type: ignore[arg-type]
    folder = Path(context.data_dir or "").expanduser()
    found = _of_settings(given.of_folder(folder), _without_settings(env))
    return msgspec.structs.replace(found, origins=found.origins | {"url": origin}, **marks)


def reads_only(given: Given, env: Mapping[str, str], place: Place | None) -> str | None:
    """Why nothing may be written, or None: flag before environment before context."""
    if given.read_only is not None:
        return "--read-only" if given.read_only else None
    said = env.get(READ_ONLY_ENV, "").lower()
    if said not in (*YES, *NO):
        raise ContextError(f"{READ_ONLY_ENV}: must be 1 or 0")
    if said in YES:
        return f"{READ_ONLY_ENV} is set"
    if place is not None and place.protected:
        return f"context {place.context} is protected; --no-read-only opens it for one command"
    return None


def _token(given: Given, env: Mapping[str, str], otherwise: str) -> str:
    """Raises ContextError without telling it."""
    token = contexts.secret(given.token, env) if given.token else otherwise
    if not (token.isascii() and token.isprintable()):
        raise ContextError("the token cannot be sent: only printable ASCII can, on one line")
    return token


def _of_url(url: str, origin: str, token: str, token_origin: str) -> Place:
    if not url.startswith(("http://", "https://", "nats://", "tls://")):
        raise ContextError(f"{origin}: must start with http://, https://, nats:// or tls://")
    if not all(map(contexts.has_host, url.split(","))):
        raise ContextError(f"{origin}: {contexts.NO_HOST}")
    is_rest = url.startswith("http")
    told = {"url": origin} | ({"token": token_origin} if is_rest and token else {})
    return Place(url=url, is_rest=is_rest, token=token if is_rest else "", origins=told)


def _of_settings(given: Given, env: Mapping[str, str]) -> Place:
    from pointsman.cli.options import RUN_FILE, settings_of

    if found := _of_run_file(given, env):
        return found

    settings = settings_of(given.config_path, given.data_dir, env=env)
    origin = _origin(given, env, settings.data_dir)
    is_named_elsewhere = given.config_path or any(env.get(name) for name in NAMES_OF_BROKERS)
    if settings.data_dir and not is_named_elsewhere and not (Path(settings.data_dir) / RUN_FILE).exists():
        raise NotRunning(f"no system runs in {settings.data_dir} ({origin})")
    return Place(
        url=settings.nats_url,
        user=settings.nats_user,
        password=settings.nats_password,
        creds_file=settings.nats_creds_file,
        folder=settings.data_dir,
        origins={"url": origin, "user": origin, "password": origin},
    )


class _Broker(msgspec.Struct):
    nats_url: str
    nats_user: str = ""
    nats_password: str = ""


class _RunFile(msgspec.Struct):
    settings: _Broker


def _of_run_file(given: Given, env: Mapping[str, str]) -> Place | None:
    """What `settings_of` would find when the folder of a running system is all that is given; at a tenth of its cost."""
    from pointsman.cli import options

    said = {name for name in env if name.startswith(options.PREFIX)} - options.OURS - {options.DATA_DIR_ENV}
    folder = given.data_dir or Path(env.get(options.DATA_DIR_ENV) or options.DATA_DIR_DEFAULT)
    try:
        if given.config_path or said:
            return None
        broker = msgspec.json.decode((folder / options.RUN_FILE).read_bytes(), type=_RunFile).settings
    except (OSError, msgspec.MsgspecError):
        return None
    origin = _origin(given, env, str(folder))
    return Place(
        url=broker.nats_url,
        user=broker.nats_user,
        password=broker.nats_password,
        folder=str(folder.absolute()),
        origins={"url": origin, "user": origin, "password": origin},
    )


def _without_settings(env: Mapping[str, str]) -> dict[str, str]:
    """Without what would name another system than the folder does."""
    return {name: value for name, value in env.items() if not name.startswith(("POINTSMAN_NATS", *SETTINGS_ENV))}


def _origin(given: Given, env: Mapping[str, str], folder: str) -> str:
    for is_given, name in ((given.data_dir, "--data-dir"), (given.config_path, "--config")):
        if is_given:
            return name
    named = [name for name in SETTINGS_ENV if env.get(name)]
    return named[0] if named else (f"found in {os.path.relpath(folder)}" if folder else "default")
