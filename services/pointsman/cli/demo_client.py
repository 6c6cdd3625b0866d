"""The demo's REST client: patient with 429, 503 and lost connections, within bounds."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from pointsman.cli.demo_child import StepFailed

TRIES_MAX = 12
PAUSE_S_MAX = 5.0
CALL_TIMEOUT_S = 60.0
WAIT_S = 30
CONNECTIONS_MAX = 160
NO_ANSWER = 0
TRY_AGAIN = frozenset({NO_ANSWER, 429, 503})
TERMINAL = frozenset({"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"})


@dataclass(frozen=True)
class Attempt:
    """`run_ms` is None for one that has not ended."""

    server_id: str
    run_ms: int | None


@dataclass(frozen=True)
class Finished:
    """A task in its last state, as Pointsman stored it."""

    id: str
    status: str
    server_id: str | None
    result: object
    error: str | None
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; status 0 is none at all."""

    status: int
    text: str
    retry_after_s: float | None


class DemoClient:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, token: str) -> AsyncIterator["DemoClient"]:
        async with aiohttp.ClientSession(
            url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
        ) as session:
            yield cls(session)

    async def submit(self, task: dict[str, object], key: str) -> str:
        """The id of the accepted task."""
        answer = await self.call("POST", "/api/task", body=task, accepted=(200, 202), headers={"Idempotency-Key": key})
        return str(_object(answer)["id"])

    async def finished(self, task_id: str) -> Finished | None:
        """The task when it is in its last state, waiting up to 30 s for that; None while it is not."""
        answer = await self.call(
            "GET", f"/api/task/{task_id}", accepted=(200, 202), headers={"Prefer": f"wait={WAIT_S}"}
        )
        task = _object(answer)
        return _finished(task) if task["status"] in TERMINAL else None

    async def healthy_servers(self) -> set[str]:
        servers = _object(await self.call("GET", "/api/servers", accepted=(200,)))["servers"]
        assert isinstance(servers, list)
        return {str(server["id"]) for server in servers if server["health"]["status"] == "healthy"}

    async def call(
        self,
        method: str,
        path: str,
        *,
        accepted: Collection[int],
        body: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
    ) -> object:
        """The JSON of an accepted answer; StepFailed with what the last try said."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        content = {} if data is None else {"Content-Type": "application/json"}
        answer = Answer(NO_ANSWER, "", None)
        for number in range(TRIES_MAX):
            answer = await self._once(method, path, data, {**content, **(headers or {})})
            if answer.status in accepted:
                return json.loads(answer.text) if answer.text else None
            if answer.status not in TRY_AGAIN:
                break
            await asyncio.sleep(answer.retry_after_s or min(0.1 * 2**number, PAUSE_S_MAX))
        raise StepFailed(f"{method} {path}: {answer.status or 'no answer,'} {answer.text[:500]}")

    async def _once(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Answer:
        try:
            async with self._session.request(method, path, data=data, headers=headers) as answer:
                pause = answer.headers.get("Retry-After", "")
                return Answer(answer.status, await answer.text(), _seconds(pause))
        except (aiohttp.ClientError, TimeoutError) as error:
            return Answer(NO_ANSWER, f"{type(error).__name__} {error}".strip(), None)


def _seconds(retry_after: str) -> float | None:
    return min(float(retry_after), PAUSE_S_MAX) if retry_after.isdigit() else None


def _object(answer: object) -> dict[str, object]:
    if not isinstance(answer, dict):
        raise StepFailed(f"not the JSON object that was expected: {answer!r:.200}")
    return answer


def _finished(task: dict[str, object]) -> Finished:
    attempts = task["attempts"]
    assert isinstance(attempts, list)
    return Finished(
        id=str(task["id"]),
        status=str(task["status"]),
        server_id=None if task["serverId"] is None else str(task["serverId"]),
        result=task["result"],
        error=None if task["error"] is None else str(task["error"]),
        attempts=tuple(_attempt(attempt) for attempt in attempts),
    )


def _attempt(attempt: dict[str, object]) -> Attempt:
    start, end = attempt["startedAt"], attempt.get("finishedAt")
    run_ms = end - start if isinstance(start, int) and isinstance(end, int) else None
    return Attempt(server_id=str(attempt["serverId"]), run_ms=run_ms)
