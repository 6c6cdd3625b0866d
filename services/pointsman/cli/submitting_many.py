"""Every line of a file as a task: a bounded number on their way, each under a key of its own, so that it may be repeated.

Threads, each with a blocking connection: the same over NATS and REST.
"""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Full, Queue
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from pointsman.cli import asking, lines, options, output, reaching
from pointsman.cli.lines import Line, Refusal
from pointsman.cli.progress import progress_of
from pointsman.cli.resuming import STDIN, Mark, NotTheSame, Resume
from pointsman.client import blocking
from pointsman.client.bus import BusDenied, BusError
from pointsman.client.client import Client
from pointsman.contracts.errors import PointsmanError

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted

TRIES_MAX = 8
AGAIN_S = 0.5
REFUSALS_TOLD_MAX = 1_000
PASSING = (408, 502, 503, 504)
LOOK_S = 0.2
PATIENCE_S = 1.0


class Work:
    """What the threads share. `settled` is told of every line, in any order."""

    def __init__(self, wanted: "Wanted", resume: Resume, in_flight: int) -> None:
        self.wanted = wanted
        self.resume = resume
        self.waiting: Queue[Line | None] = Queue(maxsize=in_flight)
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.accepted = self.refused = 0
        self.lost: BaseException | None = None
        self.held_until_s = 0.0

    def settled(self, line: Line, refusal: Refusal | None) -> None:
        with self.lock:
            self.resume.settled(line.number, line.end, accepted=refusal is None)
            if refusal is None:
                self.accepted += 1
                return
            self.refused += 1
            if self.refused <= REFUSALS_TOLD_MAX:
                click.echo(f"pointsman: line {line.number}: {refusal.field}: {refusal.message}", err=True)

    def lose(self, error: BaseException) -> None:
        with self.lock:
            self.lost = self.lost or error
        self.stopped.set()


def submit(wanted: "Wanted", file: Path, *, in_flight: int, resume: Path | None, dry_run: bool) -> None:
    """Exit code 1 when lines were refused, 130 when interrupted, 69 when the system went away for good."""
    try:
        with click.open_file(str(file), "rb") as stream:
            kept = Resume.begin(resume, file)
            stream_from(stream, kept)
            work, before = Work(wanted, kept, in_flight), kept.mark
            began_s = time.monotonic()
            _worked(work, stream, file, in_flight, dry_run=dry_run)
    except OSError as error:
        options.fail(f"{file}: {error.strerror or error}", options.USAGE)
    except NotTheSame as error:
        options.fail(str(error), options.USAGE)
    _conclude(work, before, time.monotonic() - began_s, dry_run=dry_run)


def stream_from(stream: IO[bytes], kept: Resume) -> None:
    """Go to where the resume file says; what cannot seek is read up to there."""
    left = kept.mark.offset
    if left and stream.seekable():
        stream.seek(left)
        return
    while left > 0 and (skipped := stream.read(min(left, 1 << 20))):
        left -= len(skipped)


def _worked(work: Work, stream: IO[bytes], file: Path, in_flight: int, *, dry_run: bool) -> None:
    size, before = file.stat().st_size if str(file) != STDIN else None, work.resume.mark
    _stop_on_interrupt(work)
    threads = [] if dry_run else [threading.Thread(target=_carry, args=(work,), daemon=True) for _ in range(in_flight)]
    if threads:
        with asking.refusals(work.wanted):
            blocking.run(work.wanted.connect().close())
    for thread in threads:
        thread.start()
    with progress_of(size) as progress:
        for line in lines.read(stream, before.lines, before.offset):
            with work.lock:
                work.resume.begun(line.number)
            if isinstance(line.request, Refusal):
                work.settled(line, line.request)
            elif dry_run:
                work.settled(line, None)
            elif not _handed(work, line):
                break
            progress.tell(line.end, work.accepted + before.accepted, work.refused)
            if work.stopped.is_set():
                break
        for _ in threads:
            _handed(work, None)
        for thread in threads:
            while thread.is_alive():
                thread.join(LOOK_S)
                progress.tell(None, work.accepted + before.accepted, work.refused)
    work.resume.write()


