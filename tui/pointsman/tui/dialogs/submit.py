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
NOT_TOLD = "a new task; not taken over: callbackUrl, retry, keys, deadline, async"
"""What a task does not say of how it was submitted."""


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

    def __init__(self, like: Task | None = None) -> None:
        """`like`: a task to submit again with changes."""
        super().__init__(given_of(like) if like else None)
        self._like = like

    def on_mount(self) -> None:
        super().on_mount()
        if self._like:
            box = self.query_one("#box")
            box.border_title = f" Submit a task like {self._like.id} on {self.cockpit.options.system.name} "
            box.border_subtitle = f" {NOT_TOLD} "

    def made(self, values: dict[str, str]) -> TaskRequest:
        given: dict[str, object] = {name: values[name] for name in TEXTS if values.get(name)}
        given |= {name: numeral(values[name], name) for name in NUMBERS if values[name]}
        if values["capabilities"]:
            given["capabilities"] = listed(values["capabilities"])
        if values["labels"]:
            given["labels"] = self._labels(values["labels"])
        payload = values["payload"].encode() or EMPTY
        check_object(payload, "payload", PAYLOAD_BYTES_MAX)
        if "type" not in given:
            given["type"] = "x"
        request = msgspec.convert(given, TaskRequest)
        return msgspec.structs.replace(request, payload=msgspec.Raw(payload))

    def _labels(self, text: str) -> dict[str, str]:
        """Those of the task as they are while nobody changed them: a label may hold what separates labels here."""
        if self._like and text == shown_labels(self._like).strip():
            return self._like.labels
        return labelled(text, "labels")

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
        "labels": shown_labels(task),
        "timeoutMs": str(task.timeout_ms),
        "maxAttempts": str(task.max_attempts),
    }


def shown_labels(task: Task) -> str:
    return ", ".join(f"{name}={value}" for name, value in task.labels.items())
