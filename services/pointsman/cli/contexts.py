"""The contexts file: named systems, how each is reached, and which are protected. Secrets are named in it, never written.

`$POINTSMAN_CONTEXTS`, else `$XDG_CONFIG_HOME/pointsman/contexts.toml`.
"""

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from pointsman.cli import options

FILE_ENV = "POINTSMAN_CONTEXTS"
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
SECRETS = ("token", "nats_password")
WAYS_TO_A_SECRET = ("env", "file", "command")
HOW_SECRETS_ARE_NAMED = "must be env:NAME, file:PATH or command:COMMAND; the secret itself does not belong here"
NO_HOST = "names no host, or a port that is none"
COMMAND_S_MAX = 30
SECRET_BYTES_MAX = 64 << 10
SAID_MAX = 200
FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class ContextError(ValueError):
    """What is wrong with the file, a context or a secret, in one line."""

    exit_code = options.USAGE


class NotRunning(ContextError):
    """The folder that was named has no running system: nobody else is asked in its stead."""

    exit_code = options.UNREACHABLE


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One system: `url` of a gateway, `nats_url`, or the `data_dir` of an embedded one. `color` is that of its name."""

    url: str | None = None
    token: str | None = None
    nats_url: str | None = None
    nats_user: str | None = None
    nats_password: str | None = None
    nats_creds: str | None = None
    data_dir: str | None = None
    protected: bool = False
    color: Literal["red", "green", "yellow", "blue", "magenta", "cyan"] | None = None


class Contexts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    current: str | None = None
    previous: str | None = None
    contexts: dict[str, Context] = {}

    def named(self, name: str) -> Context:
        """Raises ContextError that lists what there is."""
        if name not in self.contexts:
            there = ", ".join(sorted(self.contexts)) or "none yet; `pointsman context add` makes one"
            raise ContextError(f"there is no context {name!r}; there are: {there}")
        return self.contexts[name]


def path_of(env: Mapping[str, str]) -> Path:
    if given := env.get(FILE_ENV):
        return Path(given)
    home = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME", "~")).expanduser() / ".config")
    return Path(home) / "pointsman" / "contexts.toml"


def read(path: Path) -> Contexts:
    """No file: no contexts. Raises ContextError, also when others could have written the file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read().decode()
    except (FileNotFoundError, NotADirectoryError):
        return Contexts()
    except (OSError, UnicodeDecodeError) as error:
        raise ContextError(f"{path}: {error}") from error
    if mode & FOR_OTHERS:
        raise ContextError(f"{path} is open to others, and it names commands to run: chmod 600 {path}")
    return parse(text, str(path))


def parse(text: str, where: str) -> Contexts:
    import tomllib

    try:
        book = msgspec.convert(tomllib.loads(text), type=Contexts)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ContextError(f"{where}: {error}") from error
    for name, context in book.contexts.items():
        check(name, context)
    return book


def check(name: str, context: Context) -> None:
    """Raises ContextError that names the field."""
    if not NAME.fullmatch(name):
        raise ContextError(f"context {name!r}: a name is 1-64 characters of A-Z a-z 0-9 . _ -")
    if not (context.url or context.nats_url or context.data_dir):
        raise ContextError(f"context {name}: needs url, nats_url or data_dir")
    if context.url is not None and not context.url.startswith(("http://", "https://")):
        raise ContextError(f"context {name}: url must start with http:// or https://")
    if context.url is not None and not has_host(context.url):
        raise ContextError(f"context {name}: url {NO_HOST}")
    for field in SECRETS:
        given = getattr(context, field)
        if given is not None and not is_reference(given):
            raise ContextError(f"context {name}: {field} {HOW_SECRETS_ARE_NAMED}")
    if bool(context.nats_user) != bool(context.nats_password):
        raise ContextError(f"context {name}: nats_user needs nats_password, and the other way round")


def has_host(url: str) -> bool:
    """One that can be looked up, and a port that can be connected to."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        return bool(host) and host.isprintable() and " " not in host and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def is_reference(text: str) -> bool:
    way, colon, what = text.partition(":")
    return bool(colon and what and way in WAYS_TO_A_SECRET)


def secret(reference: str, env: Mapping[str, str]) -> str:
    """What `env:NAME`, `file:PATH` or `command:COMMAND` stands for. Raises ContextError without telling it."""
    if not is_reference(reference):
        raise ContextError(f"a secret {HOW_SECRETS_ARE_NAMED}")
    way, _, what = reference.partition(":")
    found = {"env": _of_variable, "file": _of_file, "command": _of_command}[way](what, env).strip()
    if not found:
        raise ContextError(f"{reference}: nothing there")
    return found


def change(path: Path, act: Callable[[Contexts], Contexts]) -> Contexts:
    """Read, decide, replace the whole file at once; one writer at a time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path.with_name(path.name + ".lock")):
        changed = act(read(path))
        write(path, changed)
    return changed


def write(path: Path, book: Contexts) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(as_toml(book))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ContextError(f"{path}: {error}") from error


def as_toml(book: Contexts) -> str:
    """A TOML basic string is written like one of JSON."""
    head = [f"{name} = {_toml(value)}" for name in ("current", "previous") if (value := getattr(book, name))]
    told = ["\n".join(head)] if head else []
    for name, context in sorted(book.contexts.items()):
        lines = [f"{field} = {_toml(value)}" for field, value in msgspec.to_builtins(context).items()]
        told.append("\n".join([f"[contexts.{json.dumps(name)}]", *lines]))
    return "\n\n".join(told) + "\n"


def selected(book: Contexts, name: str) -> Contexts:
    book.named(name)
    return book if name == book.current else replace(book, current=name, previous=book.current)


def without(book: Contexts, name: str) -> Contexts:
    book.named(name)
    left = {other: context for other, context in book.contexts.items() if other != name}
    current, previous = (None if one == name else one for one in (book.current, book.previous))
    return Contexts(current=current, previous=previous, contexts=left)


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _of_variable(name: str, env: Mapping[str, str]) -> str:
    if name not in env:
        raise ContextError(f"env:{name}: this variable is not set")
    return env[name]


def _of_file(name: str, _env: Mapping[str, str]) -> str:
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise ContextError(f"file:{name}: is open to everybody: chmod 600 {path}")
            return file.read(SECRET_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ContextError(f"file:{name}: {error}") from error


def _of_command(command: str, env: Mapping[str, str]) -> str:
    """It has no terminal: that may belong to the cockpit, and its input to the command that needs the secret."""
    from pointsman.cli.commanded import TooMuch, said

    try:
        code, told, errors = said(command, env, within_s=COMMAND_S_MAX, bytes_max=SECRET_BYTES_MAX)
    except (OSError, TooMuch) as error:
        raise ContextError(f"command:{command}: {error}") from error
    if code:
        lines = errors.decode(errors="replace").split("\n")
        last = next((f": {line.strip()[:SAID_MAX]}" for line in reversed(lines) if line.strip()), "")
        raise ContextError(f"command:{command}: ended with exit code {code}{last}")
    return told.decode(errors="replace")
