"""The routes of servers."""

from pointsman.contracts.actor import Role
from pointsman.contracts.bulk import MaintainManyAnswer, MaintainManyRequest
from pointsman.contracts.server import (
    CredentialAnswer,
    CredentialRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    MaintenanceAnswer,
    MaintenanceRequest,
    RegisterAnswer,
    Server,
    ServerChanged,
    ServerMetricsAnswer,
    ServerPage,
    ServerPatch,
    ServerQuery,
    ServerRequest,
    UnregisterAnswer,
)
from pointsman.services.gateway import examples, servers
from pointsman.services.gateway.asking import ask, ask_within, queried
from pointsman.services.gateway.roles import ADMINS, FLEET_READERS, OPERATORS
from pointsman.services.gateway.route import KIB, Answer, Id, Proof, Route

REGISTER_BYTES_MAX = 128 * KIB
BULK_BYTES_MAX = 192 * KIB
GUARDED = ("If-Match", "Idempotency-Key")
SERVERS = "Servers"

SERVER_ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/api/servers",
        name="registerServer",
        tag=SERVERS,
        summary="Register a server, or replace its configuration with If-Match",
        roles=ADMINS,
        act=servers.register,
        request=ServerRequest,
        body_bytes_max=REGISTER_BYTES_MAX,
        headers=("If-Match",),
        answers={
            201: Answer(
                description="Registered; the credential and the signing secret are shown this once.",
                body=RegisterAnswer,
                headers=("Location", "ETag"),
                example=examples.REGISTER_ANSWER,
            ),
            200: Answer(
                description="Known already with this configuration, or replaced.",
                body=RegisterAnswer,
                headers=("Location", "ETag"),
                example=examples.KNOWN_ANSWER,
            ),
        },
        errors=(409, 412, 422),
        example=examples.SERVER_REQUEST,
    ),
    Route(
        method="GET",
        path="/api/servers",
        name="listServers",
        tag=SERVERS,
        summary="List servers",
        roles=FLEET_READERS,
        act=ask("registry", "list", queried),
        query=ServerQuery,
        answers={
            200: Answer(
                description="A page of servers.",
                body=ServerPage,
                example={"servers": [examples.SERVER], "cursor": None},
            )
        },
    ),
    Route(
        method="GET",
        path="/api/servers/{id}",
        name="getServer",
        tag=SERVERS,
        summary="Read a server",
        roles=FLEET_READERS,
        act=servers.get,
        id=Id.SERVER,
        answers={200: Answer(description="The server.", body=Server, headers=("ETag",), example=examples.SERVER)},
    ),
    Route(
        method="POST",
        path="/api/servers/{id}/heartbeat",
        name="beatServer",
        tag=SERVERS,
        summary="Tell that a server lives, and how it is",
        roles=ADMINS | {Role.SERVICE},
        proof=Proof.SERVER_CREDENTIAL,
        act=servers.heartbeat,
        id=Id.SERVER,
        request=HeartbeatRequest,
        answers={
            200: Answer(
                description="Heard; what the server should stop.",
                body=HeartbeatAnswer,
                example=examples.HEARTBEAT_ANSWER,
            )
        },
        errors=(409,),
        example=examples.HEARTBEAT,
    ),
    Route(
        method="POST",
        path="/api/servers/{id}/credential",
        name="rotateCredential",
        tag=SERVERS,
        summary="Make a new credential and signing secret; the old ones stay valid for the grace period",
        roles=ADMINS,
        act=ask_within("registry", "credential", "rotation"),
        id=Id.SERVER,
        request=CredentialRequest,
        body_optional=True,
        answers={
            200: Answer(
                description="Rotated; the credential and the signing secret are shown this once.",
                body=CredentialAnswer,
                example=examples.CREDENTIAL_ANSWER,
            )
        },
        example={"graceMs": 3_600_000},
    ),
    Route(
        method="POST",
        path="/api/servers/{id}/maintenance",
        name="maintainServer",
        tag=SERVERS,
        summary="Turn maintenance on or off",
        roles=OPERATORS,
        act=servers.maintain,
        id=Id.SERVER,
        request=MaintenanceRequest,
        headers=GUARDED,
        answers={
            200: Answer(
                description="Done.",
                body=MaintenanceAnswer,
                example={"success": True, "message": "Maintenance mode enabled for server gpu-1"},
            )
        },
        errors=(409, 412),
        example={"enabled": True, "reason": "new driver"},
    ),
    Route(
        method="PATCH",
        path="/api/servers/{id}",
        name="changeServer",
        tag=SERVERS,
        summary="Change the weight, limit or priority of a server while it runs; with dryRun only the plan",
        roles=OPERATORS,
        act=servers.change,
        id=Id.SERVER,
        request=ServerPatch,
        headers=GUARDED,
        answers={
            200: Answer(
                description="Changed, or the plan.",
                body=ServerChanged,
                headers=("ETag",),
                example=examples.SERVER_CHANGED,
            )
        },
        errors=(412,),
        example={"weight": 3},
    ),
    Route(
        method="POST",
        path="/api/servers/maintenance",
        name="maintainServers",
        tag=SERVERS,
        summary="Take up to 1,000 servers out or back by group, pool or ids; with dryRun only the plan",
        roles=OPERATORS,
        act=servers.maintain_many,
        request=MaintainManyRequest,
        headers=("Idempotency-Key",),
        body_bytes_max=BULK_BYTES_MAX,
        answers={
            200: Answer(
                description="What became of each server, and the slots of each pool before and after.",
                body=MaintainManyAnswer,
                example=examples.BULK_ANSWER,
            )
        },
        example={"pool": "default", "enabled": True, "dryRun": True},
    ),
    Route(
        method="DELETE",
        path="/api/servers/{id}",
        name="unregisterServer",
        tag=SERVERS,
        summary="Unregister a server, with drain=true once its tasks have ended",
        roles=ADMINS,
        act=servers.unregister,
        id=Id.SERVER,
        query=servers.DrainQuery,
        headers=GUARDED,
        answers={
            200: Answer(
                description="Gone.",
                body=UnregisterAnswer,
                example={"serverId": "gpu-1", "message": "Server unregistered"},
            ),
            202: Answer(
                description="Draining, then gone.",
                body=UnregisterAnswer,
                example={"serverId": "gpu-1", "message": "Server is draining"},
            ),
        },
        errors=(409, 412),
    ),
    Route(
        method="GET",
        path="/api/servers/{id}/metrics",
        name="getServerMetrics",
        tag=SERVERS,
        summary="Measurements of a server",
        roles=FLEET_READERS,
        act=servers.metrics,
        id=Id.SERVER,
        query=servers.WindowQuery,
        answers={200: Answer(description="Its metrics.", body=ServerMetricsAnswer, example=examples.SERVER_METRICS)},
    ),
)
