"""The backend kit: what it takes, what it refuses, and that it works with real requests of ours."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from typing import Any

import pytest

from tests.support.kit import kit

SECRET = "whsec_" + base64.b64encode(b"the secret of the tests, 32 bytes").decode()
OLD = "whsec_" + base64.b64encode(b"the secret before it").decode()


def request(
    task: str = "task_1", attempt: int = 1, *, secret: str = SECRET, at_s: float | None = None, start_in_s: float = 5.0
) -> tuple[dict[str, str], bytes]:
    now_s = time.time() if at_s is None else at_s
    asked = {"type": "t", "priority": 0, "payload": {"n": 1}, "capabilities": [], "async": True}
    body = json.dumps(
        {
            "task_id": task,
            "request": asked,
            "callback_url": "http://127.0.0.1:9/api/task/task_1?token=t",
            "attempt": attempt,
            "deadline": round((time.time() + 60) * 1000),
            "timeout": 60_000,
        }
    ).encode()
    return signed(body, f"{task}-1", secret, now_s) | {
        "x-pointsman-start-by": str(round((time.time() + start_in_s) * 1000))
    }, body


def signed(body: bytes, message_id: str = "cancel", secret: str = SECRET, now_s: float | None = None) -> dict[str, str]:
    timestamp = str(int(time.time() if now_s is None else now_s))
    content = f"{message_id}.{timestamp}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{mac}"}


class Work:
    """Runs until it is let go or cancelled."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.cancelled: list[str] = []

    def __call__(self, task: Any) -> object:
        self.begun.release()
        try:
            while not self.let_go.wait(0.01):
                task.check()
        except kit.Cancelled:
            self.cancelled.append(task.key)
            raise
        return task.payload


class Caller:
    """Calls a kit as Pointsman does, each call in a thread of its own."""

    def __init__(self, made: Any, work: Work) -> None:
        self.kit, self.work = made, work
        self.answers: list[Any] = []
        self._threads: list[threading.Thread] = []

    def post(self, *arguments: Any, **more: Any) -> Any:
        headers, body = request(*arguments, **more)
        return self.kit.handle("POST", "/predict", headers, body)

    def begin(self, *arguments: Any) -> None:
        thread = threading.Thread(target=lambda: self.answers.append(self.post(*arguments)))
        thread.start()
        self._threads.append(thread)
        assert self.work.begun.acquire(timeout=5)

    def first_ended(self) -> None:
        self._threads[0].join(5)

    def end(self) -> list[tuple[int, Any]]:
        for thread in self._threads:
            thread.join(5)
        return [(told.status, json.loads(told.body)) for told in self.answers]


@pytest.fixture
def caller() -> Caller:
    work = Work()
    return Caller(kit.Kit(work, limit=2, secrets=[SECRET]), work)


def test_a_result_is_answered(caller: Caller) -> None:
    caller.work.let_go.set()
    told = caller.post()
    assert (told.status, json.loads(told.body)) == (200, {"status": "success", "result": {"n": 1}})


def test_a_rotated_secret_verifies_from_both_sides() -> None:
    headers, body = request(secret=OLD)
    kit.verify([SECRET, OLD], headers, body, now_s=time.time())
    both = headers | {"webhook-signature": "v1,AAAA v2,x " + headers["webhook-signature"]}
    kit.verify([OLD], both, body, now_s=time.time())
    with pytest.raises(kit.BadSignature):
        kit.verify([SECRET], both, body, now_s=time.time())


def test_no_empty_secret_is_taken() -> None:
    headers, body = request()
    for secret in ("whsec_", "", "whsec_no base64"):
        with pytest.raises(ValueError, match="signing secret"):
            kit.verify([secret], headers, body, now_s=time.time())


@pytest.mark.parametrize("at_s", [-400.0, 400.0])
def test_a_request_of_another_time_is_refused(caller: Caller, at_s: float) -> None:
    assert caller.post(at_s=time.time() + at_s).status == 401


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_request_without_its_signature_is_refused(caller: Caller, name: str) -> None:
    headers, body = request()
    for changed in ({k: v for k, v in headers.items() if k != name}, headers | {name: "x"}, headers | {name: "é"}):
        assert caller.kit.handle("POST", "/predict", changed, body).status == 401
    assert caller.kit.handle("POST", "/predict", headers, body + b" ").status == 401


def test_an_api_key_is_asked_for() -> None:
    guarded = kit.Kit(lambda task: 1, api_key="sesame")
    headers, body = request()
    assert guarded.handle("POST", "/predict", headers, body).status == 401
    assert guarded.handle("POST", "/predict", headers | {"authorization": "Bearer Sesame"}, body).status == 401
    assert guarded.handle("POST", "/predict", headers | {"authorization": "Bearer sesame"}, body).status == 200


def test_what_comes_too_late_is_not_begun(caller: Caller) -> None:
    told = caller.post(start_in_s=-1.0)
    assert (told.status, told.headers["Retry-After"]) == (503, "1")


