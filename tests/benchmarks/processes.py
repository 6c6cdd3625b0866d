"""What each process of a running system costs: CPU time and memory by kind of process, and the CPU of everyone else."""

import asyncio
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

MIB = 1024 * 1024


@dataclass(frozen=True)
class Reading:
    """CPU seconds so far: by process, of the whole machine, and the clock of the reading."""

    cpu_s: dict[tuple[int, float], tuple[str, float]]
    machine_busy_s: float
    machine_s: float


@dataclass(frozen=True)
class Cost:
    """CPU seconds between two readings by kind of process, and the share of the machine that was somebody else's."""

    cpu_s: dict[str, float]
    foreign_share: float


class ProcessTree:
    """The process trees below the given pids, and this process itself as "client"."""

    def __init__(self, roots: Sequence[tuple[str, int]]) -> None:
        self._roots = list(roots)

    def read(self) -> Reading:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        cpu = {(process.pid, process.create_time()): (kind, _cpu_s(process)) for kind, process in self._processes()}
        return Reading(cpu, total - idle, total)

    def memory_mib(self) -> dict[str, float]:
        """Resident memory by kind; pages that processes share count once where the system can tell (PSS)."""
        used: defaultdict[str, float] = defaultdict(float)
        for kind, process in self._processes():
            if kind != "client":
                used[kind] += _memory_bytes(process)
        return {kind: size / MIB for kind, size in used.items()}

    def _processes(self) -> list[tuple[str, psutil.Process]]:
        found = [("client", psutil.Process(os.getpid()))]
        for name, pid in self._roots:
            root = psutil.Process(pid)
            found.append((name, root))
            found += [(kind, process) for process in root.children(recursive=True) if (kind := kind_of(process))]
        return found


@dataclass(frozen=True)
class Span:
    """Measures a stretch of time: `Span.begin(tree)`, then `end()`."""

    tree: ProcessTree
    before: Reading

    @classmethod
    def begin(cls, tree: ProcessTree) -> Self:
        return cls(tree, tree.read())

    def end(self) -> Cost:
        after = self.tree.read()
        spent: defaultdict[str, float] = defaultdict(float)
        for key, (kind, cpu_s) in after.cpu_s.items():
            spent[kind] += cpu_s - self.before.cpu_s.get(key, (kind, 0.0))[1]
        passed = after.machine_s - self.before.machine_s
        foreign = after.machine_busy_s - self.before.machine_busy_s - sum(spent.values())
        return Cost(dict(spent), max(0.0, foreign / passed) if passed else 0.0)


@asynccontextmanager
async def child(module: str, *arguments: str) -> AsyncIterator[tuple[int, str]]:
    """A module as a process of its own: its pid and first line. Killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode().strip()
        drain = asyncio.create_task(process.stdout.read())
        yield process.pid, line
        drain.cancel()
    finally:
        process.kill()
        await process.wait()


def cpu_s_of(pid: int) -> float:
    return _cpu_s(psutil.Process(pid))


def kind_of(process: psutil.Process) -> str | None:
    """A short name from the command line: nats-server, postgres, "serve task", ...; None when it has just ended."""
    try:
        words = process.cmdline()
        if "-c" in words[1:2]:
            parent = process.parent()
            return f"{parent and kind_of(parent)} worker"
        return _named(words) if words else str(process.name())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return None


def _named(words: list[str]) -> str:
    program = Path(words[0].split(":")[0]).name
    if not program.startswith("python"):
        return program
    plain = [Path(word).name for word in words[1:] if not word.startswith("-")]
    return " ".join(plain[1:3] or plain) or program


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _memory_bytes(process: psutil.Process) -> int:
    try:
        return int(getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
