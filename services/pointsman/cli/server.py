"""`pointsman server`: what the fleet looks like, and servers in, out, back and away, one by one or many at once."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pointsman.cli import completing, options
from pointsman.cli.impact import group

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.cli.options import Acting
    from pointsman.client.client import Client
    from pointsman.contracts.bulk import MaintainManyAnswer
    from pointsman.contracts.server import ServerPage, ServerQuery

LISTED_DEFAULT, LISTED_MAX = 1_000, 100_000
group_option = click.option("--group", help="Only servers of this group.")
pool_option = click.option("--pool", help="Only servers of this pool.", shell_complete=completing.pools)
status_option = click.option("--status", help="Only servers with this status; a wrong one lists them.")
ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=completing.servers)
id_argument = click.argument("server_id", metavar="ID", shell_complete=completing.servers)


def chosen(command: Callable[..., None]) -> Callable[..., Any]:
    """A command that acts on servers, named or all that match."""
    guards = (options.if_match, options.idempotency_key, options.acting, options.asked)
    return options.taking(command, (ids_argument, group_option, pool_option, *guards))


@group(aliases={"resume": "activate", "unregister": "remove"})
def server() -> None:
    """See servers, register them, take them out, back and away. Every named filter must match."""


@server.reads("list")
@group_option
@pool_option
@status_option
@options.cursor
@click.option(
    "--limit", type=click.IntRange(1, LISTED_MAX), default=LISTED_DEFAULT, show_default=True, help="At most so many."
)
@options.watch
@options.asked
def list_servers(wanted: "Wanted", cursor: str | None, limit: int, watch_s: float | None, **filters: Any) -> None:
    """Registered servers, by id."""
    from pointsman.cli import asking, views, watching
    from pointsman.contracts.server import ServerQuery

    query = asking.request(ServerQuery, cursor=cursor, **filters)
    watching.show(wanted, lambda client: _pages(client, query, limit), views.SERVERS, watch_s)


@server.reads()
@group_option
@pool_option
@status_option
@options.every
@options.asked
def watch(wanted: "Wanted", every_s: float, **filters: Any) -> None:
    """The list, again and again: repainted on a terminal; in a pipe a line of JSON for each server that changed."""
    from pointsman.cli import asking, views, watching
    from pointsman.contracts.server import ServerQuery

    query = asking.request(ServerQuery, **filters)
    watching.show(wanted, lambda client: _pages(client, query, LISTED_MAX), views.SERVERS, every_s)


@server.reads("get")
@id_argument
@options.watch
@options.asked
def get(wanted: "Wanted", server_id: str, watch_s: float | None) -> None:
    """One server: what is wanted, what is seen, what it runs."""
    from pointsman.cli import views, watching

    watching.show(wanted, lambda client: client.servers.get(server_id), views.SERVER, watch_s)


@server.writes()
@click.argument("server_id", metavar="[ID]", required=False)
@click.option("--at", "address", metavar="URL", help="Where it listens: tasks go to URL/predict, probes to URL/health.")
@click.option(
    "--file", "-f", "file", type=click.Path(path_type=Path, allow_dash=True), help="The request as JSON; - is stdin."
)
@click.option("--name", help="For people.")
@click.option("--pool", help="Its pool.", shell_complete=completing.pools)
@click.option("--group", "groups", multiple=True, help="May be given again.")
@click.option("--capability", "capabilities", multiple=True, help="What it can do; may be given again.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be given again.")
@click.option("--max-concurrent", type=int, help="Tasks it runs at once.  [10]")
@click.option("--weight", type=int, help="1 to 1000.  [1]")
@click.option("--priority", type=int, help="0 to 10; higher ones are filled first.  [1]")
@click.option("--sync", is_flag=True, help="It answers with the result, and never calls back.")
@click.option(
    "--api-key", metavar="REF", help="Where the key that it wants to see is: env:NAME, file:PATH, command:COMMAND."
)
@click.option("--server-version", "version", help="Shown with it.")
@options.if_match
@options.acting
@options.asked
def register(
    wanted: "Wanted", acting: "Acting", server_id: str | None, file: Path | None, if_match: int | None, **given: Any
) -> None:
    """Register a server. Its credential is shown once. Another configuration of a known id needs --if-match."""
    from pointsman.cli import acting as acts
    from pointsman.cli import registering, views

    request = registering.request(server_id, file, given)
    acts.act(
        wanted,
        acting,
        plan=registering.plan(request, if_match),
        plan_view=acts.PLAN,
        do=lambda client: client.servers.register(request, if_match=if_match),
        view=views.REGISTERED,
        asks=acts.Asks.NEVER,
    )


@server.writes()
@click.option("--drain-timeout-ms", type=int, help="After so long the rest is handed back; 0: at once.  [300000]")
@options.reason
@chosen
def drain(wanted: "Wanted", drain_timeout_ms: int | None, reason: str | None, **given: Any) -> None:
    """Give servers nothing new, let them finish, then hold them in maintenance."""
    _order(wanted, enabled=True, drainTimeoutMs=drain_timeout_ms, reason=reason, **given)


@server.writes()
@options.reason
@chosen
def maintenance(wanted: "Wanted", reason: str | None, **given: Any) -> None:
    """Take servers out now: what runs on them is handed to others, which spends no attempt. `drain` lets it finish."""
    _order(wanted, enabled=True, drainTimeoutMs=0, reason=reason, **given)


@server.writes()
@chosen
def activate(wanted: "Wanted", **given: Any) -> None:
    """Take servers back from draining or maintenance; they get tasks after a good probe."""
    _order(wanted, enabled=False, **given)


@server.writes()
@click.option("--now", is_flag=True, help="Do not wait until what runs has ended.")
@options.reason
@chosen
def remove(wanted: "Wanted", now: bool, reason: str | None, **given: Any) -> None:
    """Unregister servers, once what runs on them has ended. To come back they must register again."""
    _order(wanted, enabled=True, remove=True, drainTimeoutMs=0 if now else None, reason=reason, **given)


@server.writes()
@click.argument("weights", nargs=-1, required=True, metavar="ID=WEIGHT...", shell_complete=completing.servers)
@options.if_match
@options.idempotency_key
@options.acting
@options.asked
def weight(wanted: "Wanted", acting: "Acting", weights: tuple[str, ...], **given: Any) -> None:
    """Change how much of its pool's work a server gets, 1 to 1000, under algorithms that weigh."""
    from pointsman.cli import weighing

    weighing.weigh(wanted, acting, weights, **given)