def test_above_its_limit_it_says_so(caller: Caller) -> None:
    caller.begin("task_1")
    caller.begin("task_2")
    told = caller.post("task_3")
    assert (told.status, told.headers["Retry-After"]) == (429, "1")
    assert caller.kit.load() == {
        "activeTasks": 2,
        "running": ["task_1/1/1", "task_2/1/1"],
        "freeSlots": 0,
        "ready": True,
    }
    caller.work.let_go.set()
    assert [status for status, _ in caller.end()] == [200, 200]
    assert caller.kit.load()["freeSlots"] == 2


def test_an_attempt_is_taken_once_and_a_newer_one_ends_the_older(caller: Caller) -> None:
    caller.begin("task_1", 1)
    assert caller.post("task_1", 1).status == 409
    caller.begin("task_1", 2)
    caller.first_ended()
    assert caller.work.cancelled == ["task_1/1/1"]
    caller.work.let_go.set()
    assert [told["status"] for _, told in caller.end()] == ["error", "success"]


def test_a_cancel_is_answered_when_the_work_has_ended(caller: Caller) -> None:
    assert caller.kit.handle("DELETE", "/predict/task_1", signed(b"")).status == 404
    caller.begin("task_1")
    assert caller.kit.handle("DELETE", "/predict/task_1", {}).status == 401
    assert caller.kit.handle("DELETE", "/predict/task_1", signed(b"")).status == 200
    assert caller.kit.load()["activeTasks"] == 0
    assert caller.end()[0][1]["code"] == "cancelled"


def test_work_that_does_not_listen_is_not_said_to_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit, "CANCEL_WAIT_S", 0.05)
    begun, end = threading.Event(), threading.Event()

    def deaf(task: Any) -> None:
        begun.set()
        end.wait(5)

    made = kit.Kit(deaf, secrets=[SECRET])
    headers, body = request()
    thread = threading.Thread(target=made.handle, args=("POST", "/predict", headers, body))
    thread.start()
    assert begun.wait(5)
    assert made.handle("DELETE", "/predict/task_1", signed(b"")).status == 409
    end.set()
    thread.join(5)


def test_a_heartbeat_s_answer_and_a_caller_that_hung_up_cancel(caller: Caller) -> None:
    caller.begin("task_1")
    caller.kit.cancel(["task_9/1/1", "task_1/1/1"])
    assert caller.end()[0][1]["code"] == "cancelled"
    headers, body = request("task_2")
    told = caller.kit.handle("POST", "/predict", headers, body, lambda: True)
    assert json.loads(told.body)["code"] == "cancelled"


def test_a_stop_takes_nothing_more_and_waits(caller: Caller) -> None:
    caller.begin("task_1")
    threading.Timer(0.05, caller.work.let_go.set).start()
    assert caller.kit.stop(within_s=5)
    assert caller.end()[0][0] == 200
    assert caller.post("task_2").status == 503
    health = caller.kit.handle("GET", "/health", {})
    assert json.loads(health.body)["status"] == "unhealthy"


def test_a_stop_cancels_what_does_not_end(caller: Caller) -> None:
    caller.begin("task_1")
    assert caller.kit.stop(within_s=0.05)
    assert caller.work.cancelled == ["task_1/1/1"]


@pytest.mark.parametrize(
    ("error", "told", "retry"),
    [
        (kit.Failed("no such voice", code="E7", final=True), ("no such voice", "E7"), "no"),
        (kit.Failed("try again"), ("try again", "failed"), None),
        (RuntimeError("out of memory"), ("RuntimeError('out of memory')", "exception"), None),
    ],
)
def test_a_failure_says_what_it_was(error: Exception, told: tuple[str, str], retry: str | None) -> None:
    def work(task: Any) -> None:
        raise error

    headers, body = request()
    answer = kit.Kit(work, secrets=[SECRET]).handle("POST", "/predict", headers, body)
    said = json.loads(answer.body)
    assert (said["error"], said["code"]) == told
    assert answer.headers.get("X-Pointsman-Retry") == retry


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"task_id":"t","attempt":"x","request":{}}'])
def test_what_is_no_task_is_refused(caller: Caller, body: bytes) -> None:
    assert caller.kit.handle("POST", "/predict", signed(body), body).status == 400


def test_what_is_no_route_is_refused(caller: Caller) -> None:
    assert caller.kit.handle("GET", "/predict", signed(b"")).status == 405
    assert caller.kit.handle("POST", "/predict/task_1", signed(b"")).status == 405
    assert caller.kit.handle("GET", "/", {}).status == 404


async def test_the_asgi_application_answers_and_hears_a_hang_up(caller: Caller) -> None:
    app = kit.asgi(caller.kit)
    headers, body = request()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    half = len(body) // 2
    messages = [
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:]},
    ]
    sent: list[dict[str, Any]] = []
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    running = asyncio.create_task(app(scope, receive, send))
    assert await asyncio.to_thread(caller.work.begun.acquire, timeout=5)
    gone.set()
    await asyncio.wait_for(running, 5)
    assert sent[0]["status"] == 200
    assert json.loads(sent[1]["body"])["code"] == "cancelled"
