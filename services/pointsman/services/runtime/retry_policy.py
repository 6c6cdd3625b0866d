"""The retry policy that a request asks for."""

from msgspec.structs import replace

from pointsman.contracts.errors import invalid
from pointsman.contracts.record import PRESETS, RetryPolicy
from pointsman.contracts.task import RetryRequest


def retry_policy(request: RetryRequest) -> RetryPolicy:
    """Raises 400 when a preset and parts are given, or the parts contradict each other."""
    parts = {
        name: value
        for name in ("base_ms", "max_ms", "factor", "jitter")
        if (value := getattr(request, name)) is not None
    }
    if request.preset and parts:
        raise invalid("retry", "either a preset or its parts, not both")
    policy = replace(PRESETS[request.preset or "standard"], **parts)
    if policy.max_ms < policy.base_ms:
        raise invalid("retry.maxMs", f"must be at least baseMs ({policy.base_ms})")
    return policy
