"""`pointsman task`: list, read, cancel and retry tasks."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pointsman.cli import options

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.client.client import Client

LISTED_DEFAULT, LISTED_MAX = 50, 100_000
FORMS = ("table", "json", "jsonl")
FILTER_HELP = """FILTER is the language of the API's `q`, all terms must hold:

    type:resize-* state:failed,timeout -server:srv-0017 try>1 wait>5s error:"connection refused" since:15m payload.user:42
"""


@click.group()
def task() -> None:
    """List, read, cancel and retry tasks."""


@task.command("list", epilog="Terms that begin with - need -- before them.")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@click.option("--status", help="As the filter status:.")
@click.option("-o", "form", type=click.Choice(FORMS), default="table", show_default=True, help="Form of the output.")
@click.option("--limit", type=click.IntRange(1, LISTED_MAX), default=LISTED_DEFAULT, show_default=True)
@options.config
@options.data_dir
def list_tasks(
    filters: tuple[str, ...], status: str | None, form: str, limit: int, config_path: Path | None, data_dir: Path | None
) -> None:
    """Live and archived tasks, newest first."""
    from pointsman.cli import task_output
    from pointsman.contracts.search import PAGE_MAX, SearchTasks, TaskPage

    named = {"q": " ".join(filters)} if filters else {}
    named |= {"status": status} if status else {}

    async def pages(client: "Client") -> None:
        printer, left, cursor = task_output.Printer(form), limit, None
        while left > 0:
            request = SearchTasks(filters=named, limit=min(left, PAGE_MAX), cursor=cursor)
            page: TaskPage = await client.history.search(request)
            printer.show(page.tasks)
            left, cursor = left - len(page.tasks), page.cursor
            if cursor is None:
                break
        printer.end(more=cursor is not None)

    _run(config_path, data_dir, pages)


@task.command("get")
@click.argument("task_id")
@options.config
@options.data_dir
def get_task(task_id: str, config_path: Path | None, data_dir: Path | None) -> None:
    """One task as JSON, with payload and result."""
    from pointsman.cli import task_output

    async def show(client: "Client") -> None:
        task_output.show_one(await client.tasks.get(task_id))

    _run(config_path, data_dir, show)


@task.command("cancel")
@click.argument("task_id")
@click.option("--reason", help="Kept with the task.")
@options.config
@options.data_dir
def cancel_task(task_id: str, reason: str | None, config_path: Path | None, data_dir: Path | None) -> None:
    """Cancel one open task."""

    async def cancel(client: "Client") -> None:
        click.echo((await client.tasks.cancel(task_id, reason)).message)

    _run(config_path, data_dir, cancel)


@task.command("retry")
@click.argument("task_id")
@options.config
@options.data_dir
def retry_task(task_id: str, config_path: Path | None, data_dir: Path | None) -> None:
    """Run one ended task again, as its next generation."""

    async def retry(client: "Client") -> None:
        click.echo((await client.tasks.retry(task_id)).message)

    _run(config_path, data_dir, retry)


@task.command()
@click.argument("id")
@options.asked
def explain(wanted: "Wanted", id: str) -> None:
    """Why a task is where it is: what it waits at, its place in line, and why each server does not take it."""
    from pointsman.cli import printing

    wanted.show(lambda client: client.tasks.explain(id), printing.explanation)


def _run(config_path: Path | None, data_dir: Path | None, work: Callable[["Client"], Awaitable[Any]]) -> None:
    """Do it as an operator over the bus; a refusal ends the command with its text and exit code 1."""
    import asyncio

    from pointsman.cli.connected import as_operator
    from pointsman.client.bus import BusError
    from pointsman.contracts.errors import PointsmanError
    from pointsman.services.runtime import logs

    settings = options.settings_of(config_path, data_dir)
    logs.configure("task", level="error", form="console")
    try:
        asyncio.run(as_operator(settings, work))
    except PointsmanError as error:
        options.fail(error.detail, options.UNREACHABLE if error.status == 503 else options.FAILED)
    except BusError as error:
        options.fail(f"NATS cannot be reached: {error}", options.UNREACHABLE)
