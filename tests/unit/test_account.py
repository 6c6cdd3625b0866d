"""Whom the database runs as, on machines where this may not be tried."""

import os
from pathlib import Path

import pytest

from pointsman.services.runtime.embedded import account
from pointsman.services.runtime.embedded.account import Account

STRANGER = Account(uid=54_321, gid=54_321)


def test_root_lets_nobody_run_it_and_everyone_else_runs_it_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1_234)
    assert account.for_database().uid == 1_234 and account.for_database().is_current
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert account.for_database().uid != 0 and not account.for_database().is_current


def test_a_stranger_reaches_what_all_may_enter_and_nothing_below_a_closed_folder(tmp_path: Path) -> None:
    below = tmp_path / "closed" / "open"
    below.mkdir(parents=True)
    below.parent.chmod(0o700)
    assert account.reaches(STRANGER, Path("/usr/bin"))
    assert not account.reaches(STRANGER, below)
    program = below / "program"
    program.touch(0o755)
    assert not account.may_execute(STRANGER, program)
