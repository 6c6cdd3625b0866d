"""The cockpit on a real terminal, taken from one real broker to another: servers have the same names on both."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pointsman.cli import contexts
from pointsman.cli.contexts import Context, Contexts
from pointsman.client.bus import Message
from pointsman.client.nats_bus import connect
from pointsman.contracts.subjects import verb
from tests.support.cockpit_broker import Broker, announced, broker
from tests.support.cockpit_services import Services
from tests.support.cockpit_world import World
from tests.support.terminal import Terminal, terminal


@asynccontextmanager
async def cluster(folder: Path, servers: int) -> AsyncIterator[tuple[Broker, Services]]:
    """A broker, a world that tells of itself there, and a registry that does what it is told."""
    await asyncio.to_thread(folder.mkdir)
    services = Services(World(servers=servers))
    await services.fill()
    async with broker(folder) as nats, announced(nats, services.world):
        bus = await connect(nats.url, name="registry")

        async def serve(message: Message) -> None:
            answer = await services.request(message.subject, message.data, headers=message.headers)
            await bus.publish(message.reply, answer.data, answer.headers)

        await bus.subscribe(verb("registry", "maintain-many"), serve)
        try:
            yield nats, services
        finally:
            await bus.close()


async def goes_to(screen: Terminal, name: str) -> None:
    screen.press(b":")
    await screen.sees("Search for")
    screen.press(f"ctx {name}".encode())
    await screen.sees(lambda text: re.findall(r"context (\w+)", text) == [name])
    screen.press(b"\r")


async def test_it_goes_from_one_context_to_another_and_acts_only_on_the_one_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cluster(tmp_path / "a", 12) as (alpha, at_alpha), cluster(tmp_path / "b", 5) as (beta, at_beta):
        book = {
            "alpha": Context(nats_url=alpha.url),
            "beta": Context(nats_url=beta.url),
            "sealed": Context(nats_url=beta.url, nats_user="ann", nats_password="env:UNSET", protected=True),
        }
        file = tmp_path / "contexts.toml"
        contexts.write(file, Contexts(current="alpha", contexts=book))
        monkeypatch.setenv(contexts.FILE_ENV, str(file))
        async with terminal("tui", "servers") as screen:
            assert "pointsman alpha   RW" in await screen.sees("[2 Servers 12]")

            await goes_to(screen, "beta")
            assert "pointsman beta   RW" in await screen.sees("[2 Servers 5]")
            screen.press(b"d")
            await screen.sees("Drain on beta")
            await screen.sees("nothing new is sent there")
            screen.press(b"y")
            await screen.sees("srv-0001 drains")
            assert [write.asked.ids for write in at_beta.writes] == [("srv-0001",)]
            assert at_alpha.writes == []

            beta.kill()
            await screen.sees("✖ DISCONNECTED")
            await goes_to(screen, "alpha")
            await beta.start()
            assert "pointsman alpha   RW   ● live" in await screen.sees("[2 Servers 12]")

            await goes_to(screen, "sealed")
            text = await screen.sees("env:UNSET: this variable is not set")
            assert "pointsman sealed   RO   … connecting, try" in text
            await goes_to(screen, "alpha")
            await screen.sees("[2 Servers 12]")

            screen.press(b"q")
            assert await screen.ended() == 0
            assert screen.state == screen.before
            assert contexts.read(file).current == "alpha"
