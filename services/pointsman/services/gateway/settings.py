"""What the settings routes do: name and body in one argument, the revision as an entity tag both ways."""

from collections.abc import Callable

import msgspec

from pointsman.client.call import call
from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.base import Request, encode
from pointsman.contracts.steering import PlanPool
from pointsman.contracts.subjects import HEADER_REVISION, verb
from pointsman.services.gateway.asking import call_unwrapped
from pointsman.services.gateway.conditions import etag, if_match, operation
from pointsman.services.gateway.intake import one_json_value
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Act, Incoming, Ports

Names = Callable[[Incoming], dict[str, object]]


def pool(incoming: Incoming) -> dict[str, object]:
    return {"pool": incoming.id}


class PlanQuery(Request):
    """The algorithm that the plan is for, else the one that pools have by default; an unknown one is refused with the list."""

    algorithm: str = Algorithm.RESPONSE_TIME


async def plan(ports: Ports, incoming: Incoming) -> Reply:
    assert isinstance(incoming.query, PlanQuery)
    argument = PlanPool(pool=incoming.id, algorithm=incoming.query.algorithm)
    answer = await call(ports.bus, verb("balancer", "pool.plan"), encode(argument), incoming.actor)
    return Reply(200, answer.data)


def task_type(incoming: Incoming) -> dict[str, object]:
    return {"type": incoming.id}


def limited(incoming: Incoming) -> dict[str, object]:
    return {"kind": incoming.kind, "name": incoming.id}


def steer(name: str, named: Names, body: str = "") -> Act:
    """Ask a verb of the balancer about what the path names; `body` is the field under which it takes the body."""
    subject = verb("balancer", name)

    async def act(ports: Ports, incoming: Incoming) -> Reply:
        argument = named(incoming)
        revision, headers = if_match(incoming.headers), operation(incoming.headers)
        if revision is not None:
            argument["ifMatch"] = revision
        if body:
            argument[body] = msgspec.Raw(one_json_value(incoming.body))
            data = msgspec.json.encode(argument)
            answer = await call_unwrapped(ports, incoming, subject, data, body, headers=headers)
        else:
            answer = await call(ports.bus, subject, msgspec.json.encode(argument), incoming.actor, headers=headers)
        return Reply(200, answer.data, [(b"etag", etag(answer.headers.get(HEADER_REVISION, "")))])

    return act
