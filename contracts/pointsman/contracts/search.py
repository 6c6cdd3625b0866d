"""Searching tasks, acting on all that match, and the audit trail: requests and answers. Times in ms since the epoch."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pointsman.contracts.base import NULL, Message, Record, Request
from pointsman.contracts.task import Generation, Reason, Task

PAGE_MAX = 200
PAGE_DEFAULT = 50
BULK_TASKS_MAX = 100_000
MARKED_MAX = 1_000
RANGE_DAYS_MAX = 90
CURSOR_LENGTH_MAX = 512

Limit = Annotated[int, Meta(ge=1, le=PAGE_MAX)]
Cursor = Annotated[str, Meta(min_length=1, max_length=CURSOR_LENGTH_MAX)]
Text = Annotated[str, Meta(max_length=2_000)]
Filters = Annotated[dict[str, str], Meta(max_length=32)]


class TaskQuery(Request):
    """Query of `GET /api/tasks`. Beside these any `labels.NAME` and `payload.PATH`; `q` holds the filter language."""

    q: Text | None = None
    id: Text | None = None
    status: Text | None = None
    type: Text | None = None
    server_id: Text | None = None
    owner: Text | None = None
    pool: Text | None = None
    label: Text | None = None
    error: Text | None = None
    text: Text | None = None
    since: Text | None = None
    from_ms: Text | None = msgspec.field(name="from", default=None)
    to_ms: Text | None = msgspec.field(name="to", default=None)
    limit: Limit | None = None
    cursor: Cursor | None = None


class SearchTasks(Request):
    """`filters` by the names of `TaskQuery`; all must hold."""

    filters: Filters = {}
    limit: Limit | None = None
    cursor: Cursor | None = None


class TaskPage(Message):
    """Newest first. A page may be shorter than asked, even empty: it goes on as long as `cursor` is not null.

    `total` counts what the archive knew at the first page: exact unless `totalIsEstimate`; null on later pages.
    `archivedUntil` is the newest acceptance that the archive has seen: a younger task appears once it is there.
    """

    tasks: tuple[Task, ...]
    cursor: str | None
    total: int | None
    total_is_estimate: bool
    archived_until: int | None
    as_of: int


class MarkedTask(Request):
    """A task as it was when it was chosen: one in another generation is skipped."""

    id: Annotated[str, Meta(pattern=r"^task_[0-9a-f]{32}$(?!\n)")]
    generation: Generation | None = None


class BulkRequest(Request):
    """Either `filter` by the names of `GET /api/tasks` (at least one), or `tasks` one by one; `dryRun` only counts."""

    filter: Filters = {}
    tasks: Annotated[tuple[MarkedTask, ...], Meta(max_length=MARKED_MAX)] = ()
    dry_run: bool = False
    reason: Reason | None = None


class BulkCommand(Request):
    kind: Literal["retry", "cancel"]
    bulk: BulkRequest


class Job(Record, omit_defaults=False):
    """An act on many tasks. `failed` of them were refused, `skipped` had moved on by themselves; up to ten of either are
    told in `errors` and `skips`.

    `RUNNING` goes on in another process when its own dies; `STOPPED` says in `errors` why it could not.
    """

    id: str
    kind: Literal["retry", "cancel"]
    status: Literal["COUNTED", "RUNNING", "DONE", "STOPPED"]
    total: int
    filter: dict[str, str]
    by: str
    started_at: int
    updated_at: int
    done: int = 0
    succeeded: int = 0
    skipped: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()


class JobId(Request):
    id: str


class AuditQuery(Request):
    """Query of `GET /api/audit`; `who`, `what` and `target` take `*`, `from` and `to` a date or ms since the epoch."""

    who: Text | None = None
    what: Text | None = None
    target: Text | None = None
    outcome: Literal["done", "denied", "failed"] | None = None
    request_id: Text | None = None
    from_ms: Text | None = msgspec.field(name="from", default=None)
    to_ms: Text | None = msgspec.field(name="to", default=None)
    limit: Limit | None = None
    cursor: Cursor | None = None


class AuditEntry(Message):
    """One act of an operator or admin, or one that was denied. `before` and `after` hold no secrets."""

    id: str
    at: int
    who: str
    roles: tuple[str, ...]
    what: str
    target: str
    outcome: Literal["done", "denied", "failed"]
    status: int
    request_id: str = ""
    detail: str = ""
    before: msgspec.Raw = NULL
    after: msgspec.Raw = NULL


class AuditPage(Message):
    """Newest first."""

    entries: tuple[AuditEntry, ...]
    cursor: str | None
    as_of: int
