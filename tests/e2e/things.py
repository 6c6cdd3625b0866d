"""What commands are given in tests, and commands in processes of their own."""

import asyncio
import signal
from asyncio.subprocess import PIPE
from typing import Any

from tests.e2e.conftest import Fleet
from tests.support.rest import Rest
from tests.support.system_up import COMMAND, SystemUp, eventually

COMMAND_S_MAX = 60.0


class Things:
    """What commands are given: of some things there is a fresh one for each time."""

    def __init__(self, admin: Rest, fleet: Fleet) -> None:
        self._admin = admin
        self._fleet = fleet
        self._count = 1
        self._words: dict[str, str] = {}

    async def prepare(self) -> None:
        """One server runs tasks, another is acted on."""
        server, acted = await self._fleet.server(), await self._fleet.server()
        self._words = {
            "pool": self._fleet.pool,
            "server": acted.id,
            "url": server.backend.endpoints["predict"].rpartition("/")[0],
            "ended": (await self._admin.done(self._fleet.task()))["id"],
            "waits": await self._waiting(),
            "limited": f"{self._fleet.pool}-limited",
            "declared": f"{self._fleet.pool}-declared",
        }

    async def words(self, text: str) -> list[str]:
        """The text with every name filled in."""
        self._count += 1
        made: dict[str, str] = {"number": str(self._count), "attempts": str(self._count % 20 + 1)}
        for name in ("active", "alert", "waiting", "cancelled", "held", "known", "unknown", "changed"):
            if f"{{{name}}}" in text:
                made[name] = await getattr(self, f"_{name}")()
        if "{limited}" in text:
            await self._call("PUT", f"/api/limits/type/{self._words['limited']}", {"maxConcurrent": self._count})
        if "{declared}" in text:
            await self._call("PUT", f"/api/types/{self._words['declared']}", {"maxAttempts": self._count % 20 + 1})
        return text.format(**self._words, **made).split()

    async def _alert(self) -> str:
        """Sooner or later the task that waits is one."""

        async def first() -> str:
            alerts = (await self._admin.call("GET", "/api/alerts", expect=(200,))).body["alerts"]
            return f"{alerts[0]['kind']}/{alerts[0]['subject']}" if alerts else ""

        return str(await eventually(first, "there is an alert"))

    async def _waiting(self) -> str:
        return await self._admin.accepted(self._fleet.task(capabilities=["none"]))

    async def _cancelled(self) -> str:
        waiting = await self._waiting()
        await self._call("POST", f"/api/task/{waiting}/cancel", {})
        return waiting

    async def _active(self) -> str:
        return await self._wanted(enabled=False)

    async def _held(self) -> str:
        return await self._wanted(enabled=True)

    async def _wanted(self, *, enabled: bool) -> str:
        server = self._words["server"]
        order = {"enabled": enabled, **({"drainTimeoutMs": 0} if enabled else {})}
        await self._call("POST", f"/api/servers/{server}/maintenance", order)
        return server

    async def _unknown(self) -> str:
        return f"{self._fleet.pool}-{self._count}"

    async def _known(self) -> str:
        name = await self._unknown()
        await self._call("POST", "/api/servers", {"id": name, "pool": self._fleet.pool, "url": self._words["url"]})
        return name

    async def _changed(self) -> str:
        await self._call("PATCH", f"/api/pools/{self._fleet.pool}", {"maxBacklog": 1000 + self._count})
        return self._fleet.pool

    async def _call(self, method: str, path: str, body: Any) -> None:
        await self._admin.call(method, path, body, expect=(200, 201))


class Process:
    """A command in a process of its own, whose output is read as it comes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def begin(cls, system: SystemUp, way: str, *arguments: str, stdout: int = PIPE) -> "Process":
        place = ("--data-dir", str(system.data_dir)) if way == "nats" else ("--url", system.url)
        env = {"PATH": "/usr/bin", "USER": "olga", "POINTSMAN_TOKEN": await system.token("olga", "admin")}
        return cls(
            await asyncio.create_subprocess_exec(*COMMAND, *place, *arguments, env=env, stdout=stdout, stderr=PIPE)
        )

    async def line(self) -> str:
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), COMMAND_S_MAX)).decode()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> tuple[int, str]:
        _, said = await asyncio.wait_for(self._process.communicate(), COMMAND_S_MAX)
        assert self._process.returncode is not None
        return self._process.returncode, said.decode()
