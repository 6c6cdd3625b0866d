"""`pointsman check`: one state for a monitoring system, by the plugin convention of Nagios."""

from typing import TYPE_CHECKING

import click

from pointsman.cli import completing, options
from pointsman.cli.impact import group

if TYPE_CHECKING:
    from collections.abc import Callable

FORMS = ("nagios", "text", "json", "prometheus")


def checked(command: "Callable[..., None]") -> "Callable[..., None]":
    form = click.option(
        "--format", "form", type=click.Choice(FORMS), default="nagios", show_default=True, help="How it is told."
    )
    warning = click.option("-w", "--warning", type=float, help="Warns from here on.")
    return form(warning(click.option("-c", "--critical", type=float, help="Critical from here on.")(command)))


@group()
def check() -> None:
    """One state, as exit code too: 0 ok, 1 warning, 2 critical, 3 unknown (nobody answered)."""


@check.reads()
@click.argument("server_id", metavar="ID", shell_complete=completing.servers)
@checked
@options.placed
def server(server_id: str, form: str, warning: float | None, critical: float | None, **_given: object) -> None:
    """A server: critical when unhealthy, warning when not in service; -w and -c are percent of its slots in use."""
    from pointsman.cli import checking

    checking.run(form, lambda client: checking.server(client, server_id, warning, critical), "server")


@check.reads()
@click.option("--pool", help="Of this pool alone.", shell_complete=completing.pools)
@checked
@options.placed
def queue(pool: str | None, form: str, warning: float | None, critical: float | None, **_given: object) -> None:
    """What waits for a slot: -w and -c are tasks [1000, 10000]; critical without a leader."""
    from pointsman.cli import checking

    checking.run(form, lambda client: checking.queue(client, pool, warning, critical), "queue")


@check.reads()
@checked
@options.placed
def gateway(form: str, warning: float | None, critical: float | None, **_given: object) -> None:
    """Whether the gateway can do its work; -w and -c are milliseconds of its answer [500, 2000]. Needs its --url."""
    from pointsman.cli import checking

    checking.gateway(form, warning, critical)


@check.reads()
@checked
@options.placed
def cluster(form: str, warning: float | None, critical: float | None, **_given: object) -> None:
    """All of it: leader, alerts, and servers that may not take tasks, -w and -c in percent of them [20, 50]."""
    from pointsman.cli import checking

    checking.run(form, lambda client: checking.cluster(client, warning, critical), "cluster")
