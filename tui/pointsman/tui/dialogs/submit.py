"""Submit one task by hand; its payload goes out exactly as it was typed."""

from typing import ClassVar

import msgspec

from pointsman.contracts.json_limits import check_object
from pointsman.contracts.task import PAYLOAD_BYTES_MAX, Task, TaskRequest
from pointsman.tui.acts import Act, Verb
from pointsman.tui.dialogs.form import Field, FormDialog, labelled, listed, numeral

NUMBERS = ("priority", "delayMs", "timeoutMs", "deadlineMs", "maxAttempts")
TEXTS = ("type", "pool", "fairnessKey", "concurrencyKey", "affinityKey")
EMPTY = b"{}"


class SubmitDialog(FormDialog[TaskRequest]):
    TITLE_TEXT = "Submit a task"
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("type", "type", "resize-image", is_required=True),
        Field("payload", "payload (JSON)", '{"url": "s3://in/1.png"}'),
        Field("pool", "pool", "that of its type, else default"),
        Field("priority", "priority", "0 to 10, higher first"),
        Field("capabilities", "capabilities", "what its server must be able to do: gpu"),
        Field("labels", "labels", "team=a, env=prod"),
        Field("delayMs", "delay, ms", "not before this has passed"),
        Field("timeoutMs", "attempt, ms", "how long one attempt may take"),
        Field("deadlineMs", "deadline, ms", "how long it may take in all"),
        Field("maxAttempts", "attempts", "1 to 100"),
        Field("concurrencyKey", "concurrency key", "what it shares a limit with"),
    )

    def made(self, values: dict[str, str]) -> TaskRequest:
        given: dict[str, object] = {name: values[name] for name in TEXTS if values.get(name)}
        given |= {name: numeral(values[name], name) for name in NUMBERS if values[name]}
        if values["capabilities"]:
            given["capabilities"] = listed(values["capabilities"])
        if values["labels"]:
            given["labels"] = labelled(values["labels"], "labels")
        payload = values["payload"].encode() or EMPTY
        check_object(payload, "payload", PAYLOAD_BYTES_MAX)
        if "type" not in given:
            given["type"] = "x"
        request = msgspec.convert(given, TaskRequest)
        return msgspec.structs.replace(request, payload=msgspec.Raw(payload))

    def act_of(self, request: TaskRequest) -> Act:
        return Act(verb=Verb.SUBMIT, task=request)


def given_of(task: Task) -> dict[str, str]:
    """The fields of a task that there is, to submit it again with changes."""
    payload = bytes(task.payload).decode()
    return {
        "type": task.type,
        "payload": "" if payload in ("{}", "null") else payload,
        "pool": task.pool,
        "priority": str(task.priority),
        "capabilities": ", ".join(task.capabilities),
        "labels": ", ".join(f"{name}={value}" for name, value in task.labels.items()),
        "timeoutMs": str(task.timeout_ms),
        "maxAttempts": str(task.max_attempts),
    }
