"""Submitting a file, against a system that is slow, full, away or gone for good."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from pointsman.cli import submitting_many
from pointsman.cli.asking import Wanted
from pointsman.cli.given import Given
from pointsman.client.blocking import Blocking
from pointsman.client.bus import BusDown, Headers, Message
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError, invalid, overloaded, unavailable
from pointsman.contracts.subjects import HEADER_ERROR_CODE, HEADER_IDEMPOTENCY_KEY
from pointsman.services.gateway import examples

TASK = json.dumps(examples.COMPLETED_TASK, default=dict).encode()


class System:
    """Keeps keys; `trouble` says by the count of requests what one is answered with instead."""

    def __init__(self, trouble: Callable[[int], Exception | None] = lambda _count: None) -> None:
        self.keys: Counter[str] = Counter()
        self.count = self.running = self.peak = 0
        self.asked_s: list[float] = []
        self._trouble = trouble
        self._lock = threading.Lock()

    def take(self, key: str) -> Message:
        with self._lock:
            self.count += 1
            self.running += 1
            self.peak = max(self.peak, self.running)
            self.asked_s.append(time.monotonic())
            trouble = self._trouble(self.count)
        time.sleep(0.001)
        with self._lock:
            self.running -= 1
            if trouble is None:
                self.keys[key] += 1
        if isinstance(trouble, PointsmanError):
            return Message("", encode(trouble.problem()), {HEADER_ERROR_CODE: str(trouble.status)})
        if trouble is not None:
            raise trouble
        return Message("", TASK, {})


class Bus(Blocking):
    def __init__(self, system: System) -> None:
        self._system = system

    async def request(
        self, subject: str, data: bytes, *, headers: Headers | None = None, timeout_s: float = 5.0
    ) -> Message:
        return self._system.take((headers or {})[HEADER_IDEMPOTENCY_KEY])

    async def close(self) -> None:
        pass


class There(Wanted):
    def __init__(self, system: System) -> None:
        super().__init__(Given(url="nats://nowhere"))
        self._system = system

    def connect(self) -> Blocking:
        return Bus(self._system)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting_many, "AGAIN_S", 0.001)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps({"type": "a", "payload": {"n": number}}) + "\n" for number in range(300)))
    return path


def submit(system: System, file: Path, **given: Any) -> int:
    options: dict[str, Any] = {"in_flight": 8, "resume": None, "dry_run": False} | given
    try:
        submitting_many.submit(There(system), file, **options)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_so_many_are_on_their_way_and_no_more(file: Path) -> None:
    system = System()
    assert submit(system, file, in_flight=5) == 0
    assert (len(system.keys), 2 <= system.peak <= 5) == (300, True)


def test_all_wait_while_the_system_asks_for_patience(file: Path) -> None:
    system = System(lambda count: overloaded("full", 1) if count == 50 else None)
    assert submit(system, file) == 0
    assert len(system.keys) == 300
    gaps = [later - earlier for earlier, later in zip(system.asked_s, system.asked_s[1:], strict=False)]
    assert max(gaps) > 0.8


@pytest.mark.parametrize("outage", [unavailable("no leader"), BusDown("reset")])
def test_an_outage_is_waited_out(outage: Exception, file: Path) -> None:
    system = System(lambda count: outage if 100 <= count < 120 else None)
    assert submit(system, file) == 0
    assert len(system.keys) == 300


def test_a_system_that_stays_away_is_69_and_the_same_command_goes_on(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "mark"
    gone = System(lambda count: BusDown("gone") if count > 150 else None)
    assert submit(gone, file, resume=mark) == 69
    assert "the same command again goes on" in capsys.readouterr().err
    kept = json.loads(mark.read_text())
    assert 0 < kept["lines"] <= 150
    back = System()
    assert submit(back, file, resume=mark) == 0
    assert len(back.keys) == 300 - kept["lines"]
    assert len(gone.keys | back.keys) == 300
    assert not mark.exists()


def test_what_is_refused_is_told_with_its_line_and_not_tried_again(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = System(lambda count: invalid("payload", "too odd") if count == 10 else None)
    assert submit(system, file, in_flight=1) == 1
    said = capsys.readouterr().err
    assert "line 10: payload: too odd" in said and "299 accepted, 1 refused" in said


def test_who_may_not_submit_is_told_once(file: Path) -> None:
    system = System(lambda _count: PointsmanError(403, "User role required"))
    assert submit(system, file) == 5
    assert system.count <= 16


def test_an_interrupt_ends_it_cleanly_and_says_what_was_accepted(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(count: int) -> None:
        if count == 100:
            signal.raise_signal(signal.SIGINT)

    import signal

    mark = tmp_path / "mark"
    system = System(interrupt)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert submit(system, file, resume=mark) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().err
    assert f"{len(system.keys)} accepted" in said and 100 <= len(system.keys) < 300
    rest = System()
    assert submit(rest, file, resume=mark) == 0
    assert len(system.keys | rest.keys) == 300


def test_an_empty_file_and_one_that_is_not_there(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert submit(System(), empty) == 0
    assert submit(System(), tmp_path / "nothing") == 2
    with pytest.raises(click.UsageError):
        from pointsman.cli import submitting

        submitting.submit(There(System()), "resize", empty, dict.fromkeys(submitting.ONE_ALONE))
