"""The demo's four backends: started from the examples' folder, registered over REST, awaited until healthy."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from pointsman.cli.demo_child import Child, StepFailed
from pointsman.cli.demo_client import DemoClient

CAPABILITY = "python-analysis"
START_S_MAX = 20.0
HEALTHY_S_MAX = 60.0


@dataclass(frozen=True)
class Example:
    server_id: str
    file: str
    max_concurrent: int
    answers_later: bool = False


@dataclass(frozen=True)
class Backend:
    example: Example
    url: str
    child: Child


EXAMPLES = (
    Example("sync-fast", "sync_fast.py", max_concurrent=8),
    Example("sync-slow", "sync_slow.py", max_concurrent=2),
    Example("async-callback", "async_callback.py", max_concurrent=6, answers_later=True),
    Example("flaky", "flaky.py", max_concurrent=4),
)


def examples_folder() -> Path:
    """Inside the installed package, or in the repository when it is installed in place; StepFailed otherwise."""
    here = Path(__file__).resolve()
    candidates = (here.parent / "examples", here.parents[3] / "deploy" / "examples")
    for folder in candidates:
        if (folder / "analysis.py").is_file():
            return folder
    raise StepFailed("the example backends are missing; looked in " + " and ".join(map(str, candidates)))


@asynccontextmanager
async def running(examples: Path) -> AsyncIterator[list[Backend]]:
    """The four processes; stopped on leaving."""
    backends: list[Backend] = []
    try:
        for example in EXAMPLES:
            child, url = await Child.start(
                example.file,
                (str(examples / example.file), "--port", "0"),
                ready=r"^listening (http://\S+)$",
                timeout_s=START_S_MAX,
            )
            backends.append(Backend(example, url, child))
        yield backends
    finally:
        await asyncio.gather(*(backend.child.stop() for backend in backends))


async def register(client: DemoClient, backend: Backend) -> None:
    """Registers it anew: a demo on the same data before had it on another port."""
    example = backend.example
    path = f"/api/servers/{example.server_id}"
    await client.call("DELETE", path, accepted=(200, 202, 404))
    await client.call("POST", "/api/servers", body=_registration(backend), accepted=(200, 201))


async def until_healthy(client: DemoClient, seen: Callable[[int], None]) -> None:
    """Tells `seen` how many of the four are healthy until all are; StepFailed after 60 s."""
    missing = {example.server_id for example in EXAMPLES}
    try:
        async with asyncio.timeout(HEALTHY_S_MAX):
            while missing := missing - await client.healthy_servers():
                seen(len(EXAMPLES) - len(missing))
                await asyncio.sleep(0.3)
    except TimeoutError:
        raise StepFailed(f"not healthy after {HEALTHY_S_MAX:g} s: {', '.join(sorted(missing))}") from None
    seen(len(EXAMPLES))


async def load_of(backend: Backend) -> dict[str, int]:
    """What the backend itself says of its load, by its health answer."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.get(f"{backend.url}/health") as answer,
    ):
        load: dict[str, int] = (await answer.json())["load"]
        return load


def _registration(backend: Backend) -> dict[str, object]:
    example = backend.example
    return {
        "id": example.server_id,
        "name": example.file,
        "endpoints": {"predict": f"{backend.url}/predict", "health": f"{backend.url}/health"},
        "async": example.answers_later,
        "cancel": example.answers_later,
        "maxConcurrent": example.max_concurrent,
        "capabilities": [CAPABILITY],
    }
