"""One server as the balancer sees it: what is wanted, what is seen, what it may take now."""

import math

from pointsman.contracts.record import Attempt
from pointsman.contracts.server import ServerAdmin, ServerConfig, ServerHealth
from pointsman.services.balancer import serving
from pointsman.services.balancer.estimator import TYPES_MAX, Estimator
from pointsman.services.balancer.limits import EffectiveLimit
from pointsman.services.balancer.rendezvous import seed_of
from pointsman.services.balancer.serving import Standing, Terms

BACKPRESSURE = (429, 503)


class ServerState:
    """Implements `policies.Candidate`. `limit`, `serves` and `is_held` are as of the last `settle`.

    `levels` is the default algorithm's view: ln of the expected ms / weight by task type, as of the last `look`.
    `wakes_at` is when it changes by itself, in ms since the epoch. `peak` is the most that was active since the last tick.
    """

    __slots__ = (
        "active",
        "admin",
        "capabilities",
        "config",
        "effective",
        "estimator",
        "health",
        "id",
        "is_healthy",
        "is_held",
        "levels",
        "limit",
        "log_weight",
        "maximum",
        "ordinal",
        "peak",
        "seed",
        "serves",
        "turn",
        "wakes_at",
        "weight",
    )

    def __init__(self, config: ServerConfig, active: int = 0) -> None:
        self.id = config.id
        self.seed = seed_of(config.id)
        self.ordinal = 0
        self.active = self.peak = active
        self.turn = 0
        self.admin = ServerAdmin()
        self.health = ServerHealth()
        self.estimator = Estimator()
        self.effective = EffectiveLimit(config.max_concurrent)
        self.levels: dict[str, float] = {}
        self.is_healthy = self.serves = self.is_held = False
        self.wakes_at: int | None = None
        self.configure(config)

    def configure(self, config: ServerConfig) -> None:
        self.config = config
        self.weight = config.weight
        self.log_weight = math.log(config.weight)
        self.maximum = config.max_concurrent
        self.capabilities = frozenset(config.capabilities)
        self.effective.resize(config.max_concurrent)
        self.limit = self.effective.value
        self.levels.clear()

    @property
    def standing(self) -> Standing:
        return Standing(self.config, self.admin, self.health)

    @property
    def is_free(self) -> bool:
        return self.serves and not self.is_held and self.active < self.limit

    @property
    def free_slots(self) -> int:
        return max(0, self.limit - self.active) if self.is_free else 0

    def settle(self, terms: Terms, now: int) -> None:
        """Decide anew what it may take, at `now` in ms since the epoch."""
        one = self.standing
        self.is_healthy = one.is_healthy(terms)
        self.serves = one.is_wanted and self.is_healthy
        allowed, more_at = serving.allowance(one, terms, now)
        self.limit = min(self.effective.value, allowed)
        self.is_held = self.effective.held_until > now
        times = (self.effective.held_until if self.is_held else None, more_at)
        self.wakes_at = min((at for at in times if at is not None), default=None)

    def look(self, task_type: str, now_s: float) -> None:
        if len(self.levels) >= TYPES_MAX:
            self.levels.clear()
        self.levels[task_type] = self.estimator.read(task_type, now_s) - self.log_weight

    def observe(self, task_type: str, attempt: Attempt, now_s: float) -> None:
        """Learn from an ended attempt: service time, backpressure, faults."""
        elapsed = attempt.finished_at - attempt.started_at
        if attempt.outcome == "succeeded":
            self.effective.answered()
            self.estimator.succeeded(task_type, elapsed, now_s)
        elif attempt.http_status in BACKPRESSURE and attempt.outcome == "lost":
            self.effective.refused(attempt.http_status, attempt.retry_after_ms, attempt.finished_at)
        elif attempt.server_fault:
            self.effective.faulted(attempt.finished_at)
        if attempt.outcome in ("failed", "timed-out") or attempt.server_fault:
            self.estimator.failed(task_type, elapsed, attempt.retry_after_ms or 0, now_s)
        self.look(task_type, now_s)
