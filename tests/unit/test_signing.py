"""The request that a backend gets, checked by code that shares nothing with the sender."""

import base64
import hashlib
import hmac
import json
import re
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace

from pointsman.contracts.record import CurrentAttempt, TaskRecord, TaskSpec
from pointsman.contracts.server import ServerConfig, ServerSecret
from pointsman.services.instance.fleet import Target, target_of, with_segment
from pointsman.services.instance.request import body_of, callback_url, headers_of

NOW = 1_790_000_000_123
TASK = "task_0190c0ffee007abc8def0123456789ab"
KEY = bytes(range(32))
PAYLOAD = b'{"text":  "gr\xc3\xbc\xc3\x9fe", "n": 1.0e2, "n": 3}'
ATTEMPT = CurrentAttempt(
    number=2, server_id="s1", executor="e1", started_at=NOW, start_by=NOW + 5_000, deadline=NOW + 60_000, epoch=1
)
RECORD = TaskRecord(
    id=TASK,
    owner="o",
    created_at=NOW,
    updated_at=NOW,
    spec=TaskSpec(
        type="speak",
        deadline=NOW + 90_000,
        priority=3,
        capabilities=("tts",),
        timeout_ms=60_000,
        payload=msgspec.Raw(PAYLOAD),
    ),
)
OLD_KEY, ROTATED_UNTIL = bytes(range(100, 132)), NOW + 3_600_000
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def whsec(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def target(api_key: str | None = "sesame", **rotated: Any) -> Target:
    config = ServerConfig(id="s1", name="s1", predict="http://h/predict?a=1", health="http://h/health", registered_at=1)
    return target_of(config, ServerSecret(api_key=api_key, credential_hash="", signing_secret=whsec(KEY), **rotated))


def sent(to: Target | None = None, record: TaskRecord = RECORD, *, now: int = NOW) -> tuple[bytes, dict[str, str]]:
    body = body_of(record, ATTEMPT, callback_url("http://gateway", TASK, "pat_x.y"))
    headers = headers_of(to or target(), record, ATTEMPT, "pat_x.y", body, now=now, rng=Random(7))
    return body, {name.lower(): value for name, value in headers.items()}


def verify(secret: bytes, headers: dict[str, str], body: bytes) -> bool:
    """Standard Webhooks 1.0.0, as a receiver writes it."""
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return any(
        version == "v1" and hmac.compare_digest(given, expected)
        for version, _, given in (part.partition(",") for part in headers["webhook-signature"].split(" "))
    )


def test_the_signature_holds_and_any_change_breaks_it() -> None:
    body, headers = sent()
    assert verify(KEY, headers, body)
    assert not verify(KEY, headers, body[:-1] + bytes([body[-1] ^ 1]))
    assert not verify(bytes(32), headers, body)
    assert not verify(KEY, headers | {"webhook-timestamp": str(NOW // 1000 + 1)}, body)
    assert not verify(KEY, headers | {"webhook-id": "another"}, body)


def test_the_body_has_the_fields_backends_know_and_the_payload_as_it_was_sent() -> None:
    body, _ = sent()
    assert PAYLOAD in body
    assert json.loads(body) == {
        "task_id": TASK,
        "request": {
            "type": "speak",
            "priority": 3,
            "payload": json.loads(PAYLOAD),
            "capabilities": ["tts"],
            "async": True,
        },
        "callback_url": f"http://gateway/api/task/{TASK}?token=pat_x.y",
        "attempt": 2,
        "deadline": NOW + 60_000,
        "timeout": 60_000,
    }


def test_the_headers_name_task_attempt_and_times() -> None:
    _, headers = sent()
    assert headers["x-pointsman-task-id"] == TASK
    assert headers["x-pointsman-attempt"] == "2"
    assert headers["x-pointsman-attempt-token"] == "pat_x.y"
    assert headers["x-pointsman-deadline"] == str(NOW + 60_000)
    assert headers["x-pointsman-start-by"] == str(NOW + 5_000)
    assert headers["authorization"] == "Bearer sesame"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-timestamp"] == str(NOW // 1000)
    assert re.fullmatch(r"00-0190c0ffee007abc8def0123456789ab-[0-9a-f]{16}-01", headers["traceparent"])


def test_no_key_no_authorization() -> None:
    assert "authorization" not in sent(target(None))[1]


def test_the_cancel_url_keeps_the_query() -> None:
    assert str(target().task_url(TASK)) == f"http://h/predict/{TASK}?a=1"
    assert with_segment("http://h/predict/", "t") == "http://h/predict/t"


def test_after_a_rotation_both_secrets_verify_until_the_old_one_ends() -> None:
    rotated = target(previous_secret=whsec(OLD_KEY), previous_until=ROTATED_UNTIL)
    body, headers = sent(rotated)
    assert len(headers["webhook-signature"].split(" ")) == 2
    assert verify(KEY, headers, body)
    assert verify(OLD_KEY, headers, body)
    body, headers = sent(rotated, now=ROTATED_UNTIL)
    assert len(headers["webhook-signature"].split(" ")) == 1
    assert verify(KEY, headers, body)
    assert not verify(OLD_KEY, headers, body)


def test_no_request_is_ever_signed_with_an_empty_secret() -> None:
    spoiled = target(previous_secret="whsec_no base64", previous_until=ROTATED_UNTIL)
    assert not verify(b"", sent(spoiled)[1], sent(spoiled)[0])


def test_the_submitter_s_trace_goes_on_with_a_span_of_its_own() -> None:
    _, headers = sent(record=replace(RECORD, trace=PARENT))
    found = re.fullmatch(r"00-4bf92f3577b34da6a3ce929d0e0e4736-([0-9a-f]{16})-01", headers["traceparent"])
    assert found is not None
    assert found[1] not in ("00f067aa0ba902b7", "0" * 16)
    _, unsampled = sent(record=replace(RECORD, trace=PARENT[:-1] + "0"))
    assert unsampled["traceparent"].endswith("-00")
