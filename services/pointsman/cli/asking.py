"""How a command asks a running system: found by its data folder or the settings, as an operator of this machine."""

import asyncio
import getpass
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pointsman.cli import options
from pointsman.client import nats_bus
from pointsman.client.bus import BusError
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import Request
from pointsman.contracts.errors import PointsmanError, from_validation

if TYPE_CHECKING:
    from pointsman.services.runtime.settings import Settings

INTERRUPTED = 130
EXITS = {
    400: options.USAGE,
    413: options.USAGE,
    422: options.USAGE,
    404: options.NOT_FOUND,
    409: options.CONFLICT,
    412: options.CONFLICT,
    401: options.NOT_ALLOWED,
    403: options.NOT_ALLOWED,
    503: options.UNREACHABLE,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which system, how its answer is shown, how long to wait for it."""

    config_path: Path | None
    data_dir: Path | None
    output: str
    timeout_s: float

    def show[A: msgspec.Struct](self, ask: Callable[[Client], Awaitable[A]], as_text: Callable[[A], str]) -> A:
        """Ask, and print the answer as JSON or as text; a refusal ends the command with the exit code of its kind."""
        answer = self._answer(ask)
        if self.output == "json":
            click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
        else:
            click.echo(as_text(answer))
        return answer

    def _answer[A](self, ask: Callable[[Client], Awaitable[A]]) -> A:
        from pointsman.services.runtime import logs

        settings = options.settings_of(self.config_path, self.data_dir)
        logs.configure("cli", level="error", form="console")
        try:
            return asyncio.run(_asked(settings, ask, self.timeout_s))
        except PointsmanError as error:
            options.fail(error.detail, EXITS.get(error.status, options.FAILED))
        except BusError as error:
            options.fail(f"NATS cannot be reached: {error}", options.UNREACHABLE)
        except TimeoutError:
            options.fail(f"no answer within {self.timeout_s:g} s", options.TIMEOUT)


def request[R: Request](shape: type[R], **fields: Any) -> R:
    """A request of what was given: None was not given, UNBOUNDED is null. Out of bounds is a usage error."""
    given = {name: None if value is options.UNBOUNDED else value for name, value in fields.items() if value is not None}
    try:
        return msgspec.convert(given, type=shape)
    except msgspec.ValidationError as error:
        options.fail(from_validation(error).detail, options.USAGE)


def follow(config_path: Path | None, data_dir: Path | None, lines: Callable[[Client], AsyncIterator[str]]) -> None:
    """Print each line as it comes, until there are no more or the command is interrupted."""
    from pointsman.services.runtime import logs

    settings = options.settings_of(config_path, data_dir)
    logs.configure("cli", level="error", form="console")
    try:
        asyncio.run(_followed(settings, lines))
    except PointsmanError as error:
        options.fail(error.detail, EXITS.get(error.status, options.FAILED))
    except BusError as error:
        options.fail(f"NATS cannot be reached: {error}", options.UNREACHABLE)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


async def _followed(settings: "Settings", lines: Callable[[Client], AsyncIterator[str]]) -> None:
    async with _connected(settings) as client:
        async for line in lines(client):
            click.echo(line)


async def _asked[A](settings: "Settings", ask: Callable[[Client], Awaitable[A]], timeout_s: float) -> A:
    async with asyncio.timeout(timeout_s), _connected(settings) as client:
        return await ask(client)


@asynccontextmanager
async def _connected(settings: "Settings") -> AsyncIterator[Client]:
    bus = await nats_bus.connect(
        settings.nats_url,
        name="pointsman cli",
        user=settings.nats_user,
        password=settings.nats_password,
        credentials_file=settings.nats_creds_file,
    )
    try:
        yield Client(bus, Actor(sub=f"local:{_user()}", roles=(Role.OPERATOR, Role.ADMIN)))
    finally:
        await bus.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"
