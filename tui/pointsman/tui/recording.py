"""A recording: keyframes as the stream keeps them, in one file.

A line of JSON says what it is of. After it comes each keyframe, packed, behind its length in four bytes: what was written of a
recording that was interrupted can be read.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from pointsman.contracts.frames import Frame
from pointsman.tui.moments import Moments

FORMAT = 1
HEAD_BYTES_MAX = 4_096
KEYFRAME_BYTES_MAX = 1 << 20
KEYFRAMES_MAX = 25 * 3_600
"""A day, and the hour before it."""
_LENGTH = struct.Struct(">I")


class RecordingError(Exception):
    """This file cannot be shown; says why."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """`system` is what it was called by who recorded it."""

    pointsman: Literal["recording"]
    format: int
    system: str = ""


class Writer:
    """Makes the file when the first keyframe comes; what was added is with the operating system at once."""

    def __init__(self, path: Path, system: str, *, overwrite: bool = False) -> None:
        self._path = path
        self._head = Head(pointsman="recording", format=FORMAT, system=system)
        self._mode: Literal["wb", "xb"] = "wb" if overwrite else "xb"
        self._file: BinaryIO | None = None
        self.count = self.size = 0

    @property
    def is_full(self) -> bool:
        return self.count >= KEYFRAMES_MAX

    def add(self, packed: bytes) -> None:
        """Raises OSError."""
        if self._file is None:
            self._file = self._path.open(self._mode)
            self._put(self._file, msgspec.json.encode(self._head) + b"\n")
        self._put(self._file, _LENGTH.pack(len(packed)) + packed)
        self.count += 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _put(self, file: BinaryIO, data: bytes) -> None:
        file.write(data)
        file.flush()
        self.size += len(data)


@dataclass(frozen=True, slots=True)
class InFile:
    file: BinaryIO
    offset: int
    size: int

    def read(self) -> bytes:
        self.file.seek(self.offset)
        return self.file.read(self.size)


@dataclass(frozen=True, slots=True)
class Recording:
    """`moments` know where in the file each second lies; `note` says what could not be read, if anything."""

    name: str
    system: str
    moments: Moments
    first_at: int
    last: Frame
    note: str = ""


def opened(path: Path, tell: Callable[[int], None] | None = None) -> Recording:
    """Reads all of it once, one keyframe at a time; `tell` hears how many. Raises RecordingError and OSError."""
    file = path.open("rb")
    try:
        return _read(file, path.name, tell)
    except BaseException:
        file.close()
        raise


def _read(file: BinaryIO, name: str, tell: Callable[[int], None] | None) -> Recording:
    head = _head(file)
    moments = Moments(KEYFRAMES_MAX)
    first_at: int | None = None
    last: Frame | None = None
    note = ""
    for count, (place, packed) in enumerate(_keyframes(file), 1):
        frame = moments.take(packed, place) if place is not None else None
        if frame is None or count > KEYFRAMES_MAX:
            why = "a file holds no more" if count > KEYFRAMES_MAX else "what follows cannot be read"
            note = f"only the first {count - 1:,} keyframes are shown: {why}"
            break
        first_at = frame.at if first_at is None else min(first_at, frame.at)
        last = frame if last is None or frame.at >= last.at else last
        if tell is not None:
            tell(count)
    if first_at is None or last is None:
        raise RecordingError("there is no keyframe in it that can be read")
    return Recording(name, head.system, moments, first_at, last, note)


def _head(file: BinaryIO) -> Head:
    line = file.readline(HEAD_BYTES_MAX)
    if not line:
        raise RecordingError("it is empty")
    try:
        head = msgspec.json.decode(line, type=Head)
    except (msgspec.MsgspecError, RecursionError):
        raise RecordingError("it is no recording: `pointsman record` writes one") from None
    if not line.endswith(b"\n") or head.format < 1:
        raise RecordingError("it is no recording: its first line is broken")
    if head.format > FORMAT:
        raise RecordingError(f"it is of format {head.format}, and this Pointsman reads {FORMAT}: take a newer one")
    return head


def _keyframes(file: BinaryIO) -> Iterator[tuple[InFile | None, bytes]]:
    """Each with its place, which is None where the file ends within one, or holds something else."""
    while length := file.read(_LENGTH.size):
        size = _LENGTH.unpack(length)[0] if len(length) == _LENGTH.size else 0
        place = InFile(file, file.tell(), size)
        packed = file.read(size) if size <= KEYFRAME_BYTES_MAX else b""
        yield (place if 0 < len(packed) == size else None), packed
