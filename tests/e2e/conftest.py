"""One running Pointsman for all tests here; each test has a pool and backends of its own."""

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.support.backends import Backend
from tests.support.rest import Json, Rest
from tests.support.system_up import SystemUp, eventually, system_up

FAST_RETRY = {"baseMs": 50, "maxMs": 200, "jitter": 0}
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in item.nodeid:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@dataclass
class Server:
    """A backend process and the id under which it is registered."""

    id: str
    backend: Backend
    credential: str


class Fleet:
    """The servers of one test, in a pool of their own."""

    def __init__(self, rest: Rest, stack: AsyncExitStack) -> None:
        self.pool = f"p{next(_numbers)}"
        self._rest = rest
        self._stack = stack
        self._numbers = itertools.count()

    async def server(self, name: str = "", *, mode: str = "ok", health: str = "ok", **config: Any) -> Server:
        """Started, registered and, if its health is ok, waited for until it takes tasks."""
        backend = await self._stack.enter_async_context(await Backend.start(mode=mode))
        await backend.set_health(health)
        server_id = f"{self.pool}-{name or next(self._numbers)}"
        request = {"id": server_id, "pool": self.pool, "endpoints": backend.endpoints, **config}
        answer = await self._rest.call("POST", "/api/servers", request, expect=(201,))
        if health == "ok":
            await self.is_healthy(server_id)
        return Server(server_id, backend, answer.body["credential"])

    async def is_healthy(self, server_id: str, health: str = "healthy", *, within_s: float = 20.0) -> Json:
        async def seen() -> Json | None:
            server = (await self._rest.call("GET", f"/api/servers/{server_id}", expect=(200,))).body
            assert server["health"]["status"] == health, server
            return dict(server)

        found: Json = await eventually(seen, f"{server_id} is {health}", within_s=within_s)
        return found

    def task(self, behave: str = "", **fields: Any) -> Json:
        """A task for this pool; `behave` is what the backend shall do with it."""
        payload = {**({"behave": behave} if behave else {}), **fields.pop("payload", {})}
        return {"type": "e2e", "pool": self.pool, "payload": payload, "retry": FAST_RETRY, **fields}

    async def close(self) -> None:
        """Every server of the pool goes, whoever registered it: dead ones would have the prober doubt itself."""
        listed = await self._rest.call("GET", f"/api/servers?pool={self.pool}", expect=(200,))
        for server in listed.body["servers"]:
            await self._rest.call("DELETE", f"/api/servers/{server['id']}", expect=(200, 404))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system() -> AsyncIterator[SystemUp]:
    async with system_up() as running:
        yield running
        assert running.outcries() == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def admin(system: SystemUp) -> AsyncIterator[Rest]:
    async with system.client("ada", "admin") as rest:
        yield rest


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(admin: Rest) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        fleet = Fleet(admin, stack)
        yield fleet
        await fleet.close()
