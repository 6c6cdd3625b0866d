"""Everything a Pointsman backend wants, in one file and with the standard library alone: copy it beside your server.

    kit = Kit(work, limit=2, secrets=["whsec_..."])     # work(task) returns the result, or raises Failed
    serve(kit, "127.0.0.1", 9001)                       # or: app = asgi(kit), for uvicorn, granian, hypercorn

It verifies the signature, refuses what comes too late (X-Pointsman-Start-By) or above its limit (429), takes no attempt
twice (409), answers at once or later by callback, cancels, and, once registered, beats. Python 3.10 or newer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import select
import socket
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

SECRET_PREFIX = "whsec_"
TOLERANCE_S = 300
BODY_BYTES_MAX = 1024 * 1024
BUSY_RETRY_S, STOPPING_RETRY_S = 1, 5
CANCEL_WAIT_S = 1.5
BEAT_S, BEAT_REFUSED_S = 2.0, 10.0
CALL_S = 10.0
CALLBACK_PAUSE_S, CALLBACK_PAUSE_S_MAX, RETRY_AFTER_S_MAX = 0.2, 5.0, 30.0
CALLBACK_GRACE_S = 60.0
PROGRESS_S = 1.0
IDLE_S = 75.0

log = logging.getLogger("pointsman_kit")


class BadSignature(Exception):
    """The request is not from a Pointsman that knows our secret, or it is old."""


class Cancelled(Exception):
    """Nobody wants the result any more; raised by `task.check` and `task.progress`."""


class Failed(Exception):
    """Raise it in `work`: the attempt has failed; with `final` the task is not tried again."""

    def __init__(self, error: str, *, code: str = "", final: bool = False) -> None:
        super().__init__(error)
        self.code = code
        self.final = final


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]


def answer(status: int, value: object, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


def verify(secrets: Iterable[str], headers: Mapping[str, str], body: bytes, *, now_s: float) -> None:
    """Standard Webhooks 1.0.0; header names in lower case. Any secret may match any signature: both sides can rotate."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdecimal()) or abs(now_s - int(timestamp[:12])) > TOLERANCE_S:
        raise BadSignature("webhook-timestamp is missing, or not of now")
    signed = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), body)
    given = [part[3:].encode() for part in headers.get("webhook-signature", "").split(" ") if part.startswith("v1,")]
    is_genuine = False
    for secret in secrets:
        expected = base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256))
        for signature in given[:16]:
            is_genuine |= hmac.compare_digest(expected, signature)
    if not is_genuine:
        raise BadSignature("webhook-signature does not match")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("a signing secret is whsec_ and base64") from None
    if not key:
        raise ValueError("a signing secret cannot be empty")
    return key


@dataclass
class Task:
    """What `work` gets. `deadline` in seconds since the epoch: an answer after it counts for nothing."""

    id: str
    type: str
    payload: Any
    attempt: int
    deadline: float
    callback_url: str
    key: str
    hung_up: Callable[[], bool] = lambda: False
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _progress_at: float = 0.0

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set() or self.hung_up() or time.time() > self.deadline

    def check(self) -> None:
        """Call it now and then in long work."""
        if self.is_cancelled:
            raise Cancelled(self.id)

    def wait(self, seconds: float) -> None:
        """Sleep, but not on when the task is cancelled."""
        self._cancelled.wait(seconds)
        self.check()

    def progress(self, percent: float) -> None:
        """Tell how far it is, at most once a second; the answer may say that the task was cancelled."""
        self.check()
        if time.monotonic() - self._progress_at < PROGRESS_S:
            return
        self._progress_at = time.monotonic()
        status, told = call("PUT", self.callback_url, {"status": "PROCESSING", "progress": percent})
        if status == 409 or (status == 200 and told.get("cancel")):
            self._cancelled.set()
        self.check()


