"""What `pointsman check` concludes, pure but for the questions, and how monitoring systems want to be told.

https://www.monitoring-plugins.org/doc/guidelines.html
"""

import time
from collections.abc import Callable, Coroutine
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec
from msgspec.structs import replace

from pointsman.cli import asking, options, output
from pointsman.cli.contexts import ContextError
from pointsman.client.bus import BusError
from pointsman.client.identity import problem_of
from pointsman.contracts.base import Message
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.subjects import HEADER_ERROR_CODE

if TYPE_CHECKING:
    from pointsman.client.client import Client


class State(IntEnum):
    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Measure(Message):
    """`unit` as plugins write it: empty for a count, % or ms."""

    name: str
    value: float
    unit: str = ""
    warning: float | None = None
    critical: float | None = None

    @property
    def state(self) -> State:
        if self.critical is not None and self.value >= self.critical:
            return State.CRITICAL
        return State.WARNING if self.warning is not None and self.value >= self.warning else State.OK


class Verdict(Message):
    """What is told. `state` is the word, `code` the exit code."""

    check: str
    state: str
    code: int
    detail: str
    measures: tuple[Measure, ...] = ()


class Answers(msgspec.Struct, frozen=True):
    """States and why, and what was measured."""

    findings: tuple[tuple[State, str], ...]
    measures: tuple[Measure, ...] = ()


def bounded(
    measure: Measure, warning: float | None, usual_warning: float, critical: float | None, usual_critical: float
) -> Measure:
    """A warning that was set beyond the usual critical moves that along."""
    warns = usual_warning if warning is None else warning
    return replace(measure, warning=warns, critical=max(usual_critical, warns) if critical is None else critical)


def run(form: str, ask: "Callable[[Client], Coroutine[Any, Any, Answers]]", check: str) -> NoReturn:
    wanted = asking.Wanted(options.given_of(click.get_current_context()))
    try:
        wanted.resolve()
        answers = wanted.attempt(ask)
    except PointsmanError as error:
        answers = Answers(((State.CRITICAL if error.status == 404 else State.UNKNOWN, error.detail),))
    except (BusError, ContextError) as error:
        answers = Answers(((State.UNKNOWN, str(error)),))
    tell(form, concluded(check, answers))


def concluded(check: str, answers: Answers) -> Verdict:
    """The worst decides; unknown is worse than warning and less than critical."""
    findings = [*answers.findings, *((one.state, f"{one.name} {one.value:g}{one.unit}") for one in answers.measures)]
    order = (State.OK, State.WARNING, State.UNKNOWN, State.CRITICAL)
    worst = max((state for state, _ in findings), key=order.index, default=State.OK)
    said = [text for state, text in findings if state is worst] if worst else [text for _, text in findings]
    return Verdict(
        check=check, state=worst.name, code=int(worst), detail="; ".join(said) or "fine", measures=answers.measures
    )


def tell(form: str, verdict: Verdict) -> NoReturn:
    match form:
        case "json":
            click.echo(output.as_json(verdict))
        case "prometheus":
            click.echo(prometheus(verdict))
        case "text":
            click.echo(f"{verdict.check}: {verdict.state.lower()}: {verdict.detail}")
        case _:
            click.echo(nagios(verdict))
    raise SystemExit(verdict.code)


def nagios(verdict: Verdict) -> str:
    data = " ".join(
        f"'{one.name}'={one.value:g}{one.unit};{_bound(one.warning)};{_bound(one.critical)};0"
        for one in verdict.measures
    )
    said = f"{verdict.check.upper()} {verdict.state} - {output.one_line(verdict.detail).replace('|', '/')}"
    return f"{said} | {data}" if data else said


def prometheus(verdict: Verdict) -> str:
    name = f"pointsman_check_{verdict.check}"
    lines = [f"# TYPE {name}_state gauge", f"{name}_state {verdict.code}"]
    for one in verdict.measures:
        metric = f"{name}_{one.name.replace(' ', '_')}" + {"%": "_percent", "ms": "_milliseconds"}.get(one.unit, "")
        lines += [f"# TYPE {metric} gauge", f"{metric} {one.value:g}"]
    return "\n".join(lines)


