"""What is archived of a stored record: pure, from the message of the HISTORY stream to the rows of its tables."""

from collections.abc import Iterable, Iterator

import msgspec

from pointsman.contracts import facets
from pointsman.contracts.base import Record
from pointsman.contracts.ids import created_at_ms, is_task_id
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.record import POOL_DEFAULT, Attempt, PastGeneration
from pointsman.contracts.task import DAY_MS, EPOCH_MS_MAX

SOURCE = "Nats-Stream-Source"


class Unarchivable(Exception):
    """A message that is no task record; the text says why."""


class ArchivedSpec(Record, frozen=True, kw_only=True):
    """What the columns need of a `TaskSpec`."""

    type: str
    deadline: int
    priority: int = 0
    pool: str = POOL_DEFAULT
    run_at: int | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class ArchivedRecord(Record, frozen=True, kw_only=True):
    """What the columns need of a `TaskRecord`; decoding skips the result."""

    id: str
    owner: str
    spec: ArchivedSpec
    updated_at: int
    status: Status = Status.PENDING
    generation: int = 1
    started_at: int | None = None
    finished_at: int | None = None
    server_id: str | None = None
    error: str | None = None
    error_code: str | None = None
    attempts: tuple[Attempt, ...] = ()
    attempt: int = 0
    past: tuple[PastGeneration, ...] = ()