class Kit:
    """`work` runs in a thread of its own, at most `limit` at once. `later`: answer 202 at once, the result by callback."""

    def __init__(
        self,
        work: Callable[[Task], object],
        *,
        limit: int = 1,
        later: bool = False,
        secrets: Iterable[str] = (),
        api_key: str = "",
        path: str = "/predict",
    ) -> None:
        self._work = work
        self._later = later
        self._secrets = tuple(secrets)
        self._api_key = api_key
        self._path = path
        self._running: dict[str, Task] = {}
        self._changed = threading.Condition()
        self._is_stopping = False
        self.limit = limit
        if not self._secrets and not api_key:
            log.warning("neither a signing secret nor an API key: anybody who reaches this port is served")

    def handle(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        hung_up: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """One request, blocking; header names in lower case. `hung_up` tells whether the caller is gone."""
        route = path.partition("?")[0]
        if route == "/health" and method in ("GET", "HEAD"):
            return self._health()
        if route != self._path and not route.startswith(f"{self._path}/"):
            return answer(404, {"error": "no such route"})
        try:
            self._authenticate(headers, body)
        except BadSignature as error:
            return answer(401, {"error": str(error)}, WWW_Authenticate="Bearer")
        if method == "POST" and route == self._path:
            return self._predict(headers, body, hung_up)
        if method == "DELETE" and route != self._path:
            return self._cancel(route.removeprefix(f"{self._path}/"))
        return answer(405, {"error": "method not allowed"}, Allow="POST" if route == self._path else "DELETE")

    def cancel(self, keys: Iterable[str]) -> None:
        """End attempts (`<task id>/<generation>/<number>`), as the answer to a heartbeat asks."""
        with self._changed:
            for key in keys:
                if key in self._running:
                    self._running[key]._cancelled.set()

    def load(self) -> dict[str, Any]:
        """What a heartbeat says."""
        with self._changed:
            running = list(self._running)
            ready = not self._is_stopping
        free = max(0, self.limit - len(running)) if ready else 0
        return {"activeTasks": len(running), "running": running, "freeSlots": free, "ready": ready}

    def stop(self, within_s: float = 10.0) -> bool:
        """Take nothing more, wait for what runs, cancel the rest; whether all has ended."""
        with self._changed:
            self._is_stopping = True
            if not self._changed.wait_for(lambda: not self._running, within_s):
                for task in self._running.values():
                    task._cancelled.set()
            return self._changed.wait_for(lambda: not self._running, CANCEL_WAIT_S)

    def _authenticate(self, headers: Mapping[str, str], body: bytes) -> None:
        if self._secrets:
            verify(self._secrets, headers, body, now_s=time.time())
        expected = f"Bearer {self._api_key}".encode()
        if self._api_key and not hmac.compare_digest(headers.get("authorization", "").encode(), expected):
            raise BadSignature("the API key is not ours")

    def _predict(self, headers: Mapping[str, str], body: bytes, hung_up: Callable[[], bool]) -> Answer:
        try:
            task = _task(headers, body, hung_up)
        except (KeyError, TypeError, ValueError) as error:
            return answer(400, {"error": f"not a task: {error!r}"})
        start_by = headers.get("x-pointsman-start-by", "")
        if start_by.isdecimal() and time.time() * 1000 > int(start_by):
            return answer(503, {"error": "came too late to begin"}, Retry_After=str(BUSY_RETRY_S))
        refusal = self._admit(task)
        if refusal is not None:
            return refusal
        if self._later:
            threading.Thread(target=self._run_later, args=(task,), name=task.id, daemon=True).start()
            return answer(202, {"status": "accepted"})
        return _as_answer(self._run(task))

    def _admit(self, task: Task) -> Answer | None:
        """Take the task's slot, or say why not."""
        with self._changed:
            if task.key in self._running:
                return answer(409, {"error": "this attempt is running"})
            if self._is_stopping:
                return answer(503, {"error": "stopping"}, Retry_After=str(STOPPING_RETRY_S))
            for other in self._running.values():
                if other.id == task.id:
                    other._cancelled.set()
            if len(self._running) >= self.limit:
                return answer(429, {"error": f"{self.limit} tasks are running"}, Retry_After=str(BUSY_RETRY_S))
            self._running[task.key] = task
            return None

    def _run(self, task: Task) -> dict[str, Any]:
        """The outcome, as a callback tells it; the slot is free when it returns."""
        try:
            return {"status": "COMPLETED", "result": self._work(task)}
        except Failed as error:
            return {"status": "FAILED", "error": str(error), "code": error.code or "failed", "final": error.final}
        except Cancelled:
            return {"status": "FAILED", "error": "cancelled", "code": "cancelled", "final": False}
        except Exception as error:
            log.exception("work failed: %s", task.id)
            return {"status": "FAILED", "error": repr(error), "code": "exception", "final": False}
        finally:
            with self._changed:
                del self._running[task.key]
                self._changed.notify_all()
            task._ended.set()

    def _run_later(self, task: Task) -> None:
        call_back(task, self._run(task))

    def _cancel(self, task_id: str) -> Answer:
        """A 2xx says that nothing of this task runs here any more: it is only given when that is so."""
        with self._changed:
            tasks = [task for task in self._running.values() if task.id == task_id]
        if not tasks:
            return answer(404, {"error": "not running"})
        for task in tasks:
            task._cancelled.set()
        end = time.monotonic() + CANCEL_WAIT_S
        if all(task._ended.wait(max(0.0, end - time.monotonic())) for task in tasks):
            return answer(200, {"status": "cancelled"})
        return answer(409, {"error": "told to end, but it still runs"})

    def _health(self) -> Answer:
        load = self.load()
        status = "healthy" if load["ready"] else "unhealthy"
        return answer(200, {"status": status, "load": {"active_tasks": load["activeTasks"], "queue_length": 0}})


def _task(headers: Mapping[str, str], body: bytes, hung_up: Callable[[], bool]) -> Task:
    told = json.loads(body)
    task_id, attempt, request = str(told["task_id"]), int(told["attempt"]), told["request"]
    generation = headers.get("webhook-id", "").rpartition("-")[2] or "1"
    return Task(
        id=task_id,
        type=str(request["type"]),
        payload=request["payload"],
        attempt=attempt,
        deadline=int(told["deadline"]) / 1000,
        callback_url=str(told["callback_url"]),
        key=f"{task_id}/{generation}/{attempt}",
        hung_up=hung_up,
    )


def _as_answer(outcome: dict[str, Any]) -> Answer:
    if outcome["status"] == "COMPLETED":
        return answer(200, {"status": "success", "result": outcome["result"]})
    told = {"status": "error", "error": outcome["error"], "code": outcome["code"]}
    return answer(200, told, X_Pointsman_Retry="no") if outcome["final"] else answer(200, told)


def call_back(task: Task, outcome: dict[str, Any]) -> bool:
    """PUT until it is taken; 4xx other than 429 is an answer too: the attempt is over, whoever ended it."""
    pause_s = CALLBACK_PAUSE_S
    while time.time() < task.deadline + CALLBACK_GRACE_S:
        status, told = call("PUT", task.callback_url, outcome)
        if 200 <= status < 500 and status != 429:
            return status < 300
        time.sleep(max(pause_s, min(float(told.get("retryAfter", 0)), RETRY_AFTER_S_MAX)))
        pause_s = min(pause_s * 2, CALLBACK_PAUSE_S_MAX)
    log.error("no callback taken for %s", task.id)
    return False


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(method: str, url: str, value: object, bearer: str = "") -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer; `retryAfter` is added to a refusal that has one. 0 when there was no answer."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
    request = urllib.request.Request(url, json.dumps(value).encode(), headers, method=method)
    try:
        with _OPENER.open(request, timeout=CALL_S) as response:
            return response.status, _json(response.read(BODY_BYTES_MAX))
    except urllib.error.HTTPError as error:
        with error:
            told = _json(error.read(BODY_BYTES_MAX))
        after = error.headers.get("Retry-After", "")
        return error.code, told | ({"retryAfter": int(after)} if after.isdecimal() else {})
    except OSError:
        return 0, {}


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Credentials:
    """What a registration gives, once: `credential` proves us to Pointsman, `signing_secret` Pointsman to us."""

    server_id: str
    credential: str
    signing_secret: str


def register(base_url: str, token: str, server: dict[str, Any], keep: Path) -> Credentials:
    """Register with an admin's token; the credentials are kept in a file that only we can read, for the next start."""
    status, told = call("POST", f"{base_url}/api/servers", server, token)
    if status == 201:
        made = Credentials(told["serverId"], told["credential"], told["signingSecret"])
        keep.unlink(missing_ok=True)
        with os.fdopen(os.open(keep, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(vars(made), file)
        return made
    if status == 200 and keep.exists():
        return Credentials(**json.loads(keep.read_text()))
    raise RuntimeError(f"not registered: {status} {told.get('detail', '')}".strip())


class Beats(threading.Thread):
    """Tells Pointsman every two seconds what runs here, and cancels what its answer asks for."""

    def __init__(self, kit: Kit, base_url: str, credentials: Credentials) -> None:
        super().__init__(name="beats", daemon=True)
        self._kit = kit
        self._url = f"{base_url}/api/servers/{credentials.server_id}/heartbeat"
        self._credential = credentials.credential
        self._boot_id = uuid.uuid4().hex
        self._seq = 0
        self._stop = threading.Event()
        self.is_draining = False

    def run(self) -> None:
        pause_s = 0.0
        while not self._stop.wait(pause_s):
            pause_s = BEAT_S if self.beat() else BEAT_REFUSED_S

    def stop(self) -> None:
        """Say a last time how it is."""
        self._stop.set()
        self.join(CALL_S)
        self.beat()

    def beat(self) -> bool:
        """False when Pointsman refuses it."""
        self._seq += 1
        load = self._kit.load()
        status = "healthy" if load["ready"] else "unhealthy"
        beat = {"status": status, **load, "seq": self._seq, "bootId": self._boot_id}
        code, told = call("POST", self._url, beat, self._credential)
        if code == 200:
            self.is_draining = bool(told.get("drain"))
            self._kit.cancel(told.get("cancel", ()))
        elif code not in (0, 409, 429, 503):
            log.warning("heartbeat refused: %s %s", code, told.get("detail", ""))
            return False
        return True


class Handler(BaseHTTPRequestHandler):
    """http.server on a Kit; see `server`."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    kit: Kit

    def do(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or self.headers.get("Transfer-Encoding"):
            return self._send(answer(411, {"error": "Content-Length is needed"}, Connection="close"))
        if int(length) > BODY_BYTES_MAX:
            return self._send(answer(413, {"error": f"more than {BODY_BYTES_MAX} bytes"}, Connection="close"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(length))
        return self._send(self.kit.handle(self.command, self.path, headers, body, self._hung_up))

    do_GET = do_HEAD = do_POST = do_DELETE = do_PUT = do

    def _send(self, told: Answer) -> None:
        self.send_response(told.status)
        for name, value in {**told.headers, "Content-Length": str(len(told.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(told.body)

    def _hung_up(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def log_message(self, *arguments: object) -> None:
        """Callback URLs carry tokens: nothing of a request is written down."""


def server(kit: Kit, host: str, port: int) -> ThreadingHTTPServer:
    """A server that `serve_forever()` runs and `shutdown()` ends; `server_address` tells the port of port 0."""
    made = ThreadingHTTPServer((host, port), type("KitHandler", (Handler,), {"kit": kit}))
    made.daemon_threads = True
    return made


def serve(kit: Kit, host: str, port: int) -> None:
    with server(kit, host, port) as running:
        running.serve_forever()


Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def asgi(kit: Kit, beats: Beats | None = None) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI application; `beats` begin and end with it, where its server speaks the lifespan protocol."""
    threads = ThreadPoolExecutor(kit.limit + 8, thread_name_prefix="pointsman_kit")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(kit, beats, receive, send)
            return
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        body = await _body(receive)
        gone = threading.Event()
        listening = asyncio.ensure_future(_until_gone(receive, gone))
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            told = (
                answer(413, {"error": f"more than {BODY_BYTES_MAX} bytes"})
                if body is None
                else await asyncio.get_running_loop().run_in_executor(
                    threads, kit.handle, scope["method"], scope["path"], headers, body, gone.is_set
                )
            )
        finally:
            listening.cancel()
        named = {**told.headers, "Content-Length": str(len(told.body))}
        sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()]
        await send({"type": "http.response.start", "status": told.status, "headers": sent})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else told.body})

    return app


async def _body(receive: Receive) -> bytes | None:
    """None when it is too large or its sender is gone."""
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > BODY_BYTES_MAX:
            return None
        if not message.get("more_body"):
            return b"".join(chunks)


async def _until_gone(receive: Receive, gone: threading.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()


async def _live(kit: Kit, beats: Beats | None, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            if beats is not None:
                beats.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            await asyncio.to_thread(kit.stop)
            if beats is not None:
                await asyncio.to_thread(beats.stop)
            await send({"type": "lifespan.shutdown.complete"})
            return
