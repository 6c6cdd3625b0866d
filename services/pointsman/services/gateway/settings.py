"""What the settings routes do: name and body in one argument, the revision as an entity tag both ways."""

from collections.abc import Callable

import msgspec

from pointsman.client.call import call
from pointsman.contracts.subjects import HEADER_REVISION, verb
from pointsman.services.gateway.asking import call_unwrapped
from pointsman.services.gateway.conditions import etag, if_match
from pointsman.services.gateway.intake import one_json_value
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Act, Incoming, Ports

Names = Callable[[Incoming], dict[str, object]]


def pool(incoming: Incoming) -> dict[str, object]:
    return {"pool": incoming.id}


def task_type(incoming: Incoming) -> dict[str, object]:
    return {"type": incoming.id}


def limited(incoming: Incoming) -> dict[str, object]:
    return {"kind": incoming.kind, "name": incoming.id}


def steer(name: str, named: Names, body: str = "") -> Act:
    """Ask a verb of the balancer about what the path names; `body` is the field under which it takes the body."""
    subject = verb("balancer", name)

    async def act(ports: Ports, incoming: Incoming) -> Reply:
        argument = named(incoming)
        revision = if_match(incoming.headers)
        if revision is not None:
            argument["ifMatch"] = revision
        if body:
            argument[body] = msgspec.Raw(one_json_value(incoming.body))
            answer = await call_unwrapped(ports, incoming, subject, msgspec.json.encode(argument), body)
        else:
            answer = await call(ports.bus, subject, msgspec.json.encode(argument), incoming.actor)
        return Reply(200, answer.data, [(b"etag", etag(answer.headers.get(HEADER_REVISION, "")))])

    return act
