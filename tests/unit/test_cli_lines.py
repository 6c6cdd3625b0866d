"""Files of tasks: what a line is, and how far a file has been submitted."""

import io
import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.cli import lines
from pointsman.cli.lines import Refusal
from pointsman.cli.resuming import NotTheSame, Resume
from pointsman.contracts.errors import invalid


def read(*texts: bytes) -> list[lines.Line]:
    return list(lines.read(io.BytesIO(b"".join(texts)), 0, 0))


def test_a_line_is_a_task_or_why_it_is_none() -> None:
    found = read(
        b'{"type":"a","payload":{"n":1.50}}\n', b"\n", b'{"type":"a","priority":99}\n', b"nonsense\n",
        b'{"type":"a","what":1}\n', b'{"type":"a","idempotencyKey":"mine"}\n', b'{"type":"a","idempotencyKey":"\xc3\xa9"}',
    )  # fmt: skip
    assert [one.number for one in found] == [1, 3, 4, 5, 6, 7]
    assert [one.request.field for one in found if isinstance(one.request, Refusal)] == [
        "priority", "body", "what", "idempotencyKey",
    ]  # fmt: skip
    assert not isinstance(found[0].request, Refusal) and bytes(found[0].request.payload) == b'{"n":1.50}'
    assert found[4].key == "mine"


def test_keys_tell_places_and_contents_apart() -> None:
    same, again = read(b'{"type":"a"}\n', b'{"type":"a"}\n')
    assert same.key != again.key
    assert read(b'{"type":"a"}\n')[0].key == same.key


def test_a_line_without_end_is_refused_and_the_next_one_read() -> None:
    long, after = read(b'{"type":"' + b"a" * 2_000_000 + b'"}\n', b'{"type":"b"}\n')
    assert isinstance(long.request, Refusal) and "longer" in long.request.message
    assert (after.number, isinstance(after.request, Refusal)) == (2, False)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 1000))
def test_up_to_the_mark_everything_is_settled(begun: int, settled: int, seed: int) -> None:
    """Whatever the order, what stands behind the mark has been settled, and nothing settled twice is counted twice."""
    resume = Resume.begin(None, Path("-"))
    for number in range(1, begun + 1):
        resume.begun(number)
    order = list(range(1, begun + 1))
    Random(seed).shuffle(order)
    done = set(order[:settled])
    for number in order[:settled]:
        resume.settled(number, number * 10, accepted=number % 3 != 0)
    mark = resume.mark
    assert set(range(1, mark.lines + 1)) <= done and mark.lines + 1 not in done
    assert (mark.offset, mark.accepted + mark.refused) == (mark.lines * 10, mark.lines)


def test_a_mark_is_of_one_file(tmp_path: Path) -> None:
    file, other, kept = (tmp_path / name for name in ("a", "b", "mark"))
    file.write_text(json.dumps({"type": "a"}) + "\n")
    other.write_text(json.dumps({"type": "b"}) + "\n")
    resume = Resume.begin(kept, file)
    resume.begun(1)
    resume.settled(1, 14, accepted=True)
    resume.write()
    assert Resume.begin(kept, file).mark.lines == 1
    with pytest.raises(NotTheSame, match="another file"):
        Resume.begin(kept, other)
    kept.write_text("{")
    with pytest.raises(NotTheSame, match="cannot be read"):
        Resume.begin(kept, file)


def test_a_mark_stands_behind_a_line(tmp_path: Path) -> None:
    """A file that was changed before the mark or cut off is not gone on with in the middle of a line."""
    file, kept = tmp_path / "a", tmp_path / "mark"
    lines_before = [json.dumps({"type": "a", "payload": {"n": number}}) + "\n" for number in range(200)]
    file.write_text("".join(lines_before))
    resume = Resume.begin(kept, file)
    resume.begun(1)
    resume.settled(1, file.stat().st_size, accepted=True)
    resume.write()
    file.write_text("".join([*lines_before, json.dumps({"type": "b"})]))
    assert Resume.begin(kept, file).mark.lines == 1
    for changed in (lines_before[:-1], [*lines_before[:-1], json.dumps({"type": "longer", "payload": {}}), "\n" * 9]):
        file.write_text("".join(changed)[: len("".join(lines_before)) - 1])
        with pytest.raises(NotTheSame, match=r"what .* was before"):
            Resume.begin(kept, file)


def test_a_file_may_come_from_windows() -> None:
    first, second = read(b'\xef\xbb\xbf{"type":"a"}\r\n', b'{"type":"b"}\r\n')
    assert not isinstance(first.request, Refusal) and not isinstance(second.request, Refusal)
    assert (first.key, second.end) == (read(b'{"type":"a"}\n')[0].key, 31)
    assert isinstance(read(b'{"type":"a"}\n', b'\xef\xbb\xbf{"type":"b"}\n')[1].request, Refusal)


def test_a_key_that_is_none_is_named() -> None:
    for key in (b"7", b"null", b'""', b'"' + b"k" * 256 + b'"'):
        (line,) = read(b'{"type":"a","idempotencyKey":' + key + b"}")
        assert isinstance(line.request, Refusal) and line.request.field == "idempotencyKey"
    assert lines.refusal_of(invalid("Idempotency-Key", "was used")).field == "idempotencyKey"
