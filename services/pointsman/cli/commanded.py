"""What a command of the user's says, within bounds of time and size."""

import os
import selectors
import subprocess
import time
from collections.abc import Mapping
from typing import IO

READ_BYTES = 64 << 10


class TooMuch(Exception):
    """It said more than was to be taken, or took longer."""


def said(command: str, env: Mapping[str, str], *, within_s: float, bytes_max: int) -> tuple[int, bytes, bytes]:
    """Exit code, output and errors of a shell command without input. Raises OSError and TooMuch.

    Of one that goes on too long the shell is killed; what that started finds its output closed.
    """
    until_s = time.monotonic() + within_s
    with _started(command, env) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            out, errors = _read((process.stdout, process.stderr), until_s, bytes_max)
            return process.wait(max(0.0, until_s - time.monotonic())), out, errors
        except (subprocess.TimeoutExpired, TimeoutError):
            raise TooMuch(f"not over after {within_s:g} s") from None
        finally:
            process.kill()


def _started(command: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(command, shell=True, env=env, stdin=nothing, stdout=pipe, stderr=pipe)  # noqa: S602 - the user's


def _read(pipes: tuple[IO[bytes], ...], until_s: float, bytes_max: int) -> list[bytes]:
    taken = {pipe.fileno(): bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as waiting:
        for fd in taken:
            waiting.register(fd, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(max(0.0, until_s - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                data = os.read(key.fd, READ_BYTES)
                taken[key.fd] += data
                if not data:
                    waiting.unregister(key.fd)
                elif len(taken[key.fd]) > bytes_max:
                    raise TooMuch(f"says more than {bytes_max:,} bytes")
    return [bytes(text) for text in taken.values()]
