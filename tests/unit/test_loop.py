"""Background work: an outage is told in one line, a bug with its traceback, and neither ends the loop."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from pointsman.client.bus import BusDown
from pointsman.contracts.errors import unavailable
from pointsman.services.runtime.loop import Background, gather_all


async def logged_of(error: Exception, run: Callable[[Background, Exception], object]) -> dict[str, object]:
    background = Background()
    with capture_logs() as lines:
        run(background, error)
        async with asyncio.timeout(5):
            while not lines:
                await asyncio.sleep(0)
    await background.stop()
    return dict(lines[0])


def once(background: Background, error: Exception) -> None:
    async def work() -> None:
        raise error

    background.run(work(), "work")


def again_and_again(background: Background, error: Exception) -> None:
    async def step() -> None:
        raise error

    background.every(0.0, step, "steps")


@pytest.mark.parametrize("run", [once, again_and_again])
@pytest.mark.parametrize("error", [BusDown("gone"), unavailable("gone"), TimeoutError("gone")])
async def test_an_outage_is_told_without_a_traceback(
    error: Exception, run: Callable[[Background, Exception], object]
) -> None:
    line = await logged_of(error, run)
    assert line["log_level"] == "warning"
    assert line["error"] == "gone"
    assert "exc_info" not in line


@pytest.mark.parametrize("run", [once, again_and_again])
async def test_a_bug_is_told_with_its_traceback(run: Callable[[Background, Exception], object]) -> None:
    line = await logged_of(KeyError("bug"), run)
    assert line["log_level"] == "error"
    assert line["exc_info"]


async def test_a_failing_step_does_not_end_its_loop() -> None:
    background, ran = Background(), asyncio.Event()
    steps: list[int] = []

    async def step() -> None:
        steps.append(len(steps))
        if len(steps) == 3:
            ran.set()
        raise BusDown("gone") if len(steps) == 1 else ValueError("bug")

    with capture_logs():
        background.every(0.0, step, "steps")
        async with asyncio.timeout(5):
            await ran.wait()
        await background.stop()


async def test_the_first_failure_of_several_works_is_raised_as_it_is() -> None:
    async def fails() -> int:
        raise BusDown("gone")

    async def waits() -> int:
        await asyncio.Event().wait()
        return 1

    with pytest.raises(BusDown, match="gone"):
        await gather_all([waits(), fails()])
