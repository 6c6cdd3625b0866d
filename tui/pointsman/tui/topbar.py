"""The first line of every screen, as spans: context, what may be done here, the link, alerts, clock."""

from dataclasses import dataclass
from datetime import UTC, tzinfo

from pointsman.tui.format import clock, duration, number
from pointsman.tui.link import Link, State
from pointsman.tui.looks import Role
from pointsman.tui.model import Model
from pointsman.tui.widgets.lines import Span, width_of

WIDE, NARROW = 110, 80
RECENT_S = 5.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What the top bar is drawn of. `now` is monotonic, in s; `replay_at` the moment shown instead of now, in ms."""

    context: str
    is_read_only: bool
    link: Link
    now: float
    wall_ms: float
    zone: tzinfo | None = UTC
    replay_at: int | None = None


def top_line(model: Model, moment: Moment, width: int) -> list[Span]:
    left = [Span(f" pointsman {moment.context}", Role.STRONG), Span("   RO" if moment.is_read_only else "   RW")]
    left.append(Span("   " + link_text(moment, model.at), Role.STRONG))
    left.append(Span("  " + alerts_text(model), action="app.go('overview')"))
    if width >= WIDE and moment.link.is_trusted:
        left.append(Span(f"  {algorithm_text(model)}  frame {model.seq} gaps {model.gaps}"))
    shown_at = moment.replay_at or (moment.wall_ms if moment.link.state is not State.CONNECTING else None)
    zone = "UTC" if moment.zone is UTC else "local"
    right = f"{clock(shown_at, moment.zone)} {zone} "
    gap = width - width_of(left) - len(right)
    if gap >= 1:
        return [*left, Span(" " * gap), Span(right)]
    return _cut(left, width)


def _cut(spans: list[Span], width: int) -> list[Span]:
    result = []
    for span in spans:
        if width <= 0:
            break
        result.append(Span(span.text[:width], span.role, span.action))
        width -= len(span.text)
    return result


def link_text(moment: Moment, data_at: int | None) -> str:
    link, now = moment.link, moment.now
    if moment.replay_at is not None:
        return f"REPLAY {clock(moment.replay_at, moment.zone)}"
    age = link.age_s(now)
    shown_age = "--" if age is None else duration(1000 * age) if age >= STEP_S else f"{age:.1f} s"
    for_s = duration(1000 * (now - link.since))
    of = "" if data_at is None else f"   data of {clock(data_at, moment.zone)}"
    match link.state:
        case State.CONNECTING:
            return "… connecting" + (f", try {link.tries}: {link.reason}" if link.tries else "")
        case State.WAITING:
            return f"… waiting for the first frame {for_s}"
        case State.LIVE:
            return f"● live {shown_age}"
        case State.RECOVERED:
            return f"● live {shown_age}  back after {duration(1000 * link.outage_s)}"
        case State.SLOW:
            return f"▲ slow {shown_age}"
        case State.STALE:
            rtt = "does not answer" if link.rtt_ms is None else f"answers in {duration(link.rtt_ms)}"
            silent_s = now - (link.since if link.frame_at is None else link.frame_at)
            return f"✖ STALE statistics silent {duration(1000 * silent_s)}, NATS {rtt}{of}"
        case State.DISCONNECTED:
            next_s = 0.0 if link.next_try_at is None else max(0.0, link.next_try_at - now)
            broken = now - (link.since if link.broken_at is None else link.broken_at)
            return f"✖ DISCONNECTED {duration(1000 * broken)}  try {link.tries + 1}, next in {next_s:.0f} s{of}"
        case State.DENIED:
            return f"✖ DENIED {link.refused}"
        case State.RECORDED:
            return "recording"


STEP_S = 1.0


def alerts_text(model: Model) -> str:
    if not model.is_known:
        return "alerts --"
    count = len(model.alerts)
    return "no alerts" if count == 0 else f"{number(count)} alert{'s' if count != 1 else ''}"


def algorithm_text(model: Model) -> str:
    algorithms = {pool.algorithm for pool in model.pools.values()}
    if not algorithms:
        return "algo --"
    return f"algo {algorithms.pop()}" if len(algorithms) == 1 else f"{len(model.pools)} pools"


def screens_line(model: Model, active: str, width: int) -> list[Span]:
    running, pending = model.flow.running, model.flow.pending
    tasks = "" if running is None or pending is None else f" {number(running + pending)}"
    counts = {"servers": f" {number(len(model.servers))}" if model.is_known else "", "tasks": tasks}
    has_room = width >= NARROW
    gap = "  " if width >= WIDE else "" if has_room else " "
    spans = [Span(" ")] if width >= WIDE else []
    for place, (name, title) in enumerate(SCREENS.items(), 1):
        text = f"{place} {title}{counts.get(name, '') if has_room else ''}"
        is_active = name == active
        shown = f"[{text}]" if is_active else f" {text} " if has_room else text
        spans.append(
            Span(("" if place == 1 else gap) + shown, Role.STRONG if is_active else Role.PLAIN, f"app.go('{name}')")
        )
    return spans


SCREENS = {
    "overview": "Overview",
    "servers": "Servers",
    "tasks": "Tasks",
    "events": "Events",
    "stats": "Stats",
    "balancer": "Balancer",
}
