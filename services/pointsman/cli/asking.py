"""How a command asks a running system and shows the answer; a refusal is one line and the exit code of its kind."""

import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from pointsman.cli import options, output, params, place, reaching
from pointsman.cli.contexts import ContextError
from pointsman.cli.quick import without
from pointsman.cli.reaching import actor
from pointsman.client import blocking
from pointsman.client.bus import BusDenied, BusError, BusTimeout
from pointsman.client.client import Client
from pointsman.contracts.base import Request
from pointsman.contracts.errors import PointsmanError, from_validation

if TYPE_CHECKING:
    from pointsman.cli.given import Given
    from pointsman.cli.output import Style, View
    from pointsman.cli.place import Place
    from pointsman.client.blocking import Blocking
    from pointsman.client.bus import Bus
    from pointsman.client.rest_bus import RestBus

EXITS = {
    400: options.USAGE,
    413: options.USAGE,
    415: options.USAGE,
    422: options.USAGE,
    404: options.NOT_FOUND,
    409: options.CONFLICT,
    412: options.CONFLICT,
    401: options.NOT_ALLOWED,
    403: options.NOT_ALLOWED,
    408: options.UNREACHABLE,
    502: options.UNREACHABLE,
    503: options.UNREACHABLE,
    504: options.UNREACHABLE,
}


class Wanted:
    """Which system is asked, and how its answers are shown."""

    def __init__(self, given: "Given") -> None:
        self.given = given
        self.timeout_s = given.timeout_s or options.TIMEOUT_S_DEFAULT
        self._place: Place | None = None

    @property
    def place(self) -> "Place":
        try:
            return self.resolve()
        except ContextError as error:
            options.fail(str(error), error.exit_code)

    def resolve(self) -> "Place":
        """Raises ContextError."""
        if self._place is None:
            self._place = place.resolve(self.given, os.environ)
        return self._place

    @property
    def style(self) -> "Style":
        style = output.style_of(self.given, sys.stdout, now_ms=time.time_ns() // 1_000_000)
        if style.form not in options.FORMS:
            options.fail(f"{options.OUTPUT_ENV}: must be one of {', '.join(options.FORMS)}", options.USAGE)
        return style

    @property
    def form(self) -> str:
        return self.style.form

    def patient(self, usual_s: float) -> float:
        """Until when to wait for a state, in `time.monotonic`; single answers are given their usual time."""
        self.timeout_s = options.TIMEOUT_S_DEFAULT
        return time.monotonic() + (self.given.timeout_s or usual_s)

    def show[A](self, ask: Callable[[Client], Coroutine[Any, Any, A]], view: "View[A, Any]") -> A:
        answer = self.ask(ask)
        self.tell(answer, view)
        return answer

    def tell[A](self, answer: A, view: "View[A, Any]") -> None:
        if told := self.told(answer, view):
            click.echo(told)

    def told[A](self, answer: A, view: "View[A, Any]") -> str:
        try:
            return output.render(answer, view, self.style)
        except ValueError as error:
            options.fail(str(error), options.USAGE)

    def ask[A](self, ask: Callable[[Client], Coroutine[Any, Any, A]]) -> A:
        with refusals(self):
            return self.attempt(ask)

    def attempt[A](self, ask: Callable[[Client], Coroutine[Any, Any, A]]) -> A:
        """The answer, over a connection of its own. Raises PointsmanError and BusError."""
        if self.place.creds_file:
            return self.looped(ask)
        bus = self.connect()
        try:
            return blocking.run(ask(Client(bus, actor(), blocking.call)))
        finally:
            blocking.run(bus.close())

    def connect(self) -> "Blocking":
        """A blocking connection for one thread. Raises BusError."""
        return reaching.connect(self.place, self.timeout_s)

    def rest(self) -> "RestBus":
        from pointsman.client.rest_bus import RestBus

        return RestBus(self.place.url, self.place.token, timeout_s=self.timeout_s)

    def loop[A](self, work: Callable[[Client], Coroutine[Any, Any, A]]) -> A:
        with refusals(self):
            return self.looped(work)

    def looped[A](self, work: Callable[[Client], Coroutine[Any, Any, A]]) -> A:
        """What needs an event loop: subscriptions, and NATS credentials files."""
        import asyncio

        async def worked() -> A:
            async with self.listening() as client:
                return await work(client)

        return asyncio.run(worked())

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Client]:
        """A client on a bus that can subscribe."""
        if self.place.is_rest:
            raise BusError("this needs NATS: give --url nats://..., or a context with nats_url")
        bus = await nats(self.place, self.timeout_s)
        try:
            yield Client(bus, actor())
        finally:
            await bus.close()


@contextmanager
def refusals(wanted: Wanted) -> Iterator[None]:
    """What can go wrong outside of this program ends it with one line."""
    try:
        yield
    except PointsmanError as error:
        refuse(error)
    except BusDenied as error:
        options.fail(f"NATS does not allow it: {error}", options.NOT_ALLOWED)
    except BusTimeout as error:
        options.fail(str(error), options.UNREACHABLE)
    except BusError as error:
        options.fail(
            f"{'the gateway' if wanted.place.is_rest else 'NATS'} cannot be reached: {error}", options.UNREACHABLE
        )
    except TimeoutError:
        options.fail(f"nobody answered within {wanted.timeout_s:g} s", options.UNREACHABLE)
    except ContextError as error:
        options.fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        raise SystemExit(options.INTERRUPTED) from None


def refuse(error: PointsmanError) -> NoReturn:
    more = [f"  {one.field}: {one.message}" for one in error.errors if one.message not in error.detail]
    options.fail("\n".join([output.one_line(error.detail), *more]), EXITS.get(error.status, options.FAILED))


def request[R: Request](shape: type[R], **fields: Any) -> R:
    """A request of what was given: None was not given, UNBOUNDED is null. Out of bounds is a usage error."""
    given = {name: None if value is params.UNBOUNDED else value for name, value in fields.items() if value is not None}
    try:
        return msgspec.convert(given, type=shape)
    except msgspec.ValidationError as error:
        options.fail(from_validation(error).detail, options.USAGE)


async def nats(there: "Place", timeout_s: float) -> "Bus":
    """The library's bus. It imports an HTTP client for WebSockets if there is one, which takes longer than all else."""
    with without("aiohttp"):
        from pointsman.client import nats_bus
    from pointsman.services.runtime import logs

    logs.configure("cli", level="error", form="console")
    return await nats_bus.connect(
        there.url,
        name="pointsman cli",
        user=there.user,
        password=there.password,
        credentials_file=there.creds_file,
        connect_timeout_s=min(5.0, timeout_s),
    )
