"""Verb arguments on NATS where REST has the id in its path; the rest of the body is the REST body."""

from typing import Annotated

from msgspec import Meta

from pointsman.contracts.base import Request
from pointsman.contracts.server import (
    CredentialRequest,
    HeartbeatRequest,
    MaintenanceRequest,
    ServerPatch,
    ServerRequest,
)
from pointsman.contracts.task import ExtendRequest, Generation, Reason, TaskUpdate


class TaskId(Request):
    id: str


class UpdateTask(Request):
    id: str
    update: TaskUpdate


class CancelTask(Request):
    """`generation` is what the caller has seen: 412 when the task has been retried since."""

    id: str
    reason: Reason | None = None
    generation: Generation | None = None


class RetryTask(Request):
    id: str
    generation: Generation | None = None


class ExtendTask(Request):
    id: str
    extend: ExtendRequest


class RegisterServer(Request):
    """`if_match` is the revision the caller has seen, for a replacement of another configuration."""

    server: ServerRequest
    if_match: int | None = None


class BeatServer(Request):
    id: str
    heartbeat: HeartbeatRequest


class RotateCredential(Request):
    id: str
    rotation: CredentialRequest


class MaintainServer(Request):
    id: str
    maintenance: MaintenanceRequest
    if_match: Annotated[int, Meta(ge=0)] | None = None


class ChangeServer(Request):
    id: str
    change: ServerPatch
    if_match: Annotated[int, Meta(ge=0)] | None = None