async def server(client: "Client", server_id: str, warning: float | None, critical: float | None) -> Answers:
    one = await client.servers.get(server_id)
    state = {"offline": State.CRITICAL, "online": State.OK}.get(one.status, State.WARNING)
    if one.health.status != "healthy":
        state = State.CRITICAL
    why = one.reason or one.health.error
    detail = f"{one.id} is {one.status}, health {one.health.state}" + (f": {why}" if why else "")
    used = Measure(name="load", value=round(one.current_load * 100, 1), unit="%", warning=warning, critical=critical)
    return Answers(((state, detail),), (used, Measure(name="score", value=one.health.score)))


async def queue(client: "Client", pool: str | None, warning: float | None, critical: float | None) -> Answers:
    status = await client.statistics.load_balancer()
    if pool is not None and pool not in status.pools:
        return Answers(((State.UNKNOWN, f"there is no pool {pool}; there are {', '.join(status.pools)}"),))
    pending = status.pending if pool is None else status.pools[pool].pending
    measure = bounded(Measure(name="pending", value=pending), warning, 1_000, critical, 10_000)
    return Answers(_leads(status.leader), (measure,))


async def cluster(client: "Client", warning: float | None, critical: float | None) -> Answers:
    status = await client.statistics.load_balancer()
    findings = [*_leads(status.leader), *((State.WARNING, f"{one.kind}: {one.detail}") for one in status.alerts)]
    servers, eligible = (sum(getattr(pool, name) for pool in status.pools.values()) for name in ("servers", "eligible"))
    if not servers:
        findings.append((State.WARNING, "no server is registered"))
    away = 100 * (servers - eligible) / servers if servers else 0.0
    active = () if status.total_active_tasks is None else (Measure(name="active", value=status.total_active_tasks),)
    measures = (
        bounded(Measure(name="away", value=round(away, 1), unit="%"), warning, 20, critical, 50),
        Measure(name="servers", value=servers),
        Measure(name="pending", value=status.pending),
        *active,
    )
    return Answers(tuple(findings), measures)


def gateway(form: str, warning: float | None, critical: float | None) -> NoReturn:
    wanted = asking.Wanted(options.given_of(click.get_current_context()))
    try:
        wanted.resolve()
        if not wanted.place.is_rest:
            raise ContextError("the gateway's address is not known: give its --url, or a context with url alone")
        began_s = time.monotonic()
        data, headers = wanted.rest().fetch("GET", "/readyz", timeout_s=wanted.timeout_s)
        took_ms = (time.monotonic() - began_s) * 1000
    except (BusError, ContextError) as error:
        found = State.CRITICAL if isinstance(error, BusError) else State.UNKNOWN
        tell(form, concluded("gateway", Answers(((found, str(error)),))))
    measure = bounded(Measure(name="answer", value=round(took_ms, 1), unit="ms"), warning, 500, critical, 2_000)
    tell(form, concluded("gateway", Answers((_ready(data, headers),), (measure,))))


def _ready(data: bytes, headers: dict[str, str]) -> tuple[State, str]:
    if HEADER_ERROR_CODE in headers:
        from pointsman.client.bus import Message as Answer

        return State.CRITICAL, problem_of(Answer("", data, headers)).detail
    status = msgspec.json.decode(data, type=_Ready)
    away = [name for name, one in status.dependencies.items() if not one.ok]
    if away:
        return State.WARNING, f"{status.status}: without {', '.join(away)}"
    return State.OK, status.status


class _Dependency(msgspec.Struct):
    ok: bool


class _Ready(msgspec.Struct):
    status: str
    dependencies: dict[str, _Dependency]


def _leads(leader: str | None) -> tuple[tuple[State, str], ...]:
    return (
        ((State.OK, f"{leader} leads"),) if leader else ((State.CRITICAL, "no balancer leads: nothing is dispatched"),)
    )


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
