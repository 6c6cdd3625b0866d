"""`pointsman stats`: what was done, by day, by hour, by type and by server."""

from typing import TYPE_CHECKING, Any

import click

from pointsman.cli import completing, options
from pointsman.cli.impact import group

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.contracts.statistics import StatisticsQuery

date_option = click.option("--date", metavar="YYYY-MM-DD", help="The day, UTC; today when not given.")
from_option = click.option(
    "--from", "from_", metavar="TIME", help="Instead of a day: from this time, ISO 8601 or ms since the epoch."
)
to_option = click.option("--to", metavar="TIME", help="And before this.")


@group()
def stats() -> None:
    """What was done, from the archive; `as of` says up to when it is complete."""


@stats.reads()
@date_option
@from_option
@to_option
@options.watch
@options.asked
def day(wanted: "Wanted", date: str | None, from_: str | None, to: str | None, watch_s: float | None) -> None:
    """Tasks of a day or a range: how many, how they ended, how long they waited and ran."""
    from pointsman.cli import views_stats, watching

    query = _query(date=date, fromMs=_moment(from_, "--from"), toMs=_moment(to, "--to"))
    watching.show(wanted, lambda client: client.statistics.tasks(query), views_stats.DAY, watch_s)


@stats.reads()
@date_option
@options.watch
@options.asked
def hour(wanted: "Wanted", date: str | None, watch_s: float | None) -> None:
    """The 24 hours of a day."""
    from pointsman.cli import views_stats, watching

    query = _query(date=date)
    watching.show(wanted, lambda client: client.statistics.hourly(query.date), views_stats.HOURS, watch_s)


@stats.reads("types")
@date_option
@from_option
@to_option
@options.watch
@options.asked
def by_type(wanted: "Wanted", date: str | None, from_: str | None, to: str | None, watch_s: float | None) -> None:
    """Each type of task, the busiest first."""
    from pointsman.cli import views_stats, watching

    query = _query(date=date, fromMs=_moment(from_, "--from"), toMs=_moment(to, "--to"))
    watching.show(wanted, lambda client: client.statistics.types(query), views_stats.TYPES, watch_s)


@stats.reads()
@date_option
@from_option
@to_option
@options.watch
@options.asked
def servers(wanted: "Wanted", date: str | None, from_: str | None, to: str | None, watch_s: float | None) -> None:
    """Each server that ended an attempt, the busiest first."""
    from pointsman.cli import views_stats, watching

    query = _query(date=date, fromMs=_moment(from_, "--from"), toMs=_moment(to, "--to"))
    watching.show(wanted, lambda client: client.statistics.servers(query), views_stats.SERVERS, watch_s)


@stats.reads()
@click.argument("server_id", metavar="ID", shell_complete=completing.servers)
@date_option
@options.watch
@options.asked
def server(wanted: "Wanted", server_id: str, date: str | None, watch_s: float | None) -> None:
    """One server on a day."""
    from pointsman.cli import views_stats, watching

    query = _query(date=date)
    watching.show(wanted, lambda client: client.statistics.server(server_id, query.date), views_stats.SERVER, watch_s)


def _query(**given: Any) -> "StatisticsQuery":
    from pointsman.cli import asking
    from pointsman.contracts.statistics import StatisticsQuery

    return asking.request(StatisticsQuery, **given)


def _moment(text: str | None, option: str) -> int | None:
    from pointsman.contracts.filter_values import moment

    if text is None:
        return None
    found = moment(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is neither a date or time nor ms since the epoch", param_hint=option)
    return found
