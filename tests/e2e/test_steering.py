"""Cancel, retry, extend, progress, deadlines; late and repeated words of a backend."""

from tests.e2e.conftest import Fleet
from tests.support.rest import Json, Rest
from tests.support.system_up import eventually


async def called(admin: Rest, server_stats: Json) -> str:
    """Path and query of the callback that the last call was given."""
    url = str(server_stats["lastBody"]["callback_url"])
    return url[url.index("/api/") :]


async def in_attempt(admin: Rest, task_id: str, number: int = 1) -> Json:
    async def running() -> Json | None:
        task = await admin.task(task_id)
        return task if task["status"] == "PROCESSING" and task["attempt"] == number else None

    found: Json = await eventually(running, f"{task_id} runs its attempt {number}")
    return found


async def test_a_waiting_task_is_cancelled(admin: Rest, fleet: Fleet) -> None:
    task_id = await admin.accepted(fleet.task())
    answer = await admin.call("POST", f"/api/task/{task_id}/cancel", {"reason": "changed my mind"}, expect=(200,))
    assert answer.body == {"id": task_id, "status": "CANCELLED", "success": True, "message": "Task cancelled"}
    task = await admin.task(task_id)
    assert (task["status"], task["error"], task["attempts"]) == ("CANCELLED", "changed my mind", [])
    await admin.call("DELETE", f"/api/task/{task_id}", expect=(200,))


async def test_a_running_task_is_cancelled_and_its_call_closed(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="hang", cancel=True)
    task_id = await admin.accepted(fleet.task())
    await in_attempt(admin, task_id)
    await admin.call("DELETE", f"/api/task/{task_id}", expect=(200,))
    assert (await admin.task(task_id))["status"] == "CANCELLED"

    async def told() -> bool:
        stats = await server.backend.stats()
        return bool(stats["hungUp"] == 1 and stats["deletes"] == [task_id])

    await eventually(told, "the backend was hung up on and asked to cancel")


async def test_an_ended_task_cannot_be_cancelled(admin: Rest, fleet: Fleet) -> None:
    await fleet.server()
    task = await admin.done(fleet.task())
    assert (await admin.call("POST", f"/api/task/{task['id']}/cancel", {})).is_problem(409, "COMPLETED")
    assert (await admin.task(task["id"]))["status"] == "COMPLETED"


async def test_a_failed_task_is_retried_by_hand_as_its_next_generation(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="fail:400")
    task = await admin.done(fleet.task(payload={"n": 1}))
    assert (task["status"], task["generation"]) == ("FAILED", 1)
    await server.backend.set_mode("ok")
    answer = await admin.call("POST", f"/api/task/{task['id']}/retry", {}, expect=(202,))
    assert (answer.body["status"], answer.body["message"]) == ("PENDING", "Task queued for retry")
    again = await admin.finished(task["id"])
    assert (again["status"], again["generation"], again["result"]) == ("COMPLETED", 2, {"n": 1})
    assert (await admin.call("POST", f"/api/task/{task['id']}/retry", {})).is_problem(409)


async def test_a_late_answer_cannot_finish_a_task_that_moved_on(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="accepted-silent")
    task_id = await admin.accepted(fleet.task(timeoutMs=1500, maxAttempts=3))
    await in_attempt(admin, task_id, 1)
    first = await eventually(lambda: _callback_of(admin, server.backend, 1), "the first call")
    await in_attempt(admin, task_id, 2)
    second = await eventually(lambda: _callback_of(admin, server.backend, 2), "the second call")
    late, right = {"status": "COMPLETED", "result": "late"}, {"status": "COMPLETED", "result": "right"}
    assert (await admin.call("PUT", first, late)).is_problem(409)
    assert (await admin.task(task_id))["status"] == "PROCESSING"
    done = await admin.call("PUT", second, right, expect=(200,))
    assert (done.body["status"], done.body["message"], done.body["cancel"]) == ("COMPLETED", "Task updated", False)
    task = await admin.task(task_id)
    again = await admin.call("PUT", second, right, expect=(200,))
    assert again.body["updatedAt"] == done.body["updatedAt"]
    assert (await admin.call("PUT", second, {"status": "COMPLETED", "result": "other"})).is_problem(409)
    assert (await admin.call("PUT", first, late)).is_problem(409)
    assert await admin.task(task_id) == task
    assert (task["result"], [a["outcome"] for a in task["attempts"]]) == ("right", ["timed-out", "succeeded"])


