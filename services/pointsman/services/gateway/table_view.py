"""The rows of the route table for who watches the cluster: frames as a stream, and what needs attention."""

from litestar.types import Send

from pointsman.contracts.alerts import AlertList, ListedAlert
from pointsman.contracts.frames import AcknowledgeRequest
from pointsman.services.gateway import examples
from pointsman.services.gateway.asking import ask, body, nothing
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.roles import FLEET_READERS, OPERATORS
from pointsman.services.gateway.route import Answer, Incoming, Ports, Route
from pointsman.services.gateway.sink import Sink
from pointsman.services.gateway.told import Told
from pointsman.services.gateway.view_hub import QUEUED_MAX

ALERTS = "Alerts"
ALERT = {
    "severity": "critical",
    "kind": "server-down",
    "subject": "gpu-1",
    "since": examples.CREATED_MS,
    "detail": "the health check failed: connection refused (3 checks failed in a row)",
    "screen": "servers",
    "acknowledgedBy": "alice",
    "note": "the rack is being moved",
}


async def frames(ports: Ports, incoming: Incoming) -> Reply:
    incoming.waited = True
    sink, view = Sink(QUEUED_MAX), ports.hub.view
    await view.join(sink, incoming.actor)
    return Told(200, sink=sink, source=view, greeting=b": pointsman frames\n\n", catch_up=_from_now_on)


async def _from_now_on(_send: Send) -> None:
    return


VIEW: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/alerts",
        name="listAlerts",
        tag=ALERTS,
        summary="What needs attention now, the worst first",
        roles=FLEET_READERS,
        act=ask("statistics", "alerts", nothing),
        answers={
            200: Answer(
                description="The alerts.", body=AlertList, example={"alerts": [ALERT], "asOf": examples.LATER_MS}
            )
        },
    ),
    Route(
        method="POST",
        path="/api/alerts/acknowledge",
        name="acknowledgeAlert",
        tag=ALERTS,
        summary="Say that somebody knows of an alert, or take that back; it stays listed until its cause is gone",
        roles=OPERATORS,
        act=ask("statistics", "acknowledge", body),
        request=AcknowledgeRequest,
        answers={200: Answer(description="Marked.", body=ListedAlert, example=ALERT)},
        errors=(404,),
        example={"kind": "server-down", "subject": "gpu-1", "note": "the rack is being moved"},
    ),
    Route(
        method="GET",
        path="/api/view/frames",
        name="watchFrames",
        tag=ALERTS,
        summary="What a cockpit is told, as JSON arrays: everything first, then what changes, several times a second",
        roles=FLEET_READERS,
        act=frames,
        answers={200: Answer(description="One frame per event.", media_type="text/event-stream")},
    ),
)
