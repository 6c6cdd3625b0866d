"""`pointsman alert`: what needs an operator's attention, and the mark that somebody knows."""

from typing import TYPE_CHECKING

import click

from pointsman.cli import options
from pointsman.cli.impact import group

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted


@group(aliases={"ack": "acknowledge"})
def alert() -> None:
    """What needs attention. An acknowledged alert stays listed, marked, until its cause is gone."""


@alert.reads("list")
@options.watch
@options.asked
def list_alerts(wanted: "Wanted", watch_s: float | None) -> None:
    """The worst first, then by age."""
    from pointsman.cli import views_stats, watching

    watching.show(wanted, lambda client: client.statistics.alerts(), views_stats.ALERTS, watch_s)


@alert.writes()
@click.argument("kind", metavar="KIND")
@click.argument("subject", metavar="[SUBJECT]", default="")
@click.option("--note", default="", help="Kept with the mark.")
@click.option("--undo", is_flag=True, help="Take the mark back.")
@options.asked
def acknowledge(wanted: "Wanted", kind: str, subject: str, note: str, undo: bool) -> None:
    """Mark an alert as known, by KIND and SUBJECT, or KIND/SUBJECT as `-o name` lists them."""
    from pointsman.cli import asking, views_stats
    from pointsman.contracts.frames import AcknowledgeRequest

    name, _, rest = kind.partition("/")
    request = asking.request(AcknowledgeRequest, kind=name, subject=subject or rest, note=note, acknowledged=not undo)
    wanted.show(lambda client: client.statistics.acknowledge(request), views_stats.ALERT)