def _stop_on_interrupt(work: Work) -> None:
    """The first ends cleanly: what is on its way is waited for. One that comes a second later ends at once."""
    first_s: list[float] = []

    def stop(_number: int, _frame: Any) -> None:
        work.lose(KeyboardInterrupt())
        first_s.append(time.monotonic())
        if first_s[-1] - first_s[0] > PATIENCE_S:
            raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, stop)


def _handed(work: Work, line: Line | None) -> bool:
    """False when no more is wanted."""
    while True:
        if work.stopped.is_set():
            return False
        try:
            work.waiting.put(line, timeout=LOOK_S)
        except Full:
            continue
        return True


def _carry(work: Work) -> None:
    """One thread: takes lines until there are no more."""
    bus: blocking.Blocking | None = None
    try:
        for line in _lines(work):
            bus = _sent(work, line, bus)
    except BaseException as error:  # noqa: BLE001 - told by the main thread
        work.lose(error)
    finally:
        if bus is not None:
            blocking.run(bus.close())


def _lines(work: Work) -> Iterator[Line]:
    while True:
        try:
            line = work.waiting.get(timeout=LOOK_S)
        except Empty:
            if work.stopped.is_set():
                return
            continue
        if line is None or work.stopped.is_set():
            return
        yield line


def _sent(work: Work, line: Line, bus: blocking.Blocking | None) -> blocking.Blocking | None:
    """Accepted or refused; an outage is waited out for a while, for the key makes a repetition harmless."""
    assert not isinstance(line.request, Refusal)
    tries_left = TRIES_MAX
    while True:
        _hold(work)
        try:
            bus = bus or work.wanted.connect()
            client = Client(bus, reaching.actor(), blocking.call)
            blocking.run(client.tasks.submit(line.request, idempotency_key=line.key))
        except PointsmanError as error:
            if error.status == 429:
                work.held_until_s = time.monotonic() + (error.retry_after_s or 1)
                if work.stopped.is_set():
                    return bus
                continue
            if error.status not in PASSING:
                if error.status in (401, 403):
                    raise
                work.settled(line, lines.refusal_of(error))
                return bus
            lost: Exception = error
        except BusDenied:
            raise
        except BusError as error:
            lost = error
            if bus is not None:
                blocking.run(bus.close())
            bus = None
        else:
            work.settled(line, None)
            return bus
        tries_left -= 1
        if not tries_left or work.stopped.is_set():
            raise lost
        time.sleep(AGAIN_S * (TRIES_MAX - tries_left))


def _hold(work: Work) -> None:
    """While the system asks for patience, all wait."""
    while (left_s := work.held_until_s - time.monotonic()) > 0 and not work.stopped.is_set():
        time.sleep(min(left_s, LOOK_S))


def _conclude(work: Work, before: Mark, took_s: float, *, dry_run: bool) -> None:
    done = "are well formed" if dry_run else "accepted"
    rate = "" if dry_run else f" in {took_s:.1f} s, {work.accepted / max(took_s, 0.001):,.0f}/s"
    earlier = f" ({before.accepted:,} before)" if before.accepted else ""
    click.echo(f"{work.accepted:,} {done}{earlier}, {work.refused:,} refused{rate}", err=True)
    if work.wanted.form not in output.PEOPLE:
        click.echo(msgspec.json.encode({"accepted": work.accepted, "refused": work.refused}))
    if work.lost is not None:
        click.echo(f"pointsman: {work.resume.advice()}", err=True)
        with asking.refusals(work.wanted):
            raise work.lost
    if work.refused or before.refused:
        raise SystemExit(options.FAILED)
    work.resume.forget()
