"""The request that registers a server, from options or a file, and what it would change."""

import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from pointsman.cli import asking, contexts, options
from pointsman.cli.acting import Plan, changed
from pointsman.cli.contexts import ContextError
from pointsman.client.client import Client
from pointsman.contracts.errors import PointsmanError, from_validation
from pointsman.contracts.server import Server, ServerRequest

SHOWN = ("pool", "weight", "priority", "maxConcurrent", "groups", "capabilities", "labels", "name", "version")


def request(server_id: str | None, file: Path | None, given: dict[str, Any]) -> ServerRequest:
    """A usage error names what is wrong."""
    if file is not None:
        return _of_file(server_id, file)
    if not given["address"]:
        raise click.UsageError("where does it listen? --at URL, or --file with the whole request")
    try:
        api_key = contexts.secret(given["api_key"], os.environ) if given["api_key"] else None
    except ContextError as error:
        raise click.BadParameter(str(error), param_hint="--api-key") from error
    fields = {"id": server_id, "url": given["address"], "apiKey": api_key, "async": False if given["sync"] else None}
    fields |= {"maxConcurrent": given["max_concurrent"], "labels": pairs(given["labels"], "--label") or None}
    fields |= {name: given[name] for name in ("name", "pool", "weight", "priority", "version")}
    fields |= {name: list(given[name]) or None for name in ("groups", "capabilities")}
    return asking.request(ServerRequest, **fields)


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """`NAME=VALUE`s by name."""
    split = [one.partition("=") for one in given]
    if wrong := [name for name, equals, _ in split if not (name and equals)]:
        raise click.BadParameter(f"{wrong[0]!r} is no NAME=VALUE", param_hint=option)
    return {name: value for name, _, value in split}


def plan(request: ServerRequest, if_match: int | None) -> Callable[[Client], Coroutine[Any, Any, Plan]]:
    async def ask(client: Client) -> Plan:
        target = request.id or "(an id will be made)"
        known = await _known(client, request.id)
        before, after = changed(_shown(known), _shown(request))
        note = (
            "" if known is None or not after or if_match is not None else "it is known already: this needs --if-match"
        )
        return Plan(act="register", target=target, before=before, after=after, revision=if_match, note=note)

    return ask


async def _known(client: Client, server_id: str | None) -> Server | None:
    try:
        return await client.servers.get(server_id) if server_id else None
    except PointsmanError as error:
        if error.status != 404:
            raise
        return None


def _shown(one: Server | ServerRequest | None) -> dict[str, object]:
    known: dict[str, object] = {} if one is None else msgspec.to_builtins(one)
    return {name: known[name] for name in SHOWN if known.get(name) is not None}


def _of_file(server_id: str | None, file: Path) -> ServerRequest:
    try:
        with click.open_file(str(file), "rb") as stream:
            read = msgspec.json.decode(stream.read(), type=ServerRequest)
    except OSError as error:
        options.fail(f"{file}: {error.strerror}", options.USAGE)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        options.fail(f"{file}: {from_validation(error).detail}", options.USAGE)
    return msgspec.structs.replace(read, id=server_id) if server_id else read
