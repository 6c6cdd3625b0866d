"""The folder of a backup: for its owner only, and a disk that refuses is told as that."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

FOLDER_MODE, FILE_MODE = 0o700, 0o600


class BackupError(Exception):
    """Why nothing was written or brought back."""


def make(folder: Path) -> None:
    """Absent or empty before."""
    with disk(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BackupError(f"{folder} is not empty")
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        folder.chmod(FOLDER_MODE)


def discard(folder: Path) -> None:
    """Leave it empty, so that the next try may use it; where that fails too, what failed before is to be told."""
    with suppress(OSError):
        for path in folder.iterdir():
            path.unlink()


@contextmanager
def disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror or error}") from error


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A new file, to be written while nothing but the disk is waited for."""
    with disk(path):
        path.touch(mode=FILE_MODE)
        with path.open("wb") as file:
            yield file


@contextmanager
def sink(path: Path) -> Iterator[Callable[[bytes], Coroutine[None, None, None]]]:
    """A new file that a network fills, whose errors are its own."""

    async def keep(data: bytes) -> None:
        with disk(path):
            await asyncio.to_thread(file.write, data)

    with disk(path):
        path.touch(mode=FILE_MODE)
        file = path.open("wb")
    try:
        yield keep
    finally:
        with disk(path):
            file.close()
