"""`pointsman server`: what the fleet looks like, and servers out, back and away, one by one or many at once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pointsman.cli import options

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.client.client import Client
    from pointsman.contracts.bulk import MaintainManyAnswer, MaintainManyRequest

group_option = click.option("--group", help="Only servers of this group.")
pool_option = click.option("--pool", help="Only servers of this pool.")
ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
dry_run_option = click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def chosen(command: Callable[..., None]) -> Callable[..., Any]:
    return ids_argument(group_option(pool_option(dry_run_option(yes_option(options.asked(command))))))


@click.group()
def server() -> None:
    """List and show servers; drain, activate and remove them. Every named option must match."""


@server.command("list")
@group_option
@pool_option
@click.option("--status", help="Only servers with this status; a wrong one lists them.")
@options.cursor
@options.asked
def list_servers(wanted: "Wanted", group: str | None, pool: str | None, status: str | None, cursor: str | None) -> None:
    """Registered servers, by id."""
    from pointsman.cli import asking, printing
    from pointsman.contracts.server import ServerQuery

    query = asking.request(ServerQuery, group=group, pool=pool, status=status, cursor=cursor)
    wanted.show(lambda client: client.servers.list(query), printing.servers)


@server.command()
@click.argument("server_id", metavar="ID")
@options.asked
def show(wanted: "Wanted", server_id: str) -> None:
    """One server."""
    from pointsman.cli import printing

    wanted.show(lambda client: client.servers.get(server_id), printing.server)


@server.command()
@click.option("--drain-timeout-ms", type=int, help="After so long the rest is handed back; 0: at once.  [300000]")
@click.option("--reason", help="Why; shown with the server.")
@chosen
def drain(wanted: "Wanted", drain_timeout_ms: int | None, reason: str | None, **given: Any) -> None:
    """Give servers nothing new, let them finish, then hold them in maintenance."""
    _order(wanted, enabled=True, drainTimeoutMs=drain_timeout_ms, reason=reason, **given)


@server.command()
@chosen
def activate(wanted: "Wanted", **given: Any) -> None:
    """Take servers back from draining or maintenance; they get tasks after a good probe."""
    _order(wanted, enabled=False, **given)


@server.command()
@click.option("--now", is_flag=True, help="Do not wait until what runs has ended.")
@chosen
def remove(wanted: "Wanted", now: bool, **given: Any) -> None:
    """Unregister servers, once what runs on them has ended."""
    from pointsman.cli import removing

    def act(request: "MaintainManyRequest") -> Callable[["Client"], Any]:
        return lambda client: removing.remove(client, request, drain=not now)

    _order(wanted, enabled=True, act=act, **given)


def _order(
    wanted: "Wanted",
    *,
    ids: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    act: Callable[["MaintainManyRequest"], Callable[["Client"], Any]] | None = None,
    **fields: Any,
) -> None:
    """The plan, unless it is not asked for; then the acting on it. Exit code 1 when a server was not done."""
    from msgspec.structs import replace

    from pointsman.cli import asking, printing
    from pointsman.contracts.bulk import MaintainManyRequest

    request = asking.request(MaintainManyRequest, ids=ids or None, dryRun=not yes, **fields)
    if not (request.ids or request.group or request.pool):
        raise click.UsageError("name servers, --group or --pool")
    if wanted.output == "json" and not (dry_run or yes):
        raise click.UsageError("-o json needs --yes or --dry-run")
    if dry_run or not yes:
        wanted.show(lambda client: client.servers.maintain_many(replace(request, dry_run=True)), printing.bulk)
    if dry_run:
        return
    if not yes:
        click.confirm("Go on?", abort=True, err=True)
    doing = replace(request, dry_run=False)
    answer: MaintainManyAnswer = wanted.show(
        act(doing) if act else lambda client: client.servers.maintain_many(doing), printing.bulk
    )
    if answer.failed:
        raise SystemExit(options.FAILED)
