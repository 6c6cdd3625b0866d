"""What changed between two looks at the cluster, a line each: for those who cannot follow a screen that repaints. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo

from pointsman.contracts.frames import AlertRow, News
from pointsman.tui import fleet
from pointsman.tui.flowwords import flow_words
from pointsman.tui.format import clock
from pointsman.tui.looks import Concern, plain, severity_look
from pointsman.tui.model import Model

TOLD_BY_STATE = frozenset({"server"})


@dataclass(frozen=True, slots=True)
class Look:
    """What is compared."""

    states: dict[str, Concern]
    alerts: dict[tuple[str, str], AlertRow]
    news_at: int


def look_at(model: Model) -> Look:
    return Look(
        {name: fleet.concern(server) for name, server in model.servers.items()},
        {(alert.kind, alert.subject): alert for alert in model.alerts},
        max((news.at for news in model.news), default=0),
    )


def summary(model: Model, zone: tzinfo | None) -> str:
    return f"{clock(model.at, zone)} cluster {fleet.counts_text(model)}; {flow_words(model.flow)}"


def changes(before: Look, model: Model, zone: tzinfo | None) -> Iterator[str]:
    """Lines of what differs: states of servers, alerts that came and went, acts."""
    at = clock(model.at, zone)
    now = look_at(model)
    for name in sorted(before.states.keys() | now.states.keys()):
        was, became = before.states.get(name), now.states.get(name)
        if was is None and became is not None:
            yield f"{at} server {name} registered, {became}"
        elif became is None and was is not None:
            yield f"{at} server {name} gone, was {was}"
        elif was is not became:
            row = model.servers[name].row
            why = row.error if became is Concern.DOWN else row.reason
            yield (
                f"{at} server {name} {was} -> {became}"
                + (f" ({why})" if why else "")
                + (f" by {row.by}" if row.by else "")
            )
    for key in now.alerts.keys() - before.alerts.keys():
        alert = now.alerts[key]
        yield f"{at} alert {severity_look(alert.severity).word} {alert.subject}: {alert.detail}"
    for key in before.alerts.keys() - now.alerts.keys():
        yield f"{at} alert over {key[1]} ({key[0]})"
    for news in model.news:
        if news.at > before.news_at and news.kind not in TOLD_BY_STATE:
            yield _news_line(news, zone)


def _news_line(news: News, zone: tzinfo | None) -> str:
    result = "" if news.ok else " REFUSED"
    why = f": {news.why}" if news.why else ""
    by = f" by {news.by}" if news.by else ""
    return plain(f"{clock(news.at, zone)} {news.kind} {news.subject} {news.what}{result}{why}{by}")
