"""Examples of settings, as the OpenAPI document shows them."""

from pointsman.services.gateway.examples import CREATED_MS, LATER_MS

LIMIT_REQUEST = {"maxConcurrent": 20, "rate": {"perSecond": 5.0, "burst": 10}}
POOL_REQUEST = {
    "algorithm": "least-connections",
    "limit": {"maxConcurrent": 100},
    "shares": {"team-a": 3},
    "maxBacklog": 50_000,
    "maxBacklogPerOwner": 5_000,
}
POOL = {
    "pool": "default",
    "algorithm": "least-connections",
    "affinity": "prefer",
    "limit": {"maxConcurrent": 100},
    "shares": {"team-a": 3},
    "retryPercent": 20,
    "retriesPerS": 3.0,
    "maxBacklog": 50_000,
    "maxBacklogPerOwner": 5_000,
    "revision": 12,
    "updatedAt": LATER_MS,
    "by": "olga",
    "changes": [
        {"at": CREATED_MS, "by": "olga", "before": None},
        {"at": LATER_MS, "by": "olga", "before": {"algorithm": "p2c"}},
    ],
}
POOL_PLAN = {
    "pool": "default",
    "algorithm": "response-time",
    "wanted": "round-robin",
    "revision": 12,
    "updatedAt": LATER_MS,
    "by": "olga",
    "perSecond": 120.5,
    "pending": 4,
    "running": 30,
    "serverCount": 2,
    "moved": 0.25,
    "servers": [
        {"serverId": "gpu-1", "now": 0.75, "then": 0.5},
        {"serverId": "gpu-2", "now": 0.25, "then": 0.5},
    ],
    "notes": ["applies to tasks that start from now on, the 4 that wait included; the 30 that run stay where they are"],
}
POOLS = {"pools": [POOL], "cursor": None}
SCHEMA = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string", "pattern": "^s3://"}}}
TYPE_REQUEST = {
    "capabilities": ["gpu"],
    "timeoutMs": 600_000,
    "maxAttempts": 3,
    "retry": {"preset": "patient"},
    "limit": LIMIT_REQUEST,
    "schema": SCHEMA,
}
TYPE = {
    "type": "transcribe",
    "declared": True,
    "pool": None,
    "priority": None,
    "capabilities": ["gpu"],
    "timeoutMs": 600_000,
    "deadlineMs": None,
    "maxAttempts": 3,
    "retry": {"baseMs": 30_000, "maxMs": 21_600_000, "factor": 2.0, "jitter": 0.5},
    "limit": LIMIT_REQUEST,
    "schema": SCHEMA,
    "revision": 13,
    "updatedAt": LATER_MS,
    "by": "olga",
    "changes": [{"at": LATER_MS, "by": "olga", "before": None}],
}
TYPES = {"types": [TYPE], "cursor": None}
LIMIT = {
    "kind": "key",
    "name": "customer/42",
    "limit": LIMIT_REQUEST,
    "revision": 14,
    "updatedAt": LATER_MS,
    "by": "olga",
    "inUse": 3,
}
LIMITS = {"limits": [LIMIT], "cursor": None}
REMOVED = {"message": "Key customer/42 has no limit any more", "revision": 15}
