"""The streams and buckets of Pointsman, made or brought up to date before any service starts."""

from typing import Any

import msgspec

from pointsman.client.bus import Bus
from pointsman.contracts.errors import unavailable
from pointsman.contracts.subjects import (
    BUCKET_ALERTS,
    BUCKET_IDEMPOTENCY,
    BUCKET_JOBS,
    BUCKET_LEADERS,
    BUCKET_LEASES,
    BUCKET_SERVERS,
    BUCKET_SETTINGS,
    BUCKET_TASKS,
    CONSUMER_AUDIT,
    CONSUMER_HISTORY,
    CONSUMER_WEBHOOKS,
    PROBE,
    STREAM_AUDIT,
    STREAM_FRAMES,
    STREAM_HISTORY,
    STREAM_PROBE,
    STREAM_WEBHOOKS,
    VIEW_KEYFRAME,
    audit_subject,
    stream_of,
    webhook,
)

API_TIMEOUT_S = 10.0
STREAM_EXISTS = 10058
CONSUMER_ACK_WAIT_S = 20
CONSUMER_PENDING_MAX = 20_000
AUDIT_MESSAGES_MAX = 1_000_000
WEBHOOK_ACK_WAIT_S = 60
WEBHOOKS_MAX, WEBHOOKS_PER_HOST_MAX = 200_000, 20_000
WEBHOOKS_AGE_S_MAX = 25 * 3_600
WEBHOOKS_DISTINCT_S = 2 * 3_600
FRAMES_KEPT_S = 3_600
FRAME_BYTES_MAX = 1 << 20
NS = 1_000_000_000

Json = dict[str, Any]


def bucket(name: str, *, relaxed: bool, replicas: int, view: str = "") -> Json:
    """A KV bucket's stream. Relaxed: `persist_mode: async` on one node, memory in a cluster (DESIGN §2)."""
    config: Json = {
        "name": stream_of(name),
        "subjects": [f"$KV.{name}.>"],
        "storage": "memory" if relaxed and replicas > 1 else "file",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "discard": "new",
        "allow_direct": True,
        "allow_msg_ttl": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }
    if relaxed and replicas == 1:
        config["persist_mode"] = "async"
    if view:
        config["republish"] = {"src": f"$KV.{name}.*", "dest": f"pointsman.view.{view}.{{{{wildcard(1)}}}}"}
    return config


def history(replicas: int) -> Json:
    """Work queue that sources the tasks bucket: a message leaves only when it is in Postgres."""
    config: Json = {
        "name": STREAM_HISTORY,
        "retention": "workqueue",
        "storage": "file",
        "num_replicas": replicas,
        "allow_direct": True,
        "sources": [{"name": stream_of(BUCKET_TASKS)}],
    }
    if replicas == 1:
        config["persist_mode"] = "async"
    return config


def audit(replicas: int) -> Json:
    """Work queue of audit entries: strict, for an act must not be forgotten; full, it refuses and the entry is logged."""
    return {
        "name": STREAM_AUDIT,
        "subjects": [audit_subject(">")],
        "retention": "workqueue",
        "storage": "file",
        "num_replicas": replicas,
        "allow_direct": True,
        "discard": "new",
        "max_msgs": AUDIT_MESSAGES_MAX,
    }


def webhooks(replicas: int) -> Json:
    """Work queue of completions to be told, bounded for each receiving host: full, it refuses those of that host only."""
    return {
        "name": STREAM_WEBHOOKS,
        "subjects": [webhook("*")],
        "retention": "workqueue",
        "storage": "file",
        "num_replicas": replicas,
        "allow_direct": True,
        "discard": "new",
        "discard_new_per_subject": True,
        "max_msgs": WEBHOOKS_MAX,
        "max_msgs_per_subject": WEBHOOKS_PER_HOST_MAX,
        "max_age": WEBHOOKS_AGE_S_MAX * NS,
        "duplicate_window": WEBHOOKS_DISTINCT_S * NS,
    }


