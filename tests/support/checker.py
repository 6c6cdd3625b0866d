"""After the faults: compares what clients were told with what Pointsman, its archive and the backends hold."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from pointsman.client import nats_bus
from pointsman.client.bus import Bus, Message
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.subjects import view_task
from pointsman.services.runtime.task_store import decode_record
from tests.support.backends import Backend
from tests.support.rest import Json
from tests.support.system_up import SystemUp, eventually

ARCHIVED_WITHIN_S = 120.0
SHOWN_MAX = 5


@dataclass
class Entry:
    """One task as its client knows it: sent, perhaps of unknown fate for a while, acknowledged under one or more ids."""

    key: str
    task: Json
    sent: int = 0
    unknown: int = 0
    refused: int = 0
    ids: list[str] = field(default_factory=list)
    first_sent_s: float = 0.0
    acked_at_s: float = 0.0


@dataclass
class Ledger:
    """The client's log. `faults` are answers that nobody may get whatever happens behind the gateway."""

    entries: list[Entry] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    lost_connections: int = 0
    read_refused: int = 0

    @property
    def acked(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.ids]

    @property
    def by_id(self) -> dict[str, Entry]:
        return {entry.ids[0]: entry for entry in self.acked}


@dataclass
class Limited:
    """A backend and how many tasks it may have at a time."""

    id: str
    backend: Backend
    max_concurrent: int


@dataclass
class Verdict:
    """`broken` is empty when all promises held; `numbers` are for people."""

    broken: list[str] = field(default_factory=list)
    numbers: dict[str, object] = field(default_factory=dict)

    def claim(self, what: str, offenders: Sequence[object]) -> None:
        if offenders:
            self.broken.append(f"{what}: {len(offenders)}, e.g. {list(offenders[:SHOWN_MAX])!r:.1500}")


class Observer:
    """Counts terminal records as the bucket republishes them. It may miss some while the broker is away, never invent."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.terminal: defaultdict[tuple[str, int], set[str]] = defaultdict(set)

    @classmethod
    async def watch(cls, system: SystemUp) -> "Observer":
        url, user, password = system.nats
        observer = cls(await nats_bus.connect(url, name="checker", user=user, password=password))
        await observer._bus.subscribe(view_task("*"), observer._see)
        await observer._bus.barrier()
        return observer

    async def _see(self, message: Message) -> None:
        record = decode_record(message.data)
        if is_terminal(record.status):
            revision = message.headers.get("Nats-Sequence", str(record.updated_at))
            self.terminal[record.id, record.generation].add(f"{revision} {record.status}")

    async def close(self) -> None:
        await self._bus.close()


async def check(
    ledger: Ledger,
    tasks: Mapping[str, Json],
    system: SystemUp,
    backends: Sequence[Limited],
    pool: str,
    observer: Observer | None = None,
) -> Verdict:
    """`tasks` are the answers of GET by id, once all had ended; `pool` is where all of the ledger's tasks went."""
    verdict = Verdict()
    verdict.claim("answers that break the contract", ledger.faults)
    verdict.claim("never acknowledged", [entry.key for entry in ledger.entries if not entry.ids])
    verdict.claim("a key with several tasks", [entry.ids for entry in ledger.entries if len(set(entry.ids)) > 1])
    _check_answers(verdict, ledger, tasks)
    await _check_archive(verdict, ledger, tasks, system, pool)
    await _check_backends(verdict, ledger, backends)
    if observer is not None:
        seen = {key: states for key, states in observer.terminal.items() if key[0] in ledger.by_id}
        verdict.claim("several terminal records", [item for item in seen.items() if len(item[1]) > 1])
        verdict.numbers["transitions seen"] = len(seen)
    verdict.numbers |= {
        "sent": sum(entry.sent for entry in ledger.entries),
        "acked": len(ledger.acked),
        "unknown": sum(entry.unknown for entry in ledger.entries),
        "refused": sum(entry.refused for entry in ledger.entries),
        "connections lost": ledger.lost_connections,
        "reads refused": ledger.read_refused,
    }
    return verdict


