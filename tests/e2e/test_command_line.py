"""The command line beside a running system."""

import asyncio
import os
from pathlib import Path

from tests.support.system_up import COMMAND, SystemUp

WITHIN_S = 20.0


async def run(*arguments: str, **env: str) -> tuple[int, str]:
    """Exit code and everything printed."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("POINTSMAN_")}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env=inherited | env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def test_a_second_up_is_told_at_once_who_has_the_folder(system: SystemUp) -> None:
    code, printed = await run("up", "--port", "0", "--data-dir", str(system.data_dir))
    assert (code, "is in use by process" in printed) == (1, True)


async def test_the_doctor_finds_a_running_system_well(system: SystemUp) -> None:
    code, printed = await run("doctor", POINTSMAN_DATA_DIR=str(system.data_dir))
    assert (code, "syncs each write" in printed, "\u2717" in printed) == (0, True, False), printed


async def test_the_doctor_of_a_folder_on_which_nothing_runs_looks_nowhere_else(tmp_path: Path) -> None:
    code, printed = await run("doctor", "--data-dir", str(tmp_path))
    assert (code, "nothing runs on" in printed, "NATS" in printed) == (1, True, False)


async def test_tokens_are_refused_in_one_line(tmp_path: Path) -> None:
    folder = ("--data-dir", str(tmp_path))
    for arguments, said in (
        (("--role", "admin", "--sub", "me", *folder), "jwt_secret: not set"),
        (("--role", "king", "--sub", "me"), "'king' is not one of"),
        (("--role", "admin", "--sub", "me", "--ttl", "2y"), "is no duration"),
        (("--role", "admin"), "--sub"),
        (("--role", "admin", "--sub", ""), "'--sub': must be 1-255"),
        (("--role", "admin", "--sub", "a\nb"), "'--sub': must be 1-255"),
    ):
        code, printed = await run("token", *arguments)
        assert (code, said in printed, "Traceback" in printed) == (2, True, False), printed


async def test_every_setting_is_shown_and_no_secret(system: SystemUp) -> None:
    code, printed = await run("settings", "--data-dir", str(system.data_dir))
    secret = (system.data_dir / "jwt-secret").read_text().strip()
    assert (code, secret in printed) == (0, False)
    assert "POINTSMAN_RESULT_TTL_S" in printed
