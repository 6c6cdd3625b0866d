"""The filter language has one meaning: what the cockpit matches by itself is what the archive finds, for any filter."""

from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointsman.contracts.base import encode
from pointsman.contracts.filters import Op, Term
from pointsman.contracts.ids import TASK_PREFIX, uuid7_hex
from pointsman.contracts.lifecycle import TERMINAL, Status
from pointsman.contracts.record import TaskRecord, TaskSpec
from pointsman.contracts.task import DAY_MS
from pointsman.services.history.finder import Finder
from pointsman.services.history.query import Span
from pointsman.services.history.rules import Stored, rows_of
from pointsman.services.history.store import HistoryStore
from pointsman.tui.matching import matches
from pointsman.tui.sighting import SeenRecord, of_record
from tests.integration.test_history import NOW, Archive, archive

archive = archive

LETTERS = 'aAbB%_\\*"=. éÉΣσςİiIıßſK'
WORDS = ("", "a", "A", "ab", "a=b", "a.b", "b%", "_", "\\", "Éa", "Σς", "İ", "ıI", "refused", "Connection Refused")
NAMES = ("a", "ab", "abc", "gpu-1", "gpu_1", "gpu.1", "GPU-1")
PATHS = ("a", "b", "a.b", "a=b", "")
SPAN = Span(NOW - 90 * DAY_MS, NOW + DAY_MS)

patterns = st.sampled_from([*NAMES, *WORDS, "*", "a*", "*b", "gpu*1", "*-*", "**"]) | st.text(LETTERS, max_size=3)
numbers = st.sampled_from((0, 1, 2, 3, 10, 500, 999, 1_000, 5_000))


def task(chance: Random, number: int) -> TaskRecord:
    created = NOW - chance.choice((1, 5, 90)) * DAY_MS + 1 + chance.randrange(1_000)
    started = chance.choice((None, created + chance.choice((0, 1, 500, 1_000, 5_000))))
    status = chance.choice(sorted(TERMINAL))
    spec = TaskSpec(
        type=chance.choice(NAMES),
        deadline=created + DAY_MS,
        pool=chance.choice(NAMES),
        priority=chance.randrange(4),
        run_at=chance.choice((None, None, created + 400)),
        labels={chance.choice(PATHS): chance.choice(WORDS) for _ in range(chance.randrange(3))},
        payload=msgspec.Raw(encode({chance.choice(PATHS): value(chance, 0) for _ in range(chance.randrange(4))})),
    )
    return TaskRecord(
        id=TASK_PREFIX + uuid7_hex(created, number),
        owner=chance.choice(NAMES),
        spec=spec,
        created_at=created,
        updated_at=created + 9_000,
        status=status,
        started_at=started,
        finished_at=created + 9_000,
        server_id=None if started is None else chance.choice(NAMES),
        error=chance.choice((None, *WORDS, "".join(chance.choices(LETTERS, k=6)))),
        error_code=chance.choice((None, *WORDS)),
        attempt=0 if started is None else chance.randrange(1, 4),
    )


def value(chance: Random, depth: int) -> object:
    inner = (
        {chance.choice(PATHS): value(chance, depth + 1)} if depth < 3 else None,
        [value(chance, depth + 1) for _ in range(2)] if depth < 3 else None,
    )
    return chance.choice((None, True, False, 0, 42, 1.5, -7, *WORDS, *inner))


TASKS = [task(Random(number), number) for number in range(400)]
SEEN = {one.id: of_record(msgspec.json.decode(encode(one), type=SeenRecord), with_payload=True) for one in TASKS}


def terms_of(key: str, values: st.SearchStrategy[str], **others: st.SearchStrategy[object]) -> st.SearchStrategy[Term]:
    several = st.lists(values, min_size=1, max_size=3).map(tuple)
    return st.builds(Term, key=st.just(key), values=several, negated=st.booleans(), **others)


def measured(key: str) -> st.SearchStrategy[Term]:
    wanted = st.lists(numbers, min_size=1, max_size=2).map(tuple)
    return st.builds(Term, key=st.just(key), op=st.sampled_from(Op), numbers=wanted, negated=st.booleans())


def moments(key: str) -> st.SearchStrategy[Term]:
    at = st.sampled_from([one.created_at + aside for one in TASKS[:20] for aside in (-1, 0, 1)])
    wanted = at.map(lambda ms: (NOW - ms,) if key == "since" else (ms,))
    return st.builds(Term, key=st.just(key), numbers=wanted, negated=st.booleans())


ids = st.sampled_from(TASKS).flatmap(lambda one: st.integers(0, 37).map(lambda length: one.id[:length]))
terms = st.one_of(
    *(terms_of(key, patterns) for key in ("type", "server", "owner", "pool", "error")),
    terms_of("status", st.sampled_from([status.value for status in Status])),
    st.builds(Term, key=st.just("text"), values=patterns.map(lambda word: (word,)), negated=st.booleans()),
    terms_of("label", st.builds("{}={}".format, st.sampled_from(PATHS[:4]), st.sampled_from(WORDS))),
    terms_of("labels", st.sampled_from(WORDS), path=st.sampled_from(PATHS[:4])),
    terms_of("payload", st.sampled_from((*WORDS, "42", "true", "null", "1.5")), path=st.sampled_from(PATHS[:4])),
    terms_of("id", ids | ids.map(str.upper) | ids.map(lambda name: name.removeprefix(TASK_PREFIX)) | patterns),
    *(measured(key) for key in ("try", "priority", "wait", "ran")),
    *(moments(key) for key in ("since", "from", "to")),
)


def bounded(wanted: Sequence[Term]) -> Span:
    """As a search has it, except that nothing is refused for its length."""
    starts, ends = [SPAN.start], [SPAN.end]
    for term in wanted:
        if term.key in ("since", "from", "to"):
            at = NOW - term.numbers[0] if term.key == "since" else term.numbers[0]
            (starts if (term.key == "to") == term.negated else ends).append(at)
    return Span(max(starts), min(ends))


def seen_locally(wanted: Sequence[Term]) -> set[str]:
    return {name for name, sighting in SEEN.items() if matches(sighting, wanted, NOW)}


async def found_in(finder: Finder, wanted: Sequence[Term]) -> list[str]:
    return [one.place.id for one in await finder.find(wanted, bounded(wanted), None, None, len(TASKS) + 1)]


@pytest.fixture
async def finder(archive: Archive) -> Finder:
    rows = [rows_of(Stored(subject="s", revision=1, data=encode(one))) for one in TASKS]
    assert await HistoryStore(archive.database).write(rows, now_ms=NOW) == 0
    return Finder(archive.database)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(terms, min_size=1, max_size=3))
async def test_what_matches_here_is_what_the_archive_finds(finder: Finder, wanted: list[Term]) -> None:
    assert await found_in(finder, wanted) == sorted(seen_locally(wanted), reverse=True)
