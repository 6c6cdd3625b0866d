"""Lists of tasks over many pages, each shown as it comes."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import click

from pointsman.cli import output, views, watching
from pointsman.contracts.search import PAGE_MAX, SearchTasks

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.client.client import Client
    from pointsman.contracts.task import Task

MORE = "there are more; --limit shows them"


def named(filters: tuple[str, ...], status: str | None) -> dict[str, str]:
    terms = {"q": " ".join(filters)} if filters else {}
    return terms | ({"status": status} if status else {})


def show(wanted: "Wanted", filters: dict[str, str], limit: int, watch_s: float | None) -> None:
    if watch_s is not None or wanted.form not in ("json", "jsonl", "name"):
        watching.show(wanted, lambda client: _all(client, filters, limit), views.TASKS, watch_s)
        return

    async def pages(client: "Client") -> None:
        is_first, form = True, wanted.form
        async for page in _pages(client, filters, limit):
            for line in lines(page.tasks, form, is_first=is_first):
                click.echo(line)
                is_first = False
        if form == "json":
            click.echo("[]" if is_first else "]")

    wanted.ask(pages)


async def _all(client: "Client", filters: dict[str, str], limit: int) -> "tuple[Task, ...]":
    tasks: tuple[Task, ...] = ()
    async for page in _pages(client, filters, limit):
        tasks += page.tasks
    return tasks


class Page:
    def __init__(self, tasks: "tuple[Task, ...]") -> None:
        self.tasks = tasks


async def _pages(client: "Client", filters: dict[str, str], limit: int) -> "AsyncIterator[Page]":
    left, cursor = limit, None
    while left > 0:
        found = await client.history.search(SearchTasks(filters=filters, limit=min(left, PAGE_MAX), cursor=cursor))
        yield Page(found.tasks)
        left, cursor = left - len(found.tasks), found.cursor
        if cursor is None:
            return
    if output.is_terminal():
        click.echo(MORE, err=True)


def lines(tasks: "tuple[Task, ...]", form: str, *, is_first: bool) -> Iterator[str]:
    """Of a JSON array all but its end."""
    for task in tasks:
        if form == "name":
            yield task.id
        elif form == "jsonl":
            yield output.as_jsonl(task)
        else:
            yield ("[" if is_first else ",") + output.as_jsonl(task)
            is_first = False
