"""The request that a backend gets for one attempt (`API.md` §4): body, headers, signature. Pure."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from random import Random

import msgspec
from multidict import CIMultiDict

from pointsman.contracts import trace
from pointsman.contracts.execution import Abort
from pointsman.contracts.ids import TASK_PREFIX
from pointsman.contracts.record import CurrentAttempt, TaskRecord
from pointsman.services.instance.fleet import Target

TOKEN_PARAMETER = "token"  # noqa: S105 - a parameter name
HEADER_TASK_ID = "X-Pointsman-Task-Id"
HEADER_ATTEMPT = "X-Pointsman-Attempt"
HEADER_ATTEMPT_TOKEN = "X-Pointsman-Attempt-Token"  # noqa: S105 - a header name
HEADER_DEADLINE = "X-Pointsman-Deadline"
HEADER_START_BY = "X-Pointsman-Start-By"
WEBHOOK_ID = "webhook-id"
WEBHOOK_TIMESTAMP = "webhook-timestamp"
WEBHOOK_SIGNATURE = "webhook-signature"


class _Asked(msgspec.Struct):
    type: str
    priority: int
    payload: msgspec.Raw
    capabilities: tuple[str, ...]
    is_async: bool = msgspec.field(name="async")


class _Body(msgspec.Struct):
    task_id: str
    request: _Asked
    callback_url: str
    attempt: int
    deadline: int
    timeout: int


_ENCODER = msgspec.json.Encoder()


def body_of(record: TaskRecord, attempt: CurrentAttempt, callback_url: str) -> bytes:
    """The JSON body; the payload's bytes go in as the client sent them."""
    spec = record.spec
    asked = _Asked(spec.type, spec.priority, spec.payload, spec.capabilities, spec.is_async)
    return _ENCODER.encode(_Body(record.id, asked, callback_url, attempt.number, attempt.deadline, spec.timeout_ms))


def callback_url(base_url: str, task_id: str, token: str) -> str:
    return f"{base_url}/api/task/{task_id}?{TOKEN_PARAMETER}={token}"


def headers_of(
    target: Target, record: TaskRecord, attempt: CurrentAttempt, token: str, body: bytes, *, now: int, rng: Random
) -> CIMultiDict[str]:
    """`now` in ms since the epoch; `webhook-id` stays the same for all attempts of one generation."""
    headers = CIMultiDict(
        {
            **signed(target, f"{record.id}-{record.generation}", body, now),
            "Content-Type": "application/json",
            HEADER_TASK_ID: record.id,
            HEADER_ATTEMPT: str(attempt.number),
            HEADER_ATTEMPT_TOKEN: token,
            HEADER_DEADLINE: str(attempt.deadline),
            HEADER_START_BY: str(attempt.start_by),
            "traceparent": traceparent(record, rng),
        }
    )
    if target.authorization is not None:
        headers["Authorization"] = target.authorization
    return headers


def cancel_headers_of(target: Target, abort: Abort, *, now: int) -> dict[str, str]:
    """Of the DELETE that tells a server to end an attempt; it is signed like a task, with an empty body."""
    headers = {
        **signed(target, f"{abort.task_id}-{abort.generation}-{abort.number}-cancel", b"", now),
        HEADER_TASK_ID: abort.task_id,
        HEADER_ATTEMPT: str(abort.number),
    }
    return headers if target.authorization is None else headers | {"Authorization": target.authorization}


def signed(target: Target, message_id: str, body: bytes, now: int) -> dict[str, str]:
    """Standard Webhooks 1.0.0."""
    timestamp = str(now // 1000)
    return {
        WEBHOOK_ID: message_id,
        WEBHOOK_TIMESTAMP: timestamp,
        WEBHOOK_SIGNATURE: signatures(target.keys(now), message_id, timestamp, body),
    }


def signatures(keys: Iterable[bytes], message_id: str, timestamp: str, body: bytes) -> str:
    """Per key `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, by spaces."""
    signed = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), body)
    macs = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return " ".join("v1," + base64.b64encode(mac).decode() for mac in macs)


def traceparent(record: TaskRecord, rng: Random) -> str:
    """The submitter's trace goes on, else the trace is the task (its UUID); the span is this call."""
    span = rng.getrandbits(64) | 1
    if record.trace:
        return trace.continued(record.trace, span)
    return trace.begun(record.id.removeprefix(TASK_PREFIX), span)
