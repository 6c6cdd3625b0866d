"""Weights of servers: `gpu-1=5 gpu-2=3`, each with its plan."""

from typing import TYPE_CHECKING

import click

from pointsman.cli import acting as acts
from pointsman.cli import asking, params, views
from pointsman.contracts.server import ServerPatch

if TYPE_CHECKING:
    from pointsman.cli.acting import Ask
    from pointsman.cli.asking import Wanted
    from pointsman.cli.options import Acting
    from pointsman.client.client import Client
    from pointsman.contracts.server import ServerChanged


def weigh(
    wanted: "Wanted", acting: "Acting", given: tuple[str, ...], *, if_match: int | None, idempotency_key: str | None
) -> None:
    patches = {name: asking.request(ServerPatch, weight=number) for name, number in parsed(given).items()}
    if if_match is not None and len(patches) != 1:
        raise click.UsageError("--if-match is the revision of one server: name one")

    def changing(*, dry_run: bool, revisions: dict[str, int | None]) -> "Ask[tuple[ServerChanged, ...]]":
        async def ask(client: "Client") -> "tuple[ServerChanged, ...]":
            return tuple(
                [
                    await client.servers.change(
                        name,
                        ServerPatch(weight=patch.weight, dry_run=dry_run),
                        if_match=revisions.get(name, if_match),
                        operation=f"{idempotency_key}-{name}" if idempotency_key and not dry_run else "",
                    )
                    for name, patch in patches.items()
                ]
            )

        return ask

    acts.act(
        wanted,
        acting,
        plan=changing(dry_run=True, revisions={}),
        plan_view=views.CHANGED,
        do=changing(dry_run=False, revisions={}),
        guarded=lambda plan: changing(dry_run=False, revisions={one.server_id: one.revision for one in plan}),
        view=views.CHANGED,
        asks=acts.Asks.PEOPLE,
    )


def parsed(given: tuple[str, ...]) -> dict[str, int]:
    """Weights by server, of `ID=WEIGHT...` or `ID WEIGHT`; a usage error says how to write them."""
    if len(given) == 2 and params.is_number(given[1]) and "=" not in given[0]:
        return {given[0]: int(given[1])}
    split = [one.rpartition("=") for one in given]
    if wrong := [
        one for one, (name, _, number) in zip(given, split, strict=True) if not (name and params.is_number(number))
    ]:
        raise click.BadParameter(f"{wrong[0]!r} is no ID=WEIGHT, as in gpu-1=5", param_hint="ID=WEIGHT")
    return {name: int(number) for name, _, number in split}
