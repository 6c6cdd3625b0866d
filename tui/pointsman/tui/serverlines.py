"""One server in words: what is wanted, what is seen, what it does, what happened to it. Pure."""

from datetime import tzinfo
from textwrap import wrap

from pointsman.contracts.server import Wanted
from pointsman.tui.format import clock, duration, number, percent, rate
from pointsman.tui.looks import Role, server_look
from pointsman.tui.model import Model, Server
from pointsman.tui.widgets.lines import Span, line

EVENTS_SHOWN = 6
_WANTED: dict[str, str] = {
    Wanted.ACTIVE: "ready",
    Wanted.DRAINING: "drain",
    Wanted.MAINTENANCE: "maintenance",
    Wanted.REMOVED: "removed",
}


def detail_lines(server: Server, model: Model, width: int, zone: tzinfo | None) -> list[list[Span]]:
    """Everything that frames tell of it; the last events on it last."""
    row, at = server.row, model.at or 0
    look = server_look(row, server.pulse)
    lines = [
        line((f" {look} for {duration(max(0, at - row.since))}", look.role)),
        [],
        *_facts(_told(server, at), width),
        [],
        *_facts(_working(server), width),
    ]
    happened = [news for news in model.news if news.subject == row.id][-EVENTS_SHOWN:]
    if happened:
        lines += [[], line((" last events", Role.STRONG))]
    for news in reversed(happened):
        by = f" by {news.by}" if news.by else ""
        lines += _wrapped(f"{clock(news.at, zone)} {news.what}{by}", width)
    return lines


def _told(server: Server, at: int) -> list[tuple[str, str]]:
    row = server.row
    seen = row.state.lower() + (f" (missed {row.failures}/{row.failures_max})" if row.failures_max else "")
    check_ms = server.check_ms(at)
    facts = [("wanted", _WANTED.get(row.wanted, row.wanted.lower()) + (f" by {row.by}" if row.by else ""))]
    facts += [("reason", row.reason)] if row.reason else []
    facts += [("until", clock(row.until))] if row.until else []
    facts += [("health", seen)]
    facts += [("error", row.error)] if row.error else []
    beat_ms = server.beat_ms(at)
    facts += [("beat", "--" if beat_ms is None else f"{duration(beat_ms)} ago")]
    facts += [("check", f"{duration(check_ms)} ago")] if check_ms is not None else []
    facts += [("pool", row.pool)]
    facts += [("groups", " ".join(row.groups))] if row.groups else []
    return [*facts, ("version", row.version or "--"), ("weight", number(row.weight)), ("score", number(row.score))]


def _working(server: Server) -> list[tuple[str, str]]:
    row, pulse = server.row, server.pulse
    limit = f"{number(row.limit)}" + (f" (of {number(row.max_concurrent)})" if row.limit != row.max_concurrent else "")
    return [
        ("running", f"{number(pulse.running)} of {limit}"),
        ("done", rate(pulse.done_per_s)),
        ("share", f"{percent(pulse.share)}  (fair {percent(pulse.fair)})"),
        ("p95 run", duration(pulse.run_p95)),
        ("estimate", duration(pulse.estimate)),
        ("errors", f"{percent(pulse.error_rate)}  (60 s)"),
    ]


def _facts(facts: list[tuple[str, str]], width: int) -> list[list[Span]]:
    lines = []
    for name, value in facts:
        pieces = wrap(value, max(8, width - 12)) or [""]
        lines.append(line((f" {name:<9} ", Role.DIM), pieces[0]))
        lines += [line(" " * 11 + piece) for piece in pieces[1:]]
    return lines


def _wrapped(text: str, width: int) -> list[list[Span]]:
    return [line(f" {piece}") for piece in wrap(text, max(8, width - 2), subsequent_indent="         ")]
