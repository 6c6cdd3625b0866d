"""Search over live and archived tasks: the archive says which, the buckets say how the open ones are now."""

import asyncio
from collections.abc import Sequence
from itertools import takewhile

import msgspec

from pointsman.client.bus import Bus
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import NULL, encode
from pointsman.contracts.errors import forbidden
from pointsman.contracts.filter_meaning import compares, is_like
from pointsman.contracts.filters import Term, canonical, of_parameters
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import Lease
from pointsman.contracts.search import PAGE_DEFAULT, SearchTasks, TaskPage
from pointsman.contracts.subjects import BUCKET_LEASES, BUCKET_TASKS, key, stream_of
from pointsman.contracts.task import Task
from pointsman.contracts.view import show
from pointsman.services.history.cursor import Cursors, Position
from pointsman.services.history.finder import Count, Finder, Found, Place
from pointsman.services.history.query import OPEN, Span, live_terms, span_of, statuses_of
from pointsman.services.runtime.bulk import last_of
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.task_store import decode_lease, decode_record

READERS = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
SCANNED_MAX = 2_000
ANSWER_BYTES_MAX = 2 << 20


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; `owner` bounds it to what the caller may see."""

    terms: tuple[Term, ...]
    span: Span
    owner: str | None
    fingerprint: bytes


class Hits(msgspec.Struct, frozen=True):
    """`last` is where the next page begins, None at the end; `looked_at` counts what the archive had up to there."""

    tasks: list[Task]
    last: Place | None
    looked_at: int


class Searcher:
    def __init__(self, bus: Bus, finder: Finder, cursors: Cursors, clock: Clock) -> None:
        self._bus = bus
        self._finder = finder
        self._cursors = cursors
        self._clock = clock

    async def page(self, request: SearchTasks, actor: Actor) -> TaskPage:
        """Raises 400 for filters or cursor, 403 without a role, 422 when too broad, 503 without the archive."""
        now = self._clock.now_ms()
        terms = of_parameters(request.filters)
        search = self.search(terms, span_of(terms, now), scope_of(actor))
        after = None
        if request.cursor is not None:
            position = self._cursors.read(request.cursor, search.fingerprint)
            search = msgspec.structs.replace(search, span=Span(position.start, position.end))
            after = Place(position.at, position.id)
        hits, until = await asyncio.gather(
            self.hits(search, after, request.limit or PAGE_DEFAULT), self._finder.archived_until()
        )
        count = await self._count(search, hits, until) if after is None else None
        return TaskPage(
            tasks=tuple(hits.tasks),
            cursor=self._cursor(search, hits.last),
            total=count.tasks if count else None,
            total_is_estimate=count.is_estimate if count else False,
            archived_until=until,
            as_of=now,
        )

    async def hits(self, search: Search, after: Place | None, limit: int) -> Hits:
        """So many tasks from `after` on; fewer when 2,000 were looked at or they are large."""
        tasks: list[Task] = []
        scanned = size = 0
        while True:
            found = await self._finder.find(search.terms, search.span, search.owner, after, limit + 1)
            batch = readable(found[:limit])
            shown = await self._shown(batch)
            for one in batch:
                task = shown[one.place.id]
                if is_match(task, search.terms):
                    if len(tasks) >= limit or size >= ANSWER_BYTES_MAX:
                        return Hits(tasks, after, scanned)
                    tasks.append(task)
                    size += len(encode(task))
                after, scanned = one.place, scanned + 1
            if len(found) == len(batch):
                return Hits(tasks, None, scanned)
            if len(tasks) >= limit or len(batch) < min(len(found), limit) or scanned >= SCANNED_MAX:
                return Hits(tasks, after, scanned)

    def search(self, terms: tuple[Term, ...], span: Span, owner: str | None) -> Search:
        fingerprint = self._cursors.fingerprint(f"{owner}\n{canonical(terms)}")
        return Search(terms=terms, span=span, owner=owner, fingerprint=fingerprint)

    async def count(self, search: Search, exact_max: int) -> Count:
        """What the archive knows, whatever has become of open tasks since."""
        return await self._finder.count(search.terms, search.span, search.owner, exact_max)

    async def _count(self, search: Search, hits: Hits, until: int | None) -> Count:
        """With a first page that is also the last nothing is left to count. The archive cannot tell running from waiting:
        a count of one of them is not exact."""
        if hits.last is None:
            count = Count(hits.looked_at, False)
        else:
            span = Span(search.span.start, min(search.span.end, until + 1)) if until else search.span
            count = await self._finder.count(search.terms, span, search.owner, after=hits.last, counted=hits.looked_at)
        is_exact = len(statuses_of(search.terms) & OPEN) != 1 and not live_terms(search.terms)
        return count if is_exact else Count(count.tasks, True)

    def _cursor(self, search: Search, last: Place | None) -> str | None:
        if last is None:
            return None
        span = search.span
        return self._cursors.write(Position(search.fingerprint, span.start, span.end, last.created_at, last.id))

    async def _shown(self, found: Sequence[Found]) -> dict[str, Task]:
        """By id, without payload and result. An open task is read anew: it runs, or has ended since."""
        opened = [one.place.id for one in found if one.is_open]
        live, leases = await asyncio.gather(self._last(BUCKET_TASKS, opened), self._last(BUCKET_LEASES, opened))
        return {
            one.place.id: _shown(live.get(one.place.id) or one.record or b"", leases.get(one.place.id)) for one in found
        }

    async def _last(self, bucket: str, task_ids: list[str]) -> dict[str, bytes]:
        if not task_ids:
            return {}
        entries = await last_of(self._bus, stream_of(bucket), [key(bucket, task_id) for task_id in task_ids])
        return {name: entry.data for name, entry in entries.items()}


def readable(found: Sequence[Found]) -> list[Found]:
    """Those from the front whose records the page has room for."""
    return list(takewhile(lambda one: one.record is not None, found))


def scope_of(actor: Actor) -> str | None:
    """Whose tasks the caller may see; None for all. Raises 403."""
    if actor.has(*READERS):
        return None
    if actor.has(Role.USER) and actor.sub:
        return actor.sub
    raise forbidden("Admin, operator, viewer or user role required")


def is_match(task: Task, terms: Sequence[Term]) -> bool:
    """Whether a task as it is now still has a wanted status, and what only its lease could tell."""
    return task.status in statuses_of(terms) and all(_holds(task, term) for term in live_terms(terms))


def _holds(task: Task, term: Term) -> bool:
    if task.status not in (Status.PENDING, Status.PROCESSING):
        return True
    if term.key == "try":
        held = any(compares(task.attempt, term.op, number) for number in term.numbers)
    else:
        held = task.server_id is not None and any(is_like(task.server_id, value) for value in term.values)
    return held != term.negated


def _shown(data: bytes, lease_data: bytes | None) -> Task:
    record = decode_record(data)
    lease: Lease | None = decode_lease(lease_data) if lease_data else None
    if lease is not None and lease.generation != record.generation:
        lease = None
    return show(msgspec.structs.replace(record, result=NULL), lease, with_payload=False)
