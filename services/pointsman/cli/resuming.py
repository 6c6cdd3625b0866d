"""How far a file has been submitted, kept beside it: up to there every line is settled, whatever the order was."""

import hashlib
import os
from collections import deque
from pathlib import Path
from typing import Self

import msgspec
from msgspec.structs import replace

STDIN = "-"
WRITE_EVERY = 2_000
HEAD_BYTES = 4_096
ADVICE = "the same command again goes on: lines that were accepted are not submitted twice within 24 h"


class NotTheSame(ValueError):
    """The resume file is another file's, or cannot be read."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """`head` is a hash of the file's beginning, `head_bytes` of how much."""

    file: str
    head: str
    head_bytes: int
    lines: int = 0
    offset: int = 0
    accepted: int = 0
    refused: int = 0


class Resume:
    """What is settled of the lines that were begun, in order; those that settle before their turn wait for it."""

    def __init__(self, path: Path | None, mark: Mark) -> None:
        self._path = path
        self._begun: deque[int] = deque()
        self._settled: dict[int, tuple[int, bool]] = {}
        self._since = 0
        self.mark = mark

    @classmethod
    def begin(cls, path: Path | None, file: Path) -> Self:
        """From the beginning, or from what `path` says of this very file. Raises NotTheSame."""
        if path is None or not path.exists():
            return cls(path, _fresh(file))
        try:
            mark = msgspec.json.decode(path.read_bytes(), type=Mark)
        except (OSError, msgspec.MsgspecError) as error:
            raise NotTheSame(f"{path}: cannot be read: {error}") from error
        if str(file) != STDIN and not _goes_on(file, mark):
            raise NotTheSame(
                f"{path}: was written for another file than {file}, or for what {file} was before; remove it to begin anew"
            )
        return cls(path, mark)

    def begun(self, number: int) -> None:
        self._begun.append(number)

    def settled(self, number: int, end: int, *, accepted: bool) -> None:
        self._settled[number] = end, accepted
        lines, offset, counts = self.mark.lines, self.mark.offset, [self.mark.refused, self.mark.accepted]
        while self._begun and self._begun[0] in self._settled:
            lines = self._begun.popleft()
            offset, was_accepted = self._settled.pop(lines)
            counts[was_accepted] += 1
        self.mark = replace(self.mark, lines=lines, offset=offset, refused=counts[0], accepted=counts[1])
        self._since += 1
        if self._since >= WRITE_EVERY:
            self.write()

    def write(self) -> None:
        self._since = 0
        if self._path is not None:
            draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            draft.write_bytes(msgspec.json.encode(self.mark))
            draft.replace(self._path)

    def forget(self) -> None:
        """All is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def advice(self) -> str:
        return ADVICE if self._path is None else f"{ADVICE}; from line {self.mark.lines + 1} on"


def _fresh(file: Path) -> Mark:
    head, size = ("", 0) if str(file) == STDIN else _hashed(file, HEAD_BYTES)
    return Mark(file=str(file), head=head, head_bytes=size)


def _goes_on(file: Path, mark: Mark) -> bool:
    """It begins as it did, and a line ends where the mark says so."""
    with file.open("rb") as stream:
        stream.seek(max(0, mark.offset - 1))
        is_behind_line = not mark.offset or stream.read(1) == b"\n" or file.stat().st_size == mark.offset
    return is_behind_line and mark.head == _hashed(file, mark.head_bytes)[0]


def _hashed(file: Path, size: int) -> tuple[str, int]:
    with file.open("rb") as stream:
        head = stream.read(size)
    return hashlib.sha256(head).hexdigest(), len(head)