async def _callback_of(admin: Rest, backend: "object", attempt: int) -> str | None:
    stats: Json = await backend.stats()  # type: ignore[attr-defined]
    return await called(admin, stats) if stats["lastBody"].get("attempt") == attempt else None


async def test_a_backend_reports_progress_asks_for_more_time_and_fails_for_good(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="accepted-silent")
    task_id = await admin.accepted(fleet.task(timeoutMs=2000, maxAttempts=5))
    callback = await eventually(lambda: _callback_of(admin, server.backend, 1), "the call")
    told = await admin.call("PUT", callback, {"status": "PROCESSING", "progress": 40}, expect=(200,))
    assert told.body["status"] == "PROCESSING"
    assert (await admin.task(task_id))["progress"] == 40
    path, _, query = callback.partition("?")
    extended = await admin.call("POST", f"{path}/extend?{query}", {"seconds": 60, "progress": 50}, expect=(200,))
    assert extended.body["cancel"] is False
    assert extended.body["deadline"] > told.body["deadline"] + 50_000
    task = await admin.task(task_id)
    assert (task["status"], task["progress"]) == ("PROCESSING", 50)

    failed = {"status": "FAILED", "error": "out of ink", "code": "INK", "final": True}
    await admin.call("PUT", callback, failed, expect=(200,))
    task = await admin.task(task_id)
    assert (task["status"], task["error"], task["errorCode"]) == ("FAILED", "out of ink", "INK")
    assert (await admin.call("POST", f"{path}/extend?{query}", {"seconds": 60})).is_problem(409)
    assert (await admin.call("PUT", path + "?token=forged", failed)).status == 401


async def test_an_extended_attempt_outlives_its_first_timeout(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="accepted-silent")
    short = await admin.accepted(fleet.task(timeoutMs=1500, maxAttempts=1, deadlineMs=60_000))
    callback = await eventually(lambda: _callback_of(admin, server.backend, 1), "the call")
    path, _, query = callback.partition("?")
    await admin.call("POST", f"{path}/extend?{query}", {"seconds": 30}, expect=(200,))
    other = await admin.done(fleet.task("accepted-silent", timeoutMs=2000, maxAttempts=1))
    assert other["status"] == "TIMEOUT"
    assert (await admin.task(short))["status"] == "PROCESSING"
    await admin.call("PUT", callback, {"status": "COMPLETED", "result": 1}, expect=(200,))


async def test_a_reported_failure_is_retried(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="accepted-silent")
    task_id = await admin.accepted(fleet.task(maxAttempts=2))
    callback = await eventually(lambda: _callback_of(admin, server.backend, 1), "the call")
    await server.backend.set_mode("ok")
    failed = {"status": "FAILED", "error": "once"}
    await admin.call("PUT", callback, failed, expect=(200,))
    task = await admin.finished(task_id)
    assert [(a["outcome"], a["error"]) for a in task["attempts"]] == [("failed", "once"), ("succeeded", None)]


async def test_a_task_whose_deadline_passes_while_it_waits_times_out(admin: Rest, fleet: Fleet) -> None:
    task = await admin.done(fleet.task(deadlineMs=800))
    assert (task["status"], task["attempts"]) == ("TIMEOUT", [])
    assert "deadline" in task["error"]
    assert 750 <= task["finishedAt"] - task["createdAt"] < 4000