def _check_answers(verdict: Verdict, ledger: Ledger, tasks: Mapping[str, Json]) -> None:
    verdict.claim("acknowledged, not found", sorted(set(ledger.by_id) - set(tasks)))
    ended = {task_id: task for task_id, task in tasks.items() if task_id in ledger.by_id}
    verdict.claim(
        "not COMPLETED", [(i, t["status"], t["error"], t["attempts"][-3:]) for i, t in ended.items() if not _is_done(t)]
    )
    wrong = [i for i, t in ended.items() if _is_done(t) and t["result"] != ledger.by_id[i].task["payload"]]
    verdict.claim("another result than what was sent", wrong)
    doubled = [i for i, t in ended.items() if Counter(a["outcome"] for a in t["attempts"])["succeeded"] != 1]
    verdict.claim("not exactly one successful attempt", doubled)
    numbers = Counter(len(task["attempts"]) for task in ended.values())
    verdict.numbers["tasks by attempts"] = dict(sorted(numbers.items()))
    outcomes = Counter(a["outcome"] for t in ended.values() for a in t["attempts"] if a["outcome"] != "succeeded")
    verdict.numbers["other outcomes"] = dict(outcomes)
    verdict.numbers["reasons"] = dict(
        Counter(str(a["error"])[:80] for t in ended.values() for a in t["attempts"] if a["outcome"] != "succeeded")
    )


def _is_done(task: Json) -> bool:
    return bool(task["status"] == "COMPLETED")


async def _check_archive(
    verdict: Verdict, ledger: Ledger, tasks: Mapping[str, Json], system: SystemUp, pool: str
) -> None:
    rows = await _archived(system, pool, len(ledger.acked))
    ids = Counter(row["id"] for row in rows)
    verdict.claim("acknowledged, not in the archive", sorted(set(ledger.by_id) - set(ids)))
    verdict.claim("in the archive, never acknowledged", sorted(set(ids) - set(ledger.by_id)))
    verdict.claim("twice in the archive", [task_id for task_id, count in ids.items() if count > 1])
    verdict.claim("not ended in the archive", [row["id"] for row in rows if row["finished_at"] is None])
    records = {row["id"]: decode_record(row["record"]) for row in rows}
    differing = [
        (task_id, record.status, tasks[task_id]["status"])
        for task_id, record in records.items()
        if task_id in tasks
        and (record.status, record.generation, record.finished_at)
        != tuple(tasks[task_id][name] for name in ("status", "generation", "finishedAt"))
    ]
    verdict.claim("the archive differs from the answer", differing)
    succeeded = await system.rows(
        "SELECT a.task_id, a.generation, count(*) FILTER (WHERE a.outcome = 'succeeded') AS times "
        "FROM attempts a JOIN tasks t ON t.id = a.task_id WHERE t.pool = $1 GROUP BY 1, 2",
        pool,
    )
    verdict.claim("archived with other than one success", [tuple(row) for row in succeeded if row["times"] != 1])
    verdict.claim("dead letters", [tuple(row) for row in await system.rows("SELECT subject, reason FROM dead_letters")])
    verdict.numbers["archived"] = len(rows)


async def _archived(system: SystemUp, pool: str, count: int) -> list[asyncpg.Record]:
    """The pool's rows once they are as many as expected and all ended, else as they are when patience ends."""
    sql = "SELECT id, status, generation, finished_at, record FROM tasks WHERE pool = $1"

    async def complete() -> list[asyncpg.Record]:
        try:
            rows = await system.rows(sql, pool)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise AssertionError(repr(error)) from error
        ended = sum(row["finished_at"] is not None for row in rows)
        assert ended >= count, f"{ended} of {count}"
        return rows

    try:
        found: list[asyncpg.Record] = await eventually(complete, "archived", within_s=ARCHIVED_WITHIN_S)
    except AssertionError:
        return await system.rows(sql, pool)
    return found


async def _check_backends(verdict: Verdict, ledger: Ledger, backends: Sequence[Limited]) -> None:
    stats = await asyncio.gather(*(limited.backend.stats() for limited in backends))
    calls: Counter[str] = Counter()
    for seen in stats:
        calls.update({task_id: count for task_id, count in seen["tasks"].items() if task_id in ledger.by_id})
    peaks = {limited.id: seen["peak"] for limited, seen in zip(backends, stats, strict=True)}
    over = [(limited.id, peaks[limited.id]) for limited in backends if peaks[limited.id] > limited.max_concurrent]
    verdict.claim("more at a time than maxConcurrent", over)
    verdict.claim("completed without a call", sorted(set(ledger.by_id) - set(calls)))
    repeated = [
        task_id
        for seen in stats
        for task_id, numbers in seen["attempts"].items()
        if task_id in ledger.by_id and len(numbers) != len(set(numbers))
    ]
    verdict.claim("the same attempt called twice", repeated)
    verdict.numbers |= {
        "calls": sum(calls.values()),
        "called more than once": sum(count > 1 for count in calls.values()),
        "peaks": peaks,
    }
