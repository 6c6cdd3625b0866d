"""`pointsman check`: one state for a monitoring system, by the plugin convention of Nagios."""

from functools import wraps
from math import inf
from typing import TYPE_CHECKING, Any

import click

from pointsman.cli import completing, options
from pointsman.cli.impact import Group

if TYPE_CHECKING:
    from collections.abc import Callable

FORMS = ("nagios", "text", "json", "prometheus")
UNKNOWN = 3


class Checks(Group):
    """A command line that says nothing is unknown to a monitoring system; 2, as elsewhere, would be critical."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            error.show()
            ctx.exit(UNKNOWN)


def checked(command: "Callable[..., None]") -> "Callable[..., None]":
    @wraps(command)
    def ordered(*given: Any, warning: float | None, critical: float | None, **more: Any) -> None:
        for hint, bound in (("-w", warning), ("-c", critical)):
            if bound is not None and not 0 <= bound < inf:
                raise click.BadParameter(f"{bound:g} is no number from 0 on", param_hint=hint)
        if warning is not None and critical is not None and critical < warning:
            raise click.BadParameter(f"{critical:g} comes before -w {warning:g}", param_hint="-c")
        command(*given, warning=warning, critical=critical, **more)

    form = click.option(
        "--format", "form", type=click.Choice(FORMS), default="nagios", show_default=True, help="How it is told."
    )
    warning = click.option("-w", "--warning", type=float, help="Warns from here on.")
    return form(warning(click.option("-c", "--critical", type=float, help="Critical from here on.")(ordered)))


@click.group(cls=Checks)
def check() -> None:
    """One state, as exit code too: 0 ok, 1 warning, 2 critical, 3 unknown (nobody answered, or a wrong command line)."""


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
