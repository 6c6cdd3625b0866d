"""The data folder of an embedded system: its files, and the lock that lets it have one owner only."""

import asyncio
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path

OWNER_ONLY_FOLDER = 0o700
PASS_THROUGH_FOLDER = 0o711
OWNER_ONLY_FILE = 0o600
LOG_BYTES_MAX = 10 << 20
LOCK_RETRY_S = 0.1
HOLDERS_SHOWN = 2
COMMAND_LENGTH_MAX = 80


class FolderInUse(RuntimeError):
    """Another process holds the lock; the message says which."""


def make(folder: Path) -> Path:
    """Make the data folder. Of root's own folder, the database user may pass through but not list."""
    mode = PASS_THROUGH_FOLDER if os.geteuid() == 0 else OWNER_ONLY_FOLDER
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        folder.mkdir(mode=mode)
        folder.chmod(mode)
    return folder.resolve()


def make_owned(folder: Path, uid: int, gid: int) -> Path:
    """A folder that only this user can enter; PermissionError when it belongs to somebody else."""
    folder.mkdir(mode=OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid not in {uid, os.geteuid()}:
        raise PermissionError(f"{folder} belongs to somebody else")
    folder.chmod(OWNER_ONLY_FOLDER)
    if found.st_uid != uid:
        os.chown(folder, uid, gid)
    return folder


def write_private(path: Path, content: str | bytes) -> None:
    """Replace a file in one step, readable by its owner only."""
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY_FILE), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def kept(path: Path, made: Callable[[], str] = lambda: secrets.token_urlsafe(36)) -> str:
    """What the file says; the first time, what `made` makes."""
    if not path.exists():
        write_private(path, made())
    return path.read_text(encoding="utf-8").strip()


def open_log(path: Path) -> int:
    """A descriptor to append to; a log that has grown too large moves aside first."""
    path.parent.mkdir(mode=OWNER_ONLY_FOLDER, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_suffix(".1.log"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, OWNER_ONLY_FILE)


async def locked(path: Path, *, within_s: float) -> int:
    """Take the lock and return its descriptor: whoever inherits it holds the lock as well. Raises FolderInUse."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY_FILE)
    try:
        async with asyncio.timeout(within_s):
            while not _taken(descriptor):  # noqa: ASYNC110
                await asyncio.sleep(LOCK_RETRY_S)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, TimeoutError):
            raise FolderInUse(f"{path.parent} is in use by {_shown(holders(path))}") from None
        raise
    return descriptor


def holders(path: Path) -> list[tuple[int, str]]:
    """Processes that have the file open: pid and command (Linux; elsewhere none are found)."""
    found = {int(link.parts[2]) for link in Path("/proc").glob("[0-9]*/fd/*") if _leads_to(link, path)}
    return [(pid, _command(pid)) for pid in sorted(found - {os.getpid()})]


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _leads_to(link: Path, path: Path) -> bool:
    try:
        return link.readlink() == path
    except OSError:
        return False


def _command(pid: int) -> str:
    """The program's name without its folder, then its arguments, cut."""
    try:
        program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").strip("\0").split("\0")
    except OSError:
        return "?"
    return " ".join((Path(program).name, *arguments))[:COMMAND_LENGTH_MAX].strip() or "?"


def _shown(found: list[tuple[int, str]]) -> str:
    first = ", ".join(f"process {pid} ({command})" for pid, command in found[:HOLDERS_SHOWN])
    more = len(found) - HOLDERS_SHOWN
    return (f"{first} and {more} more" if more > 0 else first) or "another process"
