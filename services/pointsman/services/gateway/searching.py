"""What the routes of search, bulk acts and audit do beyond asking."""

import msgspec

from pointsman.client.call import call
from pointsman.contracts.base import encode
from pointsman.contracts.search import Job, SearchTasks, TaskQuery
from pointsman.contracts.subjects import verb
from pointsman.services.gateway.asking import answered, call_unwrapped
from pointsman.services.gateway.conditions import operation
from pointsman.services.gateway.intake import one_json_value
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Act, Incoming, Ports

SEARCH, BULK = verb("history", "search"), verb("history", "bulk")
PAGING = ("limit", "cursor")
OPEN_FILTERS = ("labels.", "payload.")
_JOB = msgspec.json.Decoder(Job)


async def search(ports: Ports, incoming: Incoming) -> Reply:
    query = incoming.query
    assert isinstance(query, TaskQuery)
    filters = {name: value for name, value in incoming.parameters.items() if name not in PAGING}
    request = SearchTasks(filters=filters, limit=query.limit, cursor=query.cursor)
    answer = await call_unwrapped(ports, incoming, SEARCH, encode(request), "filters")
    return Reply(200, answer.data)


def bulk(kind: str) -> Act:
    """200 with the count of a dry run, 202 with the job that has begun."""

    async def act(ports: Ports, incoming: Incoming) -> Reply:
        data = b'{"kind":"%b","bulk":%b}' % (kind.encode(), one_json_value(incoming.body))
        headers = operation(incoming.headers)
        answer = await call_unwrapped(ports, incoming, BULK, data, "bulk", headers=headers)
        job = answered(_JOB, answer)
        if job.status == "COUNTED":
            return Reply(200, answer.data)
        return Reply(202, answer.data, [(b"location", b"/api/jobs/" + job.id.encode())])

    return act


async def job(ports: Ports, incoming: Incoming) -> Reply:
    answer = await call(ports.bus, verb("history", "job"), b'{"id":"%b"}' % incoming.id.encode(), incoming.actor)
    return Reply(200, answer.data)
