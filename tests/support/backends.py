"""A backend that misbehaves on request: a server in a process of its own, and the handle that tests hold of it.

A task chooses by the key "behave" of its payload; without one the server's --mode counts:
ok, slow:MS, stubborn:MS (goes on after a hang-up), fail:STATUS[:TIMES], retry-after:STATUS:SECONDS:TIMES, hang, reset,
lie-length, huge, redirect, drip, garbage, accepted[:MS], accepted-silent, error-json, success-json.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.support.misbehaviour import Simulator

START_S_MAX = 60.0
STOP_S_MAX = 5.0
CALL_S_MAX = 30.0
REPOSITORY = Path(__file__).resolve().parents[2]


class Backend:
    """One running backend process; use it as `async with await Backend.start() as backend`."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url

    @classmethod
    async def start(cls, *, mode: str = "ok", port: int = 0) -> Self:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.backends", "--port", str(port), "--mode", mode),
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), START_S_MAX)
            word, _, url = line.decode().strip().partition(" ")
            assert word == "listening", f"the backend did not start: {line!r}"
        except BaseException:
            process.kill()
            await process.wait()
            raise
        return cls(process, url)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def endpoints(self) -> dict[str, str]:
        """As a registration takes them."""
        return {"predict": f"{self.url}/predict", "health": f"{self.url}/health"}

    async def stats(self) -> dict[str, Any]:
        """Keys: calls, running, peak, tasks {id: calls}, attempts {id: [n]}, lastHeaders, lastBody, callbacks, ..."""
        return await self._call("GET", "/stats")

    async def set_health(self, health: str) -> None:
        """ok, bad (503) or hang."""
        await self._call("POST", "/control", {"health": health})

    async def set_mode(self, mode: str) -> None:
        """What tasks without "behave" get from now on."""
        await self._call("POST", "/control", {"mode": mode})

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_S_MAX)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: connections open, nothing answered."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self.thaw()
        await self.stop()

    async def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=CALL_S_MAX)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, self.url + path, json=body) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())


async def serve(port: int, mode: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Simulator.listen(port, mode) as simulator:
        print(f"listening {simulator.url}", flush=True)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    parser.add_argument("--mode", default="ok", help="what tasks without a wish get")
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.mode))


if __name__ == "__main__":
    main()
