"""A client of the REST interface that holds every answer to `API.md` §5: problems are problems, a 5xx is a bug."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

CALL_S_MAX = 45.0
WAIT_S = 10
TERMINAL = frozenset({"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"})
PROBLEM_TYPE = "application/problem+json"
PROBLEM_KEYS = frozenset({"type", "title", "status", "detail", "instance", "requestId", "error"})

type Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """`body` is the decoded JSON, None when there is none."""

    status: int
    headers: Mapping[str, str]
    body: Any
    text: str

    def is_problem(self, status: int, text: str = "") -> bool:
        """Whether this is such a problem, with `text` in its detail or its list of fields."""
        assert self.status == status, f"{self.status} {self.text[:500]}"
        assert text in self.text, self.text[:500]
        return True


class Rest:
    """Statuses other than those of `expect` fail the test at once; () takes all."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, url: str, token: str = "") -> AsyncIterator["Rest"]:
        async with aiohttp.ClientSession(
            url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=aiohttp.ClientTimeout(total=CALL_S_MAX),
            connector=aiohttp.TCPConnector(limit=128),
        ) as session:
            yield cls(session)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        expect: tuple[int, ...] = (),
    ) -> Reply:
        sent = data if body is None else json.dumps(body).encode()
        content = {} if sent is None else {"Content-Type": "application/json"}
        async with self._session.request(
            method, path, data=sent, headers={**content, **(headers or {})}, allow_redirects=False
        ) as answer:
            text = await answer.text()
            reply = Reply(answer.status, answer.headers, _decoded(answer, text), text)
        fault = fault_of(reply)
        assert fault is None, f"{method} {path}: {fault}: {reply.status} {text[:500]}"
        assert not expect or reply.status in expect, f"{method} {path}: {reply.status} {text[:1000]}"
        return reply

    async def submit(self, task: Json, *, key: str = "", wait: int | None = None) -> Reply:
        headers = {"Idempotency-Key": key} if key else {}
        headers |= {} if wait is None else {"Prefer": f"wait={wait}"}
        return await self.call("POST", "/api/task", task, headers=headers)

    async def accepted(self, task: Json) -> str:
        reply = await self.call("POST", "/api/task", task, expect=(202,))
        assert reply.body["status"] == "PENDING", reply.text
        return str(reply.body["id"])

    async def task(self, task_id: str) -> Json:
        return dict((await self.call("GET", f"/api/task/{task_id}", expect=(200,))).body)

    async def finished(self, task_id: str, *, within_s: float = 30.0) -> Json:
        """The task when it has ended; waits for that on the server."""
        last: Json = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while last.get("status") not in TERMINAL:
                    wait = {"Prefer": f"wait={WAIT_S}"}
                    last = (await self.call("GET", f"/api/task/{task_id}", headers=wait, expect=(200,))).body
        assert last.get("status") in TERMINAL, f"not ended within {within_s:g} s: {last!r:.1500}"
        return last

    async def done(self, task: Json, *, within_s: float = 30.0) -> Json:
        """Submits and answers with the task as it ended."""
        return await self.finished(await self.accepted(task), within_s=within_s)

    async def all_done(self, tasks: list[Json], *, within_s: float = 60.0) -> list[Json]:
        return await asyncio.gather(*(self.done(task, within_s=within_s) for task in tasks))


def fault_of(reply: Reply) -> str | None:
    """What is wrong with this answer whatever was asked, or None."""
    if reply.status >= 500 and not (reply.status == 503 and reply.headers.get("Retry-After", "").isdigit()):
        return "a server error"
    if reply.status == 429 and not reply.headers.get("Retry-After", "").isdigit():
        return "a refusal without Retry-After"
    if reply.status >= 400:
        if not reply.headers.get("Content-Type", "").startswith(PROBLEM_TYPE):
            return "an error that is no problem+json"
        if not isinstance(reply.body, dict) or (missing := PROBLEM_KEYS - set(reply.body)):
            return f"a problem without {sorted(missing) if isinstance(reply.body, dict) else 'an object'}"
        if reply.body["status"] != reply.status:
            return "a problem of another status"
    if "X-Request-Id" not in reply.headers:
        return "no X-Request-Id"
    return None


def _decoded(answer: aiohttp.ClientResponse, text: str) -> Any:
    if not text or "json" not in answer.headers.get("Content-Type", ""):
        return None
    return json.loads(text)
