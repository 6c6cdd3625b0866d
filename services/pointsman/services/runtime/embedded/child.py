"""Child processes that never outlive us: each gets a signal from the kernel when its parent dies."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from pointsman.services.runtime.embedded import folder
from pointsman.services.runtime.embedded.account import Account

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """How one child is run and ended. `keeps` are descriptors it inherits."""

    argv: Sequence[str]
    log: Path
    env: Mapping[str, str]
    keeps: Sequence[int] = ()
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: float = 10.0


async def spawn(program: Program) -> asyncio.subprocess.Process:
    """Start it in a session of its own, so that a Ctrl-C reaches only the supervisor."""
    log = folder.open_log(program.log)
    account = None if program.account is None or program.account.is_current else program.account
    try:
        return await asyncio.create_subprocess_exec(
            *program.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(program.env),
            cwd="/",
            pass_fds=tuple(program.keeps),
            start_new_session=True,
            preexec_fn=_bound_to(os.getpid(), program.stop_signal),
            **_as_user(account),
        )
    finally:
        os.close(log)


async def stop(process: asyncio.subprocess.Process, program: Program) -> None:
    """Ask it to end, and make it so when it does not."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(program.stop_signal)
    try:
        async with asyncio.timeout(program.stop_within_s):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for a message about a child that did not start."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])


def _bound_to(parent: int, last_signal: signal.Signals) -> Callable[[], None] | None:
    """Runs between fork and exec, after the change of user, which would clear the death signal."""
    if _libc is None:
        return None
    prctl = _libc.prctl

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, int(last_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return bind


def _as_user(account: Account | None) -> dict[str, Any]:
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}