def frames(replicas: int) -> Json:
    """The last hour of keyframes. Bounded by count, not by bytes, which the broker would set aside at once: who writes
    them keeps within a size by writing them less often."""
    config: Json = {
        "name": STREAM_FRAMES,
        "subjects": [VIEW_KEYFRAME],
        "storage": "file",
        "num_replicas": replicas,
        "allow_direct": True,
        "discard": "old",
        "max_age": FRAMES_KEPT_S * NS,
        "max_msgs": FRAMES_KEPT_S + 100,
        "max_msg_size": FRAME_BYTES_MAX,
    }
    if replicas == 1:
        config["persist_mode"] = "async"
    return config


def probe(replicas: int) -> Json:
    """Shows whether the store takes writes; holds one."""
    return {
        "name": STREAM_PROBE,
        "subjects": [PROBE],
        "storage": "file",
        "num_replicas": replicas,
        "max_msgs": 1,
        "discard": "old",
    }


def streams(*, relaxed: bool, replicas: int) -> list[Json]:
    return [
        bucket(BUCKET_TASKS, relaxed=relaxed, replicas=replicas, view="task"),
        bucket(BUCKET_LEASES, relaxed=True, replicas=replicas, view="lease"),
        bucket(BUCKET_SERVERS, relaxed=False, replicas=replicas),
        bucket(BUCKET_SETTINGS, relaxed=False, replicas=replicas),
        bucket(BUCKET_LEADERS, relaxed=False, replicas=replicas),
        bucket(BUCKET_IDEMPOTENCY, relaxed=relaxed, replicas=replicas),
        bucket(BUCKET_JOBS, relaxed=False, replicas=replicas),
        bucket(BUCKET_ALERTS, relaxed=False, replicas=replicas),
        history(replicas),
        audit(replicas),
        webhooks(replicas),
        frames(replicas),
        probe(replicas),
    ]


def consumer(name: str, *, ack_wait_s: int, pending_max: int, replicas: int) -> Json:
    """`pending_max` counts what is delivered and what waits for its next delivery."""
    return {
        "name": name,
        "durable_name": name,
        "ack_policy": "explicit",
        "ack_wait": ack_wait_s * NS,
        "max_ack_pending": pending_max,
        "max_deliver": -1,
        "num_replicas": replicas,
    }


CONSUMERS = (
    (STREAM_HISTORY, CONSUMER_HISTORY, CONSUMER_ACK_WAIT_S, CONSUMER_PENDING_MAX),
    (STREAM_AUDIT, CONSUMER_AUDIT, CONSUMER_ACK_WAIT_S, CONSUMER_PENDING_MAX),
    (STREAM_WEBHOOKS, CONSUMER_WEBHOOKS, WEBHOOK_ACK_WAIT_S, WEBHOOKS_MAX),
)


async def ensure(bus: Bus, *, relaxed: bool, replicas: int) -> None:
    """Create what is missing, update what differs; safe to run by several processes at once."""
    for config in streams(relaxed=relaxed, replicas=replicas):
        answer = await api(bus, f"STREAM.CREATE.{config['name']}", config, allow={STREAM_EXISTS})
        if "error" in answer:
            await api(bus, f"STREAM.UPDATE.{config['name']}", config)
    for stream, name, ack_wait_s, pending_max in CONSUMERS:
        wanted = consumer(name, ack_wait_s=ack_wait_s, pending_max=pending_max, replicas=replicas)
        await api(bus, f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": wanted})


async def api(
    bus: Bus, subject: str, body: Json | None = None, *, allow: frozenset[int] | set[int] = frozenset()
) -> Json:
    """One JetStream API request; an error whose code is not in `allow` is raised as 503."""
    data = msgspec.json.encode(body) if body is not None else b""
    answer = await bus.request(f"$JS.API.{subject}", data, timeout_s=API_TIMEOUT_S)
    decoded: Json = msgspec.json.decode(answer.data)
    error = decoded.get("error")
    if error and error.get("err_code") not in allow:
        raise unavailable(f"JetStream refused {subject}: {error.get('description')}")
    return decoded
