"""All that a frame shows, folded from what others tell, and what of it changed since the last frame. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from pointsman.contracts.flow import FlowFrame, PoolFlow, ServerFlow
from pointsman.contracts.frames import PoolRow, ServerPulse, ServerRow
from pointsman.contracts.server import Heartbeat, ServerAdmin, ServerConfig, ServerHealth
from pointsman.contracts.subjects import from_token, key_name
from pointsman.services.runtime.follow import Followed
from pointsman.services.statistics.flow_windows import LONG_S, LONG_STEP_S, FlowWindows, long_slot
from pointsman.services.statistics.member import Member, Pulse, shown_pulse
from pointsman.services.statistics.windows import Sums

TURNS = 5
NO_SUMS = (0, 0)

_CONFIG = msgspec.json.Decoder(ServerConfig)
_ADMIN = msgspec.json.Decoder(ServerAdmin)
_HEALTH = msgspec.json.Decoder(ServerHealth)


@dataclass(frozen=True, slots=True)
class Changes:
    """Servers since the last frame."""

    rows: tuple[ServerRow, ...]
    pulses: tuple[ServerPulse, ...]
    gone: tuple[str, ...]


class Records(NamedTuple):
    """What is stored of a server beside its configuration, which may come before that; `revision` is of the order."""

    admin: ServerAdmin | None = None
    revision: int = 0
    health: ServerHealth | None = None


class Board:
    """Times in ms since the epoch, `now_s` monotonic."""

    def __init__(self) -> None:
        self.flow = FlowWindows()
        self.members: dict[str, Member] = {}
        self._records: dict[str, Records] = {}
        self._pools: dict[str, Sums] = {}
        self._rows: dict[str, ServerRow] = {}
        self._pulses: dict[str, Pulse] = {}
        self._stirred_rows: set[str] = set()
        self._stirred: set[str] = set()
        self._changed_rows: set[str] = set()
        self._changed_pulses: set[str] = set()
        self._gone: set[str] = set()
        self._turn = 0
        self._ordinal = 0

    def fold_record(self, entry: Followed) -> None:
        """A record of the bucket `servers`, in stream order."""
        kind, _, token = key_name(entry.subject).partition(".")
        server_id, data = from_token(token), b"" if entry.deleted else entry.data
        records = self._records.get(server_id, Records())
        match kind:
            case "config":
                self._configure(server_id, _CONFIG.decode(data) if data else None, entry.sequence)
            case "admin":
                admin = _ADMIN.decode(data) if data else None
                self._keep(server_id, records._replace(admin=admin, revision=entry.sequence if data else 0))
            case "health":
                self._keep(server_id, records._replace(health=_HEALTH.decode(data) if data else None))
            case _:
                return
        self._stirred_rows.add(server_id)
        self._stirred.add(server_id)

    def fold_checks(self, checks: dict[str, ServerHealth]) -> None:
        for server_id, check in checks.items():
            member = self.members.get(server_id)
            if member is not None:
                member.told = check
                self._stirred_rows.add(server_id)
                self._stirred.add(server_id)

    def fold_beat(self, beat: Heartbeat) -> None:
        member = self.members.get(beat.server_id)
        if member is not None:
            member.beat_at = max(beat.at, member.beat_at or 0)
            self._stirred.add(beat.server_id)

    def fold_flow(self, told: FlowFrame, now_s: float) -> bool:
        """False for what an older leader still tells: that is left out."""
        if self.flow.last is not None and told.epoch < self.flow.last.epoch:
            return False
        self.flow.fold(told, now_s)
        for one in told.servers:
            self._fold_server(one, now_s, whole=told.whole)
        return True

    def _fold_server(self, told: ServerFlow, now_s: float, *, whole: bool) -> None:
        member = self.members.get(told.id)
        if member is None:
            return
        if (told.limit, told.serves) != (member.limit, member.serves):
            self._stirred_rows.add(told.id)
        member.flowed(told, now_s, whole=whole)
        self._stirred.add(told.id)
        pool = self._pools.get(member.config.pool)
        if pool is None:
            pool = self._pools[member.config.pool] = Sums(LONG_S // LONG_STEP_S, 2)
        pool.add(long_slot(now_s), (told.started, told.limit if whole and told.serves else 0))

    def _configure(self, server_id: str, config: ServerConfig | None, revision: int) -> None:
        if config is None:
            self.members.pop(server_id, None)
            return
        member = self.members.get(server_id)
        if member is None or member.config.registered_at != config.registered_at:
            member = self.members[server_id] = Member(config, self._ordinal)
            self._ordinal += 1
        member.config, member.revision = config, revision
        self._keep(server_id, self._records.get(server_id, Records()))

    def _keep(self, server_id: str, records: Records) -> None:
        self._records[server_id] = records
        if records == Records():
            del self._records[server_id]
        member = self.members.get(server_id)
        if member is not None:
            member.admin, member.health = records.admin or ServerAdmin(), records.health
            member.admin_revision = records.revision

    def settle(self, now_s: float, *, all_rates: bool) -> None:
        """Bring rows and pulses up to date: rates of a fifth of the servers, or of all, the rest as it was told."""
        if self.flow.is_silent(now_s):
            self._forget_running()
        self._turn = (self._turn + 1) % TURNS
        for pool in self._pools.values():
            pool.forget(long_slot(now_s))
        for server_id, member in self.members.items():
            if all_rates or member.ordinal % TURNS == self._turn:
                sums = self._pools.get(member.config.pool)
                started, fair = sums.total if sums is not None else NO_SUMS
                member.refresh(now_s, self.flow.span_ms, started, fair)
                self._stirred.add(server_id)
        self._settle_rows()
        self._settle_pulses()

    def _settle_rows(self) -> None:
        stirred, self._stirred_rows = self._stirred_rows, set()
        for server_id in stirred:
            member = self.members.get(server_id)
            if member is None:
                self._forget(server_id)
                continue
            row = member.row()
            if self._rows.get(server_id) != row:
                self._rows[server_id] = row
                self._changed_rows.add(server_id)
                self._gone.discard(server_id)

    def _settle_pulses(self) -> None:
        stirred, self._stirred = self._stirred, set()
        for server_id in stirred:
            member = self.members.get(server_id)
            if member is None:
                continue
            pulse = member.pulse()
            if self._pulses.get(server_id) != pulse:
                self._pulses[server_id] = pulse
                self._changed_pulses.add(server_id)

    def _forget(self, server_id: str) -> None:
        if self._rows.pop(server_id, None) is not None:
            self._gone.add(server_id)
        self._pulses.pop(server_id, None)
        self._changed_rows.discard(server_id)
        self._changed_pulses.discard(server_id)

    @property
    def rows(self) -> tuple[ServerRow, ...]:
        return tuple(self._rows[server_id] for server_id in sorted(self._rows))

    def pulses(self, at: int) -> tuple[ServerPulse, ...]:
        return tuple(shown_pulse(server_id, self._pulses[server_id], at) for server_id in sorted(self._pulses))

    def take_changes(self, at: int) -> Changes:
        """What changed since they were taken before."""
        changes = Changes(
            tuple(self._rows[server_id] for server_id in sorted(self._changed_rows)),
            tuple(shown_pulse(server_id, self._pulses[server_id], at) for server_id in sorted(self._changed_pulses)),
            tuple(sorted(self._gone)),
        )
        self._changed_rows, self._changed_pulses, self._gone = set(), set(), set()
        return changes

    def pools(self, now_s: float) -> tuple[PoolRow, ...]:
        told = self.flow.last
        if told is None:
            return ()
        shown = _silent_pool if self.flow.is_silent(now_s) else _pool
        return tuple(shown(one) for one in told.pools)

    def _forget_running(self) -> None:
        for server_id, member in self.members.items():
            if member.active is not None:
                member.active = None
                self._stirred.add(server_id)


def _silent_pool(told: PoolFlow) -> PoolRow:
    return replace(_pool(told), eligible=None, pending=None, running=None, slots=None, starts_per_s=None)


def _pool(told: PoolFlow) -> PoolRow:
    return PoolRow(
        name=told.name,
        algorithm=told.algorithm,
        servers=told.servers,
        eligible=told.eligible,
        pending=told.pending,
        running=told.running,
        slots=told.slots,
        starts_per_s=told.starts_per_s,
        revision=told.revision,
        changed_at=told.changed_at,
        changed_by=told.changed_by,
    )