async def _pages(client: "Client", query: "ServerQuery", limit: int) -> "ServerPage":
    """So many servers, over as many pages as it takes."""
    from msgspec.structs import replace

    page = await client.servers.list(replace(query, limit=min(limit, query.limit)))
    while page.cursor is not None and len(page.servers) < limit:
        rest = min(limit - len(page.servers), query.limit)
        following = await client.servers.list(replace(query, cursor=page.cursor, limit=rest))
        page = replace(following, servers=page.servers + following.servers)
    return page


def _order(
    wanted: "Wanted",
    acting: "Acting",
    *,
    ids: tuple[str, ...],
    if_match: int | None,
    idempotency_key: str | None,
    **fields: Any,
) -> None:
    """The plan, unless it is not asked for; then the acting on it. Exit code 1 when a server was not done."""
    from msgspec.structs import replace

    from pointsman.cli import acting as acts
    from pointsman.cli import asking, views
    from pointsman.contracts.bulk import MaintainManyRequest

    if if_match is not None and len(ids) != 1:
        raise click.UsageError("--if-match is the revision of one server: name one")
    revisions = {ids[0]: if_match} if if_match is not None else None
    request = asking.request(MaintainManyRequest, ids=ids or None, dryRun=False, revisions=revisions, **fields)
    if not (request.ids or request.group or request.pool):
        raise click.UsageError("name servers, --group or --pool")

    def do(request: MaintainManyRequest) -> "acts.Ask[MaintainManyAnswer]":
        return lambda client: client.servers.maintain_many(request, operation=idempotency_key or "")

    answer = acts.act(
        wanted,
        acting,
        plan=lambda client: client.servers.maintain_many(replace(request, dry_run=True)),
        plan_view=views.BULK,
        do=do(request),
        guarded=lambda plan: do(replace(request, revisions=_revisions(plan) | request.revisions)),
        view=views.BULK,
        asks=acts.Asks.ALWAYS,
    )
    if answer is not None and answer.failed:
        raise SystemExit(_failure(answer, is_guarded=if_match is not None))


def _failure(answer: "MaintainManyAnswer", *, is_guarded: bool) -> int:
    """Of one server the exit code says what was wrong."""
    if len(answer.servers) == 1 and answer.servers[0].status is None:
        return options.NOT_FOUND
    return options.CONFLICT if is_guarded else options.FAILED


def _revisions(plan: "MaintainManyAnswer") -> dict[str, int]:
    return {one.server_id: one.revision for one in plan.servers if one.revision is not None}
