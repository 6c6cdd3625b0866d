"""The listening socket of this process, found among its open files: the HTTP server keeps it to itself."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

OPEN_FILES = Path("/proc/self/fd")


def drop_stuck(port: int, after_ms: int) -> bool:
    """Have the kernel end connections accepted from now on whose peer takes nothing for so long; whether it can.

    Without it a reader that stands still holds megabytes of the kernel's buffers, and its stream, for as long as it
    answers probes. What is accepted inherits the option.
    """
    found = False
    for listener in _listening(port) if hasattr(socket, "TCP_USER_TIMEOUT") else ():
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, after_ms)
        found = True
    return found


def _listening(port: int) -> Iterator[socket.socket]:
    for path in list(OPEN_FILES.iterdir()) if OPEN_FILES.is_dir() else ():
        with suppress(OSError), _duplicate(int(path.name)) as one:
            is_inet = one.family in (socket.AF_INET, socket.AF_INET6)
            if is_inet and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and one.getsockname()[1] == port:
                yield one


def _duplicate(number: int) -> socket.socket:
    """OSError when this is no open socket; nothing stays open then."""
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
