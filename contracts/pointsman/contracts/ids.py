"""Identifiers: task ids are `task_<UUIDv7 hex>`, which sort by creation time and carry it."""

import hashlib
import re
import secrets

TASK_PREFIX = "task_"
TASK_ID = re.compile(r"task_[0-9a-f]{32}")
JOB_ID = re.compile(r"job_[0-9a-f]{16}")
SERVER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def new_task_id(now_ms: int) -> str:
    """UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, version, 74 random bits, variant."""
    return TASK_PREFIX + uuid7_hex(now_ms, secrets.randbits(74))


def uuid7_hex(now_ms: int, random_bits: int) -> str:
    high, low = random_bits >> 62 & 0xFFF, random_bits & (1 << 62) - 1
    return f"{(now_ms & 0xFFFFFFFFFFFF) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low:032x}"


def created_at_ms(task_id: str) -> int:
    """The creation time that a task id carries, in ms since the epoch."""
    return int(task_id[len(TASK_PREFIX) : len(TASK_PREFIX) + 12], 16)


def is_task_id(value: str) -> bool:
    return TASK_ID.fullmatch(value) is not None


def new_server_id() -> str:
    return f"server-{secrets.token_hex(4)}"


def new_job_id(owner: str = "", operation: str = "") -> str:
    """The same for the same operation of one caller, who may ask twice."""
    if operation:
        return f"job_{hashlib.sha256(f'{owner}\0{operation}'.encode()).hexdigest()[:16]}"
    return f"job_{secrets.token_hex(8)}"


def new_operation_id() -> str:
    """Names one write, so that its author recognises it after an unknown outcome."""
    return secrets.token_hex(8)
