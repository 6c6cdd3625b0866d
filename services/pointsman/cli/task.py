"""`pointsman task`: submit, list, read, wait for, follow, explain, cancel and retry tasks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pointsman.cli import completing, options
from pointsman.cli.impact import group

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.cli.options import Acting

LISTED_DEFAULT, LISTED_MAX = 50, 100_000
TERMS = """\b
FILTER is the language of the API's `q`; all terms must hold:
  type:resize-* state:failed,timeout -server:srv-0017 try>1 wait>5s
  error:"connection refused" since:15m payload.user:42
Terms that begin with - need -- before them."""
id_argument = click.argument("task_id", metavar="ID", shell_complete=completing.tasks)
ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=completing.tasks)
filters_argument = click.argument("filters", nargs=-1, metavar="[FILTER]...")
matching_option = click.option("--matching", metavar="FILTER", help="All that match, by a job of the system.")


@group(aliases={"search": "list"})
def task() -> None:
    """Submit, list, read, wait for, follow, explain, cancel and retry tasks."""


@task.writes(epilog='An own key in a line: "idempotencyKey". Without one it is made of the line\'s place and content.')
@click.argument("task_type", metavar="[TYPE]", required=False, shell_complete=completing.types)
@click.option(
    "-f", "--file", type=click.Path(path_type=Path, allow_dash=True), help="Many: one JSON request a line; - is stdin."
)
@click.option("--payload", metavar="JSON", help="An object; @FILE reads it from there, - from stdin.  [{}]")
@click.option("--pool", shell_complete=completing.pools, help="Its pool.")
@click.option("--priority", type=int, help="0 to 10, higher first.")
@click.option(
    "--capability", "capabilities", multiple=True, help="What its server must be able to do; may be given again."
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be given again.")
@click.option("--delay", metavar="DURATION", help="Not before this has passed: 30s, 15m, 1h.")
@click.option("--attempt-timeout", metavar="DURATION", help="How long an attempt may take.")
@click.option("--deadline", metavar="DURATION", help="How long it may take in all.")
@click.option("--max-attempts", type=int, help="Attempts in all.")
@click.option("--fairness-key", help="Whose share it counts to.")
@click.option("--concurrency-key", help="What it shares a limit with.")
@click.option("--affinity-key", help="What keeps it on the same server.")
@click.option("--idempotency-key", help="The same key again submits nothing again (24 h).")
@click.option("--wait", is_flag=True, help="Until it has ended; exit code 1 unless completed, 6 after --timeout.")
@click.option(
    "--in-flight", type=click.IntRange(1, 256), default=32, show_default=True, help="With -f: requests at a time."
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With -f: keep there how far it came, and go on from it.",
)
@click.option("--dry-run", is_flag=True, help="Check the form of the request, or of every line, and send nothing.")
@options.asked
def submit(wanted: "Wanted", task_type: str | None, file: Path | None, **given: Any) -> None:
    """Submit a task of TYPE; or many, one JSON request a line.

    \b
      pointsman task submit resize --payload '{"width": 200}' --wait
      pointsman task submit -f tasks.jsonl
    """
    from pointsman.cli import submitting

    submitting.submit(wanted, task_type, file, given)


@task.reads("list", epilog=TERMS)
@filters_argument
@click.option("--status", help="As the filter status:.")
@click.option(
    "--limit", type=click.IntRange(1, LISTED_MAX), default=LISTED_DEFAULT, show_default=True, help="At most so many."
)
@options.watch
@options.asked
def list_tasks(
    wanted: "Wanted", filters: tuple[str, ...], status: str | None, limit: int, watch_s: float | None
) -> None:
    """Live and archived tasks, newest first."""
    from pointsman.cli import finding

    finding.show(wanted, finding.named(filters, status), limit, watch_s)


@task.reads("get")
@id_argument
@options.watch
@options.asked
def get_task(wanted: "Wanted", task_id: str, watch_s: float | None) -> None:
    """One task: where it is, and its attempts; -o json has payload and result too."""
    from pointsman.cli import views, watching

    watching.show(wanted, lambda client: client.tasks.get(task_id), views.TASK, watch_s)


@task.reads()
@id_argument
@click.option("--wait", is_flag=True, help="Until it has ended; exit code 6 after --timeout.")
@options.asked_plainly
def result(wanted: "Wanted", task_id: str, wait: bool) -> None:
    """The result of a completed task, as it is; exit code 1 when the task failed, 4 when it has not ended yet."""
    from pointsman.cli import waiting

    waiting.result(wanted, task_id, wait=wait)


@task.reads()
@click.argument("ids", nargs=-1, metavar="ID...", required=True, shell_complete=completing.tasks)
@click.option(
    "--for",
    "goal",
    default="state=completed",
    show_default=True,
    metavar="state=WORD",
    help="A status, or `ended` for any end.",
)
@options.asked
def wait(wanted: "Wanted", ids: tuple[str, ...], goal: str) -> None:
    """Wait until tasks are in a state: 0 all are, 1 one has ended otherwise, 6 not within --timeout (60 s)."""
    from pointsman.cli import waiting

    waiting.wait(wanted, ids, goal)


@task.reads()
@id_argument
@options.asked
def watch(wanted: "Wanted", task_id: str) -> None:
    """What has happened to a task, then what happens, until it has ended; exit code 1 unless it completed."""
    from pointsman.cli import waiting

    waiting.follow(wanted, task_id)


@task.reads()
@id_argument
@click.option("--width", type=click.IntRange(40, 400), help="Characters; the terminal's when not given.")
@click.option("--ascii", "is_ascii", is_flag=True, help="No other characters than ASCII.")
@options.watch
@options.asked
def trace(wanted: "Wanted", task_id: str, width: int | None, is_ascii: bool, watch_s: float | None) -> None:
    """One bar for each attempt: waited, paused, ran, on which server, and how it ended."""
    from pointsman.cli import tracing

    tracing.show(wanted, task_id, width, watch_s, is_ascii=is_ascii)


@task.reads()
@id_argument
@options.watch
@options.asked
def explain(wanted: "Wanted", task_id: str, watch_s: float | None) -> None:
    """Why a task is where it is: what it waits at, its place in line, and why each server does not take it."""
    from pointsman.cli import views, watching

    watching.show(wanted, lambda client: client.tasks.explain(task_id), views.EXPLANATION, watch_s)


@task.reads(epilog=TERMS)
@filters_argument
@options.asked
def tail(wanted: "Wanted", filters: tuple[str, ...]) -> None:
    """Follow what happens to the tasks that match, until interrupted."""
    from pointsman.cli import tailing

    tailing.tail(wanted, " ".join(filters))


@task.writes("cancel")
@ids_argument
@matching_option
@options.reason
@options.acting
@options.asked
def cancel_task(wanted: "Wanted", acting: "Acting", **given: Any) -> None:
    """Cancel open tasks, by id or all that match."""
    from pointsman.cli import ending

    ending.act(wanted, acting, "cancel", **given)


@task.writes("retry")
@ids_argument
@matching_option
@options.reason
@options.acting
@options.asked
def retry_task(wanted: "Wanted", acting: "Acting", **given: Any) -> None:
    """Run ended tasks again, as their next generation, by id or all that match."""
    from pointsman.cli import ending

    ending.act(wanted, acting, "retry", **given)
