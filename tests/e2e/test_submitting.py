"""From the request to the result: ways to submit, to wait and to be answered."""

import asyncio
import time

from tests.e2e.conftest import Fleet
from tests.support.rest import Rest
from tests.support.system_up import eventually


async def test_a_synchronous_server_answers_and_the_answer_is_the_result(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="ok", capabilities=["draw"])
    asked = fleet.task(payload={"text": "Grüße \U0001f682", "n": 12345678901234567}, capabilities=["draw"], priority=7)
    submitted = await admin.submit(asked)
    assert submitted.status == 202
    assert submitted.headers["Location"] == f"/api/task/{submitted.body['id']}"
    task = await admin.finished(submitted.body["id"])
    assert (task["status"], task["serverId"], task["owner"]) == ("COMPLETED", server.id, "ada")
    assert task["result"] == task["payload"] == asked["payload"]
    assert [(a["number"], a["outcome"], a["httpStatus"]) for a in task["attempts"]] == [(1, "succeeded", 200)]
    assert task["createdAt"] <= task["startedAt"] <= task["finishedAt"]


async def test_what_the_backend_is_sent(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="ok", apiKey="a key of the backend")
    task = await admin.done(fleet.task(priority=3, payload={"a": 1}))
    stats = await server.backend.stats()
    body, headers = stats["lastBody"], stats["lastHeaders"]
    assert body["task_id"] == task["id"] == headers["x-pointsman-task-id"]
    assert body["request"] == {"type": "e2e", "priority": 3, "payload": {"a": 1}, "capabilities": [], "async": True}
    assert (body["attempt"], headers["x-pointsman-attempt"]) == (1, "1")
    assert headers["authorization"] == "Bearer a key of the backend"
    assert {"x-pointsman-attempt-token", "x-pointsman-deadline", "x-pointsman-start-by"} <= set(headers)
    assert {"webhook-id", "webhook-timestamp", "webhook-signature", "traceparent"} <= set(headers)
    assert body["callback_url"].startswith("http://127.0.0.1:")


async def test_an_asynchronous_server_calls_back(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="accepted:50")
    task = await admin.done(fleet.task(payload={"n": 1}))
    assert (task["status"], task["result"]) == ("COMPLETED", {"n": 1})
    assert len(task["attempts"]) == 1

    async def called_back() -> list[int]:
        return [callback["status"] for callback in (await server.backend.stats())["callbacks"]]

    assert await eventually(called_back, "the backend notes its callback's answer") == [200]


async def test_a_client_that_prefers_to_wait_gets_the_end(admin: Rest, fleet: Fleet) -> None:
    await fleet.server(mode="slow:200")
    answer = await admin.submit(fleet.task(payload={"n": 1}), wait=20)
    assert (answer.status, answer.body["status"], answer.body["result"]) == (200, "COMPLETED", {"n": 1})
    assert answer.headers["Preference-Applied"] == "wait=20"


async def test_a_client_whose_patience_ends_gets_the_state(admin: Rest, fleet: Fleet) -> None:
    await fleet.server(mode="slow:3000")
    answer = await admin.submit(fleet.task(), wait=1)
    assert (answer.status, answer.body["status"]) == (202, "PROCESSING")
    await admin.call("DELETE", f"/api/task/{answer.body['id']}", expect=(200,))


async def test_async_false_waits_without_a_preference(admin: Rest, fleet: Fleet) -> None:
    await fleet.server(mode="slow:200")
    answer = await admin.submit(fleet.task(**{"async": False}))
    assert (answer.status, answer.body["status"]) == (200, "COMPLETED")


async def test_the_envelope_of_a_result_is_opened(admin: Rest, fleet: Fleet) -> None:
    await fleet.server()
    task = await admin.done(fleet.task("success-json", payload={"n": 1}))
    assert task["result"] == {"behave": "success-json", "n": 1}
    task = await admin.done(fleet.task("error-json", maxAttempts=1))
    assert (task["status"], task["error"], task["errorCode"]) == ("FAILED", "the model refused", "REFUSED")


async def test_a_repeated_key_is_answered_with_the_first_task(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server()
    asked, key = fleet.task(payload={"n": 1}), f"key of {fleet.pool}".replace(" ", "-")
    first, *others = await asyncio.gather(*(admin.submit(asked, key=key) for _ in range(8)))
    assert {reply.body["id"] for reply in others} == {first.body["id"]}
    assert sum(reply.headers.get("Idempotency-Replayed") == "true" for reply in (first, *others)) == 7
    await admin.finished(first.body["id"])
    late = await admin.submit(asked, key=key)
    assert (late.status, late.body["id"], late.headers["Idempotency-Replayed"]) == (202, first.body["id"], "true")
    assert (await admin.submit(fleet.task(payload={"n": 2}), key=key)).is_problem(422)
    assert (await server.backend.stats())["calls"] == 1


async def test_in_a_batch_each_item_stands_for_itself(admin: Rest, fleet: Fleet) -> None:
    await fleet.server()
    good, bad = fleet.task(payload={"n": 1}), fleet.task(priority=11)
    answer = await admin.call("POST", "/api/tasks/batch", {"tasks": [good, bad, good, 7]}, expect=(200,))
    first, second, third, fourth = answer.body["results"]
    assert (first["status"], third["status"]) == ("PENDING", "PENDING")
    assert "priority" in second["error"]
    assert fourth["error"]
    assert first["id"] != third["id"]
    for item in (first, third):
        assert (await admin.finished(item["id"]))["status"] == "COMPLETED"
    too_many = {"tasks": [good] * 1001}
    assert (await admin.call("POST", "/api/tasks/batch", too_many)).is_problem(400, "tasks")


async def test_a_large_batch_ends_completely(admin: Rest, fleet: Fleet) -> None:
    await fleet.server(maxConcurrent=50)
    tasks = [fleet.task(payload={"n": n}) for n in range(300)]
    answer = await admin.call("POST", "/api/tasks/batch", {"tasks": tasks}, expect=(200,))
    ended = await asyncio.gather(*(admin.finished(item["id"]) for item in answer.body["results"]))
    assert [task["result"]["n"] for task in ended] == list(range(300))


async def test_a_task_waits_for_its_time(admin: Rest, fleet: Fleet) -> None:
    await fleet.server()
    run_at = round(time.time() * 1000) + 1200
    at, delayed = await asyncio.gather(admin.submit(fleet.task(runAt=run_at)), admin.submit(fleet.task(delayMs=1000)))
    assert (at.body["waitingFor"], at.body["runAt"]) == ("schedule", run_at)
    first, second = await asyncio.gather(admin.finished(at.body["id"]), admin.finished(delayed.body["id"]))
    assert run_at <= first["startedAt"] < run_at + 1500
    assert second["createdAt"] + 1000 <= second["startedAt"] < second["createdAt"] + 2500


async def test_a_client_with_the_current_revision_is_told_so(admin: Rest, fleet: Fleet) -> None:
    await fleet.server()
    task = await admin.done(fleet.task())
    path = f"/api/task/{task['id']}"
    tag = (await admin.call("GET", path, expect=(200,))).headers["ETag"]
    fresh = await admin.call("GET", path, headers={"If-None-Match": tag}, expect=(304,))
    assert (fresh.text, fresh.headers["ETag"]) == ("", tag)
    await admin.call("GET", path, headers={"If-None-Match": '"other"'}, expect=(200,))