_RECORD = msgspec.json.Decoder(ArchivedRecord)


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it came: the key's subject, its revision in the bucket, the record's bytes."""

    subject: str
    revision: int
    data: bytes


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of `tasks`, in their order."""

    id: str
    created_at: int
    generation: int
    revision: int
    status: str
    type: str
    owner: str
    pool: str
    priority: int
    server_id: str | None
    started_at: int | None
    finished_at: int | None
    run_at: int | None
    deadline: int
    attempts: int
    error: str | None
    error_code: str | None
    labels: str
    record: bytes
    facets: list[str]


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of `attempts`, in their order."""

    task_id: str
    generation: int
    number: int
    server_id: str
    type: str
    started_at: int
    finished_at: int
    outcome: str
    http_status: int | None
    error: str | None


class TransitionRow(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of `transitions`, in their order."""

    task_id: str
    created_at: int
    generation: int
    status: str
    at: int
    server_id: str | None
    error_code: str | None


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one stored record becomes."""

    stored: Stored
    record: ArchivedRecord
    created_at: int
    attempts: tuple[AttemptRow, ...]
    transitions: tuple[TransitionRow, ...]

    @property
    def task(self) -> TaskRow:
        """Made when it is asked for: most acceptances are replaced by an end of the same batch."""
        return _task_row(self.record, self.stored, self.created_at)

    @property
    def version(self) -> tuple[int, bool, int]:
        """Which record of a task is the later one. Revisions begin anew in a restored bucket, so the end of a generation
        comes after its acceptance whatever they are."""
        return self.record.generation, is_terminal(self.record.status), self.stored.revision


def origin_revision(source: str) -> int:
    """The sequence in the tasks bucket, second word of the header that the server adds when it sources."""
    words = source.split(" ")
    if len(words) < 2 or not words[1].isdecimal():
        return 0
    return int(words[1])


def rows_of(stored: Stored) -> Rows:
    """Raises Unarchivable."""
    record, created_at = _decoded(stored.data)
    return Rows(
        stored=stored,
        record=record,
        created_at=created_at,
        attempts=tuple(_attempt_rows(record)),
        transitions=tuple(_transition_rows(record, created_at)),
    )


def newest(batch: Iterable[Rows]) -> list[TaskRow]:
    """One row per task, the last one that the batch knows, in the order of ids so that writers cannot deadlock."""
    found: dict[str, Rows] = {}
    for rows in batch:
        known = found.get(rows.record.id)
        if known is None or rows.version > known.version:
            found[rows.record.id] = rows
    return [found[task_id].task for task_id in sorted(found)]


def attempts_of(batch: Iterable[Rows]) -> list[AttemptRow]:
    """Each attempt once, with the first generation that reports it: a later record may carry earlier attempts on."""
    found: dict[tuple[str, int, int, int], AttemptRow] = {}
    for row in (row for rows in batch for row in rows.attempts):
        key = (row.task_id, row.number, row.started_at, row.finished_at)
        if key not in found or row.generation < found[key].generation:
            found[key] = row
    return [found[key] for key in sorted(found)]


def transitions_of(batch: Iterable[Rows]) -> list[TransitionRow]:
    """Each transition once, in the order of ids."""
    found = {(row.task_id, row.generation, row.status): row for rows in batch for row in rows.transitions}
    return [found[key] for key in sorted(found)]


def day_of(at_ms: int) -> int:
    """The UTC day, counted from the epoch."""
    return at_ms // DAY_MS


def _decoded(data: bytes) -> tuple[ArchivedRecord, int]:
    """With the time of creation that its id carries."""
    try:
        record = _RECORD.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Unarchivable(f"not a task record: {error}") from None
    if not is_task_id(record.id):
        raise Unarchivable("its id is not a task id")
    created_at = created_at_ms(record.id)
    for at in (created_at, *_times(record)):
        if at is not None and not 0 <= at <= EPOCH_MS_MAX:
            raise Unarchivable(f"{at} is not a time in ms since the epoch")
    return record, created_at


def _times(record: ArchivedRecord) -> Iterator[int | None]:
    """Those that durations are computed from: one that is none would overflow the sums of all others."""
    yield from (record.updated_at, record.started_at, record.finished_at, record.spec.run_at)
    generations: tuple[ArchivedRecord | PastGeneration, ...] = (record, *record.past)
    for generation in generations:
        yield generation.finished_at
        for attempt in generation.attempts:
            yield from (attempt.started_at, attempt.finished_at)


def _task_row(record: ArchivedRecord, stored: Stored, created_at: int) -> TaskRow:
    return TaskRow(
        id=record.id,
        created_at=created_at,
        generation=record.generation,
        revision=stored.revision,
        status=record.status,
        type=clean(record.spec.type),
        owner=clean(record.owner),
        pool=clean(record.spec.pool),
        priority=record.spec.priority,
        server_id=clean(record.server_id),
        started_at=record.started_at,
        finished_at=_finished_at(record, created_at),
        run_at=record.spec.run_at,
        deadline=record.spec.deadline,
        attempts=max(record.attempt, len(record.attempts)),
        error=clean(record.error),
        error_code=clean(record.error_code),
        labels=_labels(record.spec.labels) if record.spec.labels else "{}",
        record=stored.data,
        facets=facets.facets_of(record.spec.labels, record.spec.payload),
    )


def _attempt_rows(record: ArchivedRecord) -> Iterator[AttemptRow]:
    """Those of earlier generations too: their own last record may have been replaced before it was sourced."""
    for past in record.past:
        yield from (_attempt_row(record, past.generation, attempt) for attempt in past.attempts)
    yield from (_attempt_row(record, record.generation, attempt) for attempt in record.attempts)


def _transition_rows(record: ArchivedRecord, created_at: int) -> Iterator[TransitionRow]:
    for past in record.past:
        yield TransitionRow(
            task_id=record.id,
            created_at=created_at,
            generation=past.generation,
            status=past.status,
            at=past.finished_at,
            server_id=clean(past.server_id),
            error_code=clean(past.error_code),
        )
    yield TransitionRow(
        task_id=record.id,
        created_at=created_at,
        generation=record.generation,
        status=record.status,
        at=_finished_at(record, created_at) or record.updated_at,
        server_id=clean(record.server_id),
        error_code=clean(record.error_code),
    )


def _attempt_row(record: ArchivedRecord, generation: int, attempt: Attempt) -> AttemptRow:
    return AttemptRow(
        task_id=record.id,
        generation=generation,
        number=attempt.number,
        server_id=clean(attempt.server_id),
        type=clean(record.spec.type),
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        outcome=clean(attempt.outcome),
        http_status=attempt.http_status,
        error=clean(attempt.error),
    )


def _finished_at(record: ArchivedRecord, created_at: int) -> int | None:
    """Not before the task was created, whatever the clocks say, so that no day knows of ends before it began."""
    if not is_terminal(record.status):
        return None
    return max(created_at, record.updated_at if record.finished_at is None else record.finished_at)


def _labels(labels: dict[str, str]) -> str:
    return msgspec.json.encode({clean(name): clean(value) for name, value in labels.items()}).decode()


def clean[T: (str, str | None)](text: T) -> T:
    """Columns cannot hold NUL; the record keeps it."""
    return facets.clean(text) if text else text
