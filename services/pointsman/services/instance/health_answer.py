"""What the answer to a health check says of a server. Pure."""

from collections.abc import Collection
from typing import Annotated

import msgspec

from pointsman.services.instance.answer import Answer
from pointsman.services.instance.content import is_sound_json


class _Model(msgspec.Struct):
    server_id: str | None = None


class _Load(msgspec.Struct):
    active_tasks: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _Told(msgspec.Struct):
    """What a health answer may say; other fields and other shapes are the server's own business."""

    status: msgspec.Raw = msgspec.Raw(b"")
    server_id: msgspec.Raw = msgspec.Raw(b"")
    model: msgspec.Raw = msgspec.Raw(b"")
    load: msgspec.Raw = msgspec.Raw(b"")


_TOLD = msgspec.json.Decoder(_Told)
_STR = msgspec.json.Decoder(str)
_MODEL = msgspec.json.Decoder(_Model)
_LOAD = msgspec.json.Decoder(_Load)


def fault_of(answer: Answer, server_id: str, registered: Collection[str]) -> str | None:
    """Why this health answer is bad, or None; `registered` are the ids of all servers."""
    if 300 <= answer.status < 400:
        return f"the health check answered HTTP {answer.status}: redirects are not followed"
    if not 200 <= answer.status < 300:
        return f"the health check answered HTTP {answer.status}"
    if answer.is_cut:
        return "the health check's answer is too large"
    try:
        told = _TOLD.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "the health check's answer says that it is JSON and is not" if _is_bad_json(answer) else None
    if _text(told.status) == "unhealthy":
        return "the server says that it is unhealthy"
    for named in (_text(told.server_id), _model_id(told.model)):
        if named and named != server_id and named in registered:
            return f"wiring mistake: the server that answers says it is {named}"
    return None


def active_tasks_of(answer: Answer) -> int | None:
    """How many tasks the server says it runs, if its health answer says so."""
    try:
        load = _TOLD.decode(answer.body).load
        return _LOAD.decode(load).active_tasks if load else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _is_bad_json(answer: Answer) -> bool:
    """Text is as good as nothing, and so is JSON of another shape; a broken promise is a fault."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return bool(answer.body) and kind == "application/json" and not is_sound_json(answer.body)


def _text(raw: msgspec.Raw) -> str:
    try:
        return _STR.decode(raw) if raw else ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _model_id(raw: msgspec.Raw) -> str:
    try:
        return (_MODEL.decode(raw).server_id or "") if raw else ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
