"""A cockpit before a real system: the trace of a task with three attempts, one of which was answered too late."""

from contextlib import aclosing

from pointsman.client import nats_bus
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.task import Task
from pointsman.tui.app import Cockpit
from pointsman.tui.following import follow
from pointsman.tui.options import Address, Options, System
from pointsman.tui.screens.trace import TraceScreen
from pointsman.tui.widgets.pager import Pager
from tests.e2e.conftest import Fleet
from tests.support.rest import Rest
from tests.support.system_up import SystemUp, eventually

OPERATOR = Actor(sub="ops", roles=(Role.OPERATOR,))
COMPLETE_WITHIN_S = 1.0
COMPLETE = ("✓ DONE", "attempt 3 on", "late answer", "said succeeded of attempt 1: refused", "completed")
RETRY = {"baseMs": 3_500, "maxMs": 3_500, "jitter": 0}


async def test_a_trace_is_complete_a_second_after_its_task_has_ended(
    system: SystemUp, admin: Rest, fleet: Fleet
) -> None:
    server = await fleet.server("slow", mode="accepted:3500")
    url, user, password = system.nats
    bus = await nats_bus.connect(url, name="test", user=user, password=password)
    client = Client(bus, OPERATOR)
    app = Cockpit(Options(System(lambda: Address(url, user, password)), screen="tasks"))
    try:
        async with app.run_test(size=(120, 36)) as pilot:
            task = fleet.task(timeoutMs=500, maxAttempts=3, retry=RETRY)
            task_id = (await admin.call("POST", "/api/task", task, expect=(202,))).body["id"]
            await eventually(lambda: _true(app.client is not None), "the cockpit is connected")
            await app.push_screen(TraceScreen(task_id))
            ended = 0
            async with aclosing(follow(client, task_id)) as told:
                async for seen in told:
                    ended = await _steer(server.backend, seen, ended)
                    if seen.status is Status.COMPLETED:
                        break

            async def shown() -> str:
                text = app.screen.query_one(Pager).whole_text
                assert all(one in text for one in COMPLETE), text
                return text

            text = await eventually(shown, "the trace is complete", within_s=COMPLETE_WITHIN_S)
            assert "✗ TIMEOUT" in text
            assert "✗ FAILED" in text
            assert "which was refused" in text
            assert f"{fleet.pool}-slow" in text
            assert "response-time, the only one free" in text
            await pilot.press("escape")
    finally:
        await bus.close()


async def _steer(backend: object, seen: Task, ended: int) -> int:
    """The first attempt is accepted and answered too late, the second fails, the third is done."""
    now = sum(one.finished_at is not None for one in seen.attempts)
    if now > ended:
        await backend.set_mode({1: "fail:500", 2: "ok"}.get(now, "ok"))  # type: ignore[attr-defined]
    return max(now, ended)


async def _true(is_so: bool) -> bool:
    return is_so
