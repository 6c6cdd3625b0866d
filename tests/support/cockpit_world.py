"""A made-up cluster that tells of itself in frames, always the same for a seed, and a source that feeds it to a cockpit."""

import asyncio
from dataclasses import dataclass, field
from random import Random

import msgspec

from pointsman.client.bus import Bus
from pointsman.contracts.events import Kind
from pointsman.contracts.frames import (
    AlertRow,
    Flow,
    Frame,
    News,
    PoolRow,
    Sample,
    ServerPulse,
    ServerRow,
    Severity,
    encode_frame,
)
from pointsman.contracts.server import HealthState, Wanted
from pointsman.tui.feed import Tell
from pointsman.tui.told import Connected, FrameCame, Told

STARTED_MS = 1_764_427_039_000
FRAME_MS = 200
TYPES = ("send-email", "resize-image", "render-pdf", "sync-crm", "score-fraud", "rebuild-index")
KINDS = (Kind.COMPLETED,) * 8 + (Kind.ASSIGNED,) * 2 + (Kind.ATTEMPT_ENDED, Kind.FAILED)


@dataclass
class World:
    """`servers` of them at `per_s` tasks a second; `step()` makes the next delta, `whole()` the keyframe of now."""

    servers: int = 200
    per_s: float = 2_000.0
    seed: int = 7
    epoch: int = 1
    seq: int = 0
    at: int = STARTED_MS
    rows: dict[str, ServerRow] = field(default_factory=dict)
    pulses: dict[str, ServerPulse] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        for place in range(1, self.servers + 1):
            self._add(f"srv-{place:04}")
        self._trouble()
        self.flow = self._next_flow()

    def _add(self, server_id: str) -> None:
        self.rows[server_id] = ServerRow(
            id=server_id,
            pool="default",
            wanted=Wanted.ACTIVE,
            state=HealthState.HEALTHY,
            since=self.at - self.random.randrange(10_000, 9_000_000),
            limit=32,
            max_concurrent=32,
            weight=100,
            score=100,
            failures_max=3,
            version="1.4.2",
            groups=(f"eu-w1{self.random.choice('abc')}",),
        )
        self._pulse(server_id)

    def _trouble(self) -> None:
        for name, changes in {
            "srv-0134": {"state": HealthState.UNHEALTHY, "failures": 3, "error": "no heartbeat"},
            "srv-0091": {"state": HealthState.SUSPECT, "failures": 2},
            "srv-0018": {"wanted": Wanted.DRAINING, "by": "ana@ops"},
            "srv-0045": {"wanted": Wanted.DRAINING, "by": "ana@ops"},
            "srv-0061": {"wanted": Wanted.MAINTENANCE, "by": "li@ops", "reason": "new disks"},
        }.items():
            if name in self.rows:
                self.change(name, **changes)
                self._pulse(name)

    def change(self, server_id: str, **changes: object) -> None:
        self.rows[server_id] = msgspec.structs.replace(self.rows[server_id], **changes)

    def _pulse(self, server_id: str) -> None:
        row, random = self.rows[server_id], self.random
        takes = row.wanted == Wanted.ACTIVE and row.state in (HealthState.HEALTHY, HealthState.SUSPECT)
        rate = self.per_s / max(1, self.servers)
        self.pulses[server_id] = ServerPulse(
            id=server_id,
            running=min(32, int(random.expovariate(1 / 9))) if takes else 0,
            beat_ms=random.randrange(50, 950) if row.state == HealthState.HEALTHY else 41_000,
            done_per_s=round(rate * random.uniform(0.9, 1.1), 1) if takes else 0.0,
            run_p95=random.randrange(65, 115) if takes else None,
            error_rate=round(random.uniform(0, 0.015), 4),
            share=round(random.uniform(0.9, 1.1) / self.servers, 5),
            fair=1 / self.servers,
        )

    def _next_flow(self) -> Flow:
        random, rate = self.random, self.per_s
        return Flow(
            submitted=round(rate * random.uniform(0.97, 1.03), 1),
            completed=round(rate * random.uniform(0.97, 1.03), 1),
            failed=rate * 0.006,
            timed_out=0.0,
            cancelled=0.0,
            retried=rate * 0.0065,
            pending=random.randrange(1_000, 1_500),
            delayed=318,
            running=sum(pulse.running for pulse in self.pulses.values()),
            slots=32 * self.servers,
            oldest_ms=random.randrange(400, 900),
            fail_rate=0.0061,
            wait_p50=random.uniform(180, 220),
            wait_p95=random.uniform(600, 850),
            run_p50=random.uniform(40, 50),
            run_p95=random.uniform(130, 150),
        )

    def alerts(self) -> tuple[AlertRow, ...]:
        since = STARTED_MS - 41_000
        known = (
            (
                Severity.CRITICAL,
                "server-down",
                "srv-0134",
                "no heartbeat for 41 s: 6 running tasks run again elsewhere",
            ),
            (Severity.WARNING, "server-suspect", "srv-0091", "missed 2 of 3 heartbeats"),
        )
        return tuple(
            AlertRow(severity=severity, kind=kind, subject=subject, since=since, detail=detail, screen="servers")
            for severity, kind, subject, detail in known
            if subject in self.rows
        )

    def sample(self) -> tuple[Sample, ...]:
        random = self.random
        return tuple(
            Sample(
                at=self.at,
                task_id=f"task_{random.randrange(1 << 64):016x}",
                kind=random.choice(KINDS),
                type=random.choice(TYPES),
                attempt=1,
                server_id=random.choice(list(self.rows)),
                ms=random.randrange(20, 140),
                waited_ms=random.randrange(50, 320),
            )
            for _ in range(min(20, len(self.rows) and 20))
        )

    def step(self, changed: int | None = None) -> Frame:
        """The next frame: `changed` servers (all when None) have moved, and nothing else has."""
        self.seq += 1
        self.at += FRAME_MS
        names = list(self.rows)
        moved = names if changed is None else self.random.sample(names, changed)
        for name in moved:
            self._pulse(name)
        self.flow = self._next_flow()
        return msgspec.structs.replace(
            self.whole(),
            full=False,
            servers=(),
            pulses=tuple(self.pulses[name] for name in moved),
            sample=self.sample(),
        )

    def age(self) -> Frame:
        """The next frame of a cluster where nothing happens: servers were checked, and that is all."""
        self.seq += 1
        self.at += FRAME_MS
        for name, pulse in self.pulses.items():
            self.pulses[name] = msgspec.structs.replace(pulse, check_ms=self.random.randrange(2_000))
        return msgspec.structs.replace(self.whole(), full=False, servers=())

    def tell(self, *server_ids: str, gone: tuple[str, ...] = (), news: tuple[News, ...] = ()) -> Frame:
        """The next frame, with the rows of these servers in it."""
        self.seq += 1
        self.at += FRAME_MS
        for name in gone:
            self.rows.pop(name, None)
            self.pulses.pop(name, None)
        return msgspec.structs.replace(
            self.whole(),
            full=False,
            servers=tuple(self.rows[name] for name in server_ids),
            pulses=tuple(self.pulses[name] for name in server_ids),
            gone=gone,
            news=news,
        )

    def whole(self) -> Frame:
        eligible = sum(row.wanted == Wanted.ACTIVE for row in self.rows.values())
        pool = PoolRow(
            name="default",
            algorithm="ADAPTIVE",
            servers=len(self.rows),
            eligible=eligible,
            pending=self.flow.pending or 0,
            running=self.flow.running or 0,
            slots=32 * eligible,
        )
        return Frame(
            epoch=self.epoch,
            seq=self.seq,
            at=self.at,
            full=True,
            flow=self.flow,
            pools=(pool,),
            servers=tuple(self.rows.values()),
            pulses=tuple(self.pulses.values()),
            alerts=self.alerts(),
            happened=400,
            leader="one",
            heard_at=self.at,
        )


class WorldSource:
    """A `Source` that the test tells what to tell."""

    def __init__(self, tell: Tell, world: World) -> None:
        self.tell_raw = tell
        self.world = world
        self.snapshots_wanted = 0
        self.bus: Bus | None = None

    async def run(self) -> None:
        await asyncio.Event().wait()

    def want_snapshot(self) -> None:
        self.snapshots_wanted += 1

    def say(self, told: Told) -> None:
        self.tell_raw(told)

    def frame(self, frame: Frame | None = None) -> None:
        shown = frame or self.world.step()
        self.say(FrameCame(shown, len(encode_frame(shown))))

    def start(self) -> None:
        """Connected, and a whole frame."""
        self.say(Connected("made up"))
        self.frame(self.world.whole())
