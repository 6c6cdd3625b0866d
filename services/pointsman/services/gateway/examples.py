"""Examples of requests and answers, as the OpenAPI document shows them."""

CREATED_MS = 1_767_225_600_000
LATER_MS = CREATED_MS + 60_000
TASK_ID = "task_019b76da9c0070008000000000000001"

TASK_REQUEST = {"type": "transcribe", "payload": {"url": "s3://audio/1.wav"}, "priority": 5, "capabilities": ["gpu"]}
PENDING_TASK = {
    "id": TASK_ID,
    "type": "transcribe",
    "status": "PENDING",
    "priority": 5,
    "progress": None,
    "serverId": None,
    "result": None,
    "error": None,
    "errorCode": None,
    "createdAt": CREATED_MS,
    "updatedAt": CREATED_MS,
    "startedAt": None,
    "finishedAt": None,
    "runAt": None,
    "deadline": CREATED_MS + 86_400_000,
    "owner": "alice",
    "pool": "default",
    "labels": {},
    "generation": 1,
    "attempts": [],
    "attempt": 0,
    "waitingFor": None,
    "capabilities": ["gpu"],
    "maxAttempts": 4,
    "timeoutMs": 300_000,
    "metadata": None,
    "payload": None,
}
COMPLETED_TASK = PENDING_TASK | {
    "status": "COMPLETED",
    "progress": 100,
    "serverId": "gpu-1",
    "result": {"text": "hello"},
    "updatedAt": CREATED_MS + 900,
    "startedAt": CREATED_MS + 5,
    "finishedAt": CREATED_MS + 900,
    "attempt": 1,
    "attempts": [
        {
            "number": 1,
            "serverId": "gpu-1",
            "startedAt": CREATED_MS + 5,
            "finishedAt": CREATED_MS + 900,
            "outcome": "succeeded",
            "httpStatus": 200,
            "error": None,
        }
    ],
}
TASK_EVENT = {
    "event": "assigned",
    "taskId": TASK_ID,
    "status": "PROCESSING",
    "at": CREATED_MS + 5,
    "generation": 1,
    "attempt": 1,
    "serverId": "gpu-1",
    "type": "transcribe",
    "pool": "default",
    "owner": "alice",
}
EXPLANATION = {
    "id": TASK_ID,
    "status": "PENDING",
    "gate": "server",
    "detail": "none of 1 matching server takes a task now",
    "position": 3,
    "ahead": 2,
    "eta": CREATED_MS + 1_500,
    "runAt": None,
    "deadline": CREATED_MS + 86_400_000,
    "pool": "default",
    "servers": [
        {
            "serverId": "gpu-1",
            "reasons": ["limit reached: 4 of 4"],
            "activeTasks": 4,
            "effectiveLimit": 4,
            "estimateMs": 880.5,
        }
    ],
    "asOf": CREATED_MS,
}
BATCH_REQUEST = {"tasks": [TASK_REQUEST, {"type": "Not a type"}]}
BATCH_ANSWER = {"results": [{"id": TASK_ID, "status": "PENDING"}, {"error": "type: malformed", "code": 400}]}
TASK_UPDATE = {"status": "COMPLETED", "result": {"text": "hello"}}
UPDATE_ANSWER = {
    "id": TASK_ID,
    "status": "COMPLETED",
    "updatedAt": CREATED_MS + 900,
    "message": "Task updated",
    "cancel": False,
    "deadline": None,
}
RETRY_ANSWER = {"id": TASK_ID, "status": "PENDING", "success": True, "message": "Task queued for retry"}
CANCEL_ANSWER = {"id": TASK_ID, "status": "CANCELLED", "success": True, "message": "Task cancelled"}
SERVER_REQUEST = {
    "id": "gpu-1",
    "endpoints": {"predict": "https://gpu-1.example/predict", "health": "https://gpu-1.example/health"},
    "maxConcurrent": 4,
    "capabilities": ["gpu"],
}
REGISTER_ANSWER = {
    "serverId": "gpu-1",
    "message": "Server registered successfully",
    "credential": "psk_...",
    "signingSecret": "whsec_...",
}
KNOWN_ANSWER = {"serverId": "gpu-1", "message": "Server registered successfully"}
SERVER = {
    "id": "gpu-1",
    "name": "gpu-1",
    "status": "online",
    "health": {
        "status": "healthy",
        "state": "HEALTHY",
        "score": 100,
        "lastHeartbeat": LATER_MS,
        "lastCheck": LATER_MS,
        "consecutiveFailures": 0,
        "nextCheck": LATER_MS + 5_000,
        "error": None,
    },
    "registeredAt": CREATED_MS,
    "lastHeartbeat": LATER_MS,
    "uptime": 60_000,
    "timeSinceLastHeartbeat": 0,
    "groups": [],
    "priority": 1,
    "weight": 1,
    "capabilities": ["gpu"],
    "maxConcurrent": 4,
    "effectiveLimit": 4,
    "activeTasks": 1,
    "currentLoad": 0.25,
    "version": None,
    "pool": "default",
    "labels": {},
    "endpoints": {"predict": "https://gpu-1.example/predict", "health": "https://gpu-1.example/health"},
    "async": True,
    "wanted": "ACTIVE",
    "reason": None,
}
HEARTBEAT = {"status": "healthy", "activeTasks": 1, "metrics": {"cpu": 35, "memory": 60}}
HEARTBEAT_ANSWER = {"success": True, "message": "Heartbeat updated", "drain": False, "cancel": []}
CREDENTIAL_ANSWER = {
    "serverId": "gpu-1",
    "message": "Credential and signing secret rotated",
    "credential": "psk_...",
    "signingSecret": "whsec_...",
    "previousUntil": LATER_MS,
}
SERVER_CHANGED = {
    "serverId": "gpu-1",
    "dryRun": False,
    "revision": 312,
    "pool": "default",
    "running": 1,
    "before": {"weight": 1, "maxConcurrent": 4, "priority": 1, "weightShare": 0.25},
    "after": {"weight": 3, "maxConcurrent": 4, "priority": 1, "weightShare": 0.5},
    "warnings": [],
}
BULK_ANSWER = {
    "dryRun": True,
    "servers": [
        {
            "serverId": "gpu-1",
            "pool": "default",
            "status": "online",
            "running": 1,
            "change": "drain",
            "done": None,
            "error": None,
            "revision": 311,
        }
    ],
    "pools": [
        {
            "pool": "default",
            "slotsBefore": 4,
            "slotsAfter": 0,
            "running": 1,
            "warnings": ["no server of the pool would take tasks"],
        }
    ],
    "changed": 0,
    "failed": 0,
}
PERCENTILES = {"p50": 800.0, "p95": 1_200.0, "p99": 1_500.0}
SERVER_METRICS = {
    "serverId": "gpu-1",
    "metrics": {
        "tasksProcessed": 10,
        "successCount": 9,
        "failureCount": 1,
        "successRate": 90.0,
        "averageResponseTime": 850.0,
        **PERCENTILES,
        "activeTasks": 1,
        "currentLoad": 0.25,
        "healthScore": 100,
        "healthy": True,
        "status": "online",
        "maxCapacity": 4,
        "capabilities": ["gpu"],
        "uptime": 60_000,
    },
}
DAY_BEFORE = {
    "fromMs": CREATED_MS - 86_400_000,
    "toMs": LATER_MS - 86_400_000,
    "created": 8,
    "completed": 7,
    "successful": 7,
    "failed": 0,
    "cancelled": 0,
    "retried": 0,
}
WAITS = {"waitP50": 3.0, "waitP95": 8.0, "waitP99": 12.0}
TASK_STATISTICS = {
    "totalTasks": 10,
    "pendingTasks": 0,
    "processingTasks": 1,
    "successfulTasks": 8,
    "failedTasks": 1,
    "retriedTasks": 1,
    "cancelledTasks": 0,
    "timeoutTasks": 0,
    "averageProcessingTime": 850.0,
    **PERCENTILES,
    **WAITS,
    "serverCount": 1,
    "topServers": [{"serverId": "gpu-1", "tasksProcessed": 9, "successRate": 88.9}],
    "hourlyTrend": [{"hour": 0, "tasks": 10}],
    "asOf": LATER_MS,
    "vs": DAY_BEFORE,
    "stale": False,
}
HOURLY_STATISTICS = {
    "date": "2026-01-01",
    "hourlyBreakdown": [
        {
            "hour": 0,
            "period": "00:00-01:00",
            "created": 10,
            "completed": 9,
            "successful": 8,
            "failed": 1,
            "tasks": 10,
            "averageTime": 850.0,
            **PERCENTILES,
            **WAITS,
            "retried": 1,
            "vs": DAY_BEFORE,
        }
    ],
    "asOf": LATER_MS,
    "stale": False,
}
SERVER_FIGURES = {
    "serverId": "gpu-1",
    "tasksProcessed": 9,
    "successCount": 8,
    "failureCount": 1,
    "successRate": 88.9,
    "averageProcessingTime": 850.0,
    **PERCENTILES,
}
SERVER_STATISTICS = {**SERVER_FIGURES, "uptime": 60_000, "asOf": LATER_MS, "stale": False}
FLEET_STATISTICS = {"servers": [SERVER_FIGURES], "total": 1, "asOf": LATER_MS, "stale": False}
TYPES_STATISTICS = {
    "types": [
        {
            "type": "transcribe",
            "totalTasks": 10,
            "successfulTasks": 8,
            "failedTasks": 1,
            "retriedTasks": 1,
            "cancelledTasks": 0,
            "timeoutTasks": 0,
            "successRate": 88.9,
            "averageProcessingTime": 850.0,
            **PERCENTILES,
            **WAITS,
        }
    ],
    "total": 1,
    "asOf": LATER_MS,
    "stale": False,
}
LOAD_BALANCER = {
    "algorithm": "response-time",
    "pools": {
        "default": {
            "algorithm": "response-time",
            "servers": 1,
            "eligible": 1,
            "pending": 0,
            "activeTasks": 1,
            "slots": 4,
        }
    },
    "serverDistribution": {
        "gpu-1": {
            "load": 0.25,
            "activeTasks": 1,
            "weight": 1,
            "effectiveLimit": 4,
            "healthy": True,
            "pool": "default",
            "estimateMs": 850.0,
        }
    },
    "totalActiveTasks": 1,
    "averageLoad": 0.25,
    "pending": 0,
    "leader": "host-4711-a1b2",
    "asOf": LATER_MS,
}
ALGORITHM_ANSWER = {"message": "Algorithm changed", "algorithm": "least-connections"}
