"""Register a server by hand."""

from typing import ClassVar

import msgspec

from pointsman.contracts.server import ServerRequest
from pointsman.tui.acts import Act, Verb
from pointsman.tui.dialogs.form import Field, FormDialog, labelled, listed, mistake, numeral

NUMBERS = ("maxConcurrent", "weight", "priority")
LISTS = ("capabilities", "groups")
MANNERS = {"": True, "callback": True, "sync": False}
TEXTS = ("id", "name", "url", "pool", "version", "apiKey")


class RegisterDialog(FormDialog[ServerRequest]):
    TITLE_TEXT = "Register a server"
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("id", "id", "letters, digits . _ -; made up when empty"),
        Field("url", "url", "https://gpu-1:9000 - tasks go to /predict, probes to /health", is_required=True),
        Field("pool", "pool", "default"),
        Field("maxConcurrent", "tasks at once", "10"),
        Field("weight", "weight", "1 to 1000; 1"),
        Field("priority", "priority", "0 to 10, higher ones are filled first; 1"),
        Field("capabilities", "capabilities", "what it can do: gpu, ocr"),
        Field("groups", "groups", "rack-3, eu-west"),
        Field("labels", "labels", "team=a, env=prod"),
        Field("apiKey", "api key", "sent to it as a bearer token; never shown again"),
        Field("async", "answers", "callback, or sync: with the result at once; callback"),
    )

    def made(self, values: dict[str, str]) -> ServerRequest:
        given: dict[str, object] = {name: values[name] for name in TEXTS if values.get(name)}
        given |= {name: listed(values[name]) for name in LISTS if values[name]}
        given |= {name: numeral(values[name], name) for name in NUMBERS if values[name]}
        if values["labels"]:
            given["labels"] = labelled(values["labels"], "labels")
        if values["async"] not in MANNERS:
            raise mistake("async", "callback or sync")
        return msgspec.convert(given | {"async": MANNERS[values["async"]]}, ServerRequest)

    def act_of(self, request: ServerRequest) -> Act:
        return Act(verb=Verb.REGISTER, server=request)
