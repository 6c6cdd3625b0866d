"""An act: the plan, the question where there is one, the doing. What asks cannot be taken back, or reaches many."""

import sys
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pointsman.cli import options
from pointsman.cli.output import Column, Style, View, facts
from pointsman.contracts.base import Message

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.cli.options import Acting
    from pointsman.client.client import Client

    type Ask[A] = Callable[[Client], Coroutine[Any, Any, A]]


class Asks(Enum):
    """NEVER: one thing, and one command takes it back. PEOPLE: asks where somebody can answer. ALWAYS: else refused."""

    NEVER = 0
    PEOPLE = 1
    ALWAYS = 2


class Plan(Message):
    """What an act would do: `before` and `after` are what changes, by field; `note` what to know before saying yes."""

    act: str
    target: str
    before: dict[str, msgspec.Raw] = {}
    after: dict[str, msgspec.Raw] = {}
    revision: int | None = None
    note: str = ""


def _plan(shown: Plan, style: Style) -> str:
    absent = msgspec.Raw(b"-")
    names = dict.fromkeys((*shown.before, *shown.after))
    changes = [
        (name, f"{_text(shown.before.get(name, absent))} -> {_text(shown.after.get(name, absent))}") for name in names
    ]
    told = facts((("would", shown.act), ("target", shown.target), ("revision", shown.revision)), style)
    parts = [told, facts(changes, style) if changes else "", shown.note]
    return "\n".join(part for part in parts if part)


def _text(value: msgspec.Raw) -> str:
    return bytes(value).decode()


PLAN: View[Plan, Plan] = View(
    (
        Column("ACT", lambda one: one.act),
        Column("TARGET", lambda one: one.target),
        Column("REVISION", lambda one: one.revision),
        Column("NOTE", lambda one: one.note or None),
    ),
    lambda one: (one,),
    lambda one: one.target,
    _plan,
)


def changed(before: object, after: object) -> tuple[dict[str, msgspec.Raw], dict[str, msgspec.Raw]]:
    """Both as fields, without those that stay."""
    was, will = (msgspec.json.decode(msgspec.json.encode(one), type=dict[str, msgspec.Raw]) for one in (before, after))
    moved = [name for name, value in will.items() if bytes(was.get(name, msgspec.Raw(b""))) != bytes(value)]
    return {name: was[name].copy() for name in moved if name in was}, {name: will[name].copy() for name in moved}


def act[A, P](
    wanted: "Wanted",
    acting: "Acting",
    *,
    plan: "Ask[P]",
    plan_view: View[P, Any],
    do: "Ask[A]",
    view: View[A, Any],
    asks: Asks,
    guarded: Callable[[P], "Ask[A]"] | None = None,
) -> A | None:
    """What was done; None for a dry run. Exit code 2 when somebody must be asked and nobody is there.

    `guarded` does what was shown in a plan, and refuses when it has changed since.
    """
    if acting.dry_run:
        wanted.show(plan, plan_view)
        return None
    if must_ask(wanted, acting, asks):
        planned = wanted.ask(plan)
        click.echo(wanted.told(planned, plan_view), err=True)
        confirm(wanted)
        do = guarded(planned) if guarded else do
    return wanted.show(do, view)


def must_ask(wanted: "Wanted", acting: "Acting", asks: Asks) -> bool:
    """Ends the command when the answer is needed and there is nobody to give it."""
    asks = Asks.ALWAYS if wanted.place.protected else asks
    if acting.yes or asks is Asks.NEVER:
        return False
    is_answered = sys.stdin.isatty()
    if asks is Asks.ALWAYS and not is_answered:
        options.fail("this asks before it acts: --yes says so ahead, --dry-run shows the plan", options.USAGE)
    return is_answered


def confirm(wanted: "Wanted") -> None:
    name, color = wanted.place.shown, wanted.place.color
    where = click.style(name, fg=color) if color and wanted.style.is_colored else name
    try:
        is_wished = click.confirm(f"Go on, on {where}?", err=True)
    except click.Abort:
        raise SystemExit(options.INTERRUPTED) from None
    if not is_wished:
        options.fail("nothing was done")
