"""`pointsman type`: declared task types, their defaults, limits and payload schemas."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pointsman.cli import completing, options
from pointsman.cli.impact import group
from pointsman.cli.params import Seconds

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.cli.options import Acting
    from pointsman.contracts.steering import LimitRequest


name_argument = click.argument("name", shell_complete=completing.types)


@group("type")
def task_type() -> None:
    """List, show, declare and remove task types."""


@task_type.reads("list")
@options.cursor
@options.asked
def list_types(wanted: "Wanted", cursor: str | None) -> None:
    """The declared types."""
    from pointsman.cli import asking, views_settings
    from pointsman.contracts.steering import PageRequest

    page = asking.request(PageRequest, cursor=cursor)
    wanted.show(lambda client: client.types.list(page), views_settings.TYPES)


@task_type.reads("get")
@name_argument
@options.asked
def get(wanted: "Wanted", name: str) -> None:
    """A declared type, and its last ten changes."""
    from pointsman.cli import views_settings

    wanted.show(lambda client: client.types.get(name), views_settings.TYPE)


@task_type.writes()
@name_argument
@click.option("--pool", help="Pool of its tasks.")
@click.option("--priority", type=int, help="0 to 10.")
@click.option("--capability", "capabilities", multiple=True, help="Needed by each of its tasks; may be given again.")
@click.option(
    "--timeout-after", "attempt_s", type=Seconds(0.001, 86_400), help="How long an attempt may take: 30s, 15m, 1h."
)
@click.option(
    "--deadline-after", "deadline_s", type=Seconds(0.001, 365 * 86_400), help="How long a task may take in all."
)
@click.option("--max-attempts", type=int, help="Attempts of a task.")
@click.option("--retry", help="fast, standard or patient.")
@click.option(
    "--schema",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
    help="File with a JSON Schema for the payloads; - reads standard input.",
)
@options.limited
@options.if_match
@options.acting
@options.asked
def declare(
    wanted: "Wanted",
    acting: "Acting",
    name: str,
    if_match: int | None,
    limit: "LimitRequest",
    pool: str | None,
    priority: int | None,
    capabilities: tuple[str, ...],
    attempt_s: float | None,
    deadline_s: float | None,
    max_attempts: int | None,
    retry: str | None,
    schema: Path | None,
) -> None:
    """Declare a task type, as a whole: what is not given has no default of its own."""
    from pointsman.cli import acting as acts
    from pointsman.cli import asking, settings_plans, views_settings
    from pointsman.contracts.steering import TypeRequest

    request = asking.request(
        TypeRequest,
        pool=pool,
        priority=priority,
        capabilities=list(capabilities),
        timeoutMs=_ms(attempt_s),
        deadlineMs=_ms(deadline_s),
        maxAttempts=max_attempts,
        retry=None if retry is None else {"preset": retry},
        limit=limit,
        schema=_json(schema),
    )
    acts.act(
        wanted,
        acting,
        plan=settings_plans.declaration(name, request, if_match),
        plan_view=acts.PLAN,
        do=lambda client: client.types.declare(name, request, if_match=if_match),
        view=views_settings.TYPE,
        asks=acts.Asks.NEVER,
    )


@task_type.writes()
@name_argument
@options.if_match
@options.acting
@options.asked
def remove(wanted: "Wanted", acting: "Acting", name: str, if_match: int | None) -> None:
    """Remove a declaration; tasks that were accepted keep what they have."""
    from pointsman.cli import acting as acts
    from pointsman.cli import settings_plans, views_settings

    acts.act(
        wanted,
        acting,
        plan=settings_plans.undeclaration(name, if_match),
        plan_view=acts.PLAN,
        do=lambda client: client.types.remove(name, if_match=if_match),
        view=views_settings.REMOVED,
        asks=acts.Asks.NEVER,
    )


@task_type.writes()
@name_argument
@options.if_match
@options.acting
@options.asked
def undo(wanted: "Wanted", acting: "Acting", name: str, if_match: int | None) -> None:
    """Take back the last change of a declaration; once more takes that back."""
    from pointsman.cli import acting as acts
    from pointsman.cli import settings_plans, views_settings

    acts.act(
        wanted,
        acting,
        plan=settings_plans.type_undo(name, if_match),
        plan_view=acts.PLAN,
        do=lambda client: client.types.undo(name, if_match=if_match),
        view=views_settings.TYPE,
        asks=acts.Asks.NEVER,
    )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(1000 * seconds)


def _json(path: Path | None) -> Any:
    """The file as raw JSON; a usage error when it is none."""
    import msgspec

    if path is None:
        return None
    try:
        with click.open_file(str(path), "rb") as file:
            return msgspec.json.decode(file.read(), type=msgspec.Raw).copy()
    except (OSError, msgspec.DecodeError) as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="--schema") from error
