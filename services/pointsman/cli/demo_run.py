"""The demo from start to end: everything it starts is stopped again, however it ends."""

import asyncio
import contextlib
import secrets
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pointsman.cli import demo_cockpit, demo_corpus, demo_fleet, demo_report
from pointsman.cli.demo_child import Child, StepFailed
from pointsman.cli.demo_client import DemoClient, Finished
from pointsman.cli.demo_corpus import Counts, Module
from pointsman.cli.demo_fleet import Backend
from pointsman.cli.demo_push import Push
from pointsman.cli.demo_system import System, fresh_folder

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
EQUAL, DIFFERENT_OR_FAILED, INTERRUPTED = 0, 1, 130

type Round = dict[str, Finished]
"""The finished tasks by module name."""


@dataclass(frozen=True)
class Options:
    data_dir: Path | None
    port: int
    modules: int | None
    exit: bool
    cockpit: bool


@dataclass
class Verdict:
    """The exit code so far; Ctrl-C before the table leaves it as it is here."""

    code: int = INTERRUPTED


def run(options: Options) -> int:
    """The exit code: 0 equal, 1 different or failed, 130 interrupted before the end."""
    return asyncio.run(_until_ended(options, Console(highlight=False)))


async def _until_ended(options: Options, console: Console) -> int:
    """Runs it until it is done or a signal asks to stop; a second signal does not disturb the cleaning up."""
    verdict = Verdict()
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    work = asyncio.create_task(_demonstrate(options, console, verdict))
    asking = asyncio.create_task(asked.wait())
    await asyncio.wait({work, asking}, return_when=asyncio.FIRST_COMPLETED)
    asking.cancel()
    if not work.done():
        console.print("stopping")
        work.cancel()
    await _ended(work, console, verdict)
    return verdict.code


async def _ended(work: asyncio.Task[None], console: Console, verdict: Verdict) -> None:
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await work
    except* StepFailed as failures:
        console.print("failed:", _first(failures), style="red", markup=False, soft_wrap=True)
        verdict.code = DIFFERENT_OR_FAILED


async def _demonstrate(options: Options, console: Console, verdict: Verdict) -> None:
    examples = demo_fleet.examples_folder()
    corpus = demo_corpus.modules(options.modules)
    async with AsyncExitStack() as stack:
        data_dir = options.data_dir or stack.enter_context(fresh_folder("pointsman-demo-"))
        console.print(f"starting Pointsman on {data_dir}")
        system = await System.start(data_dir, port=options.port, owner="demo")
        stack.push_async_callback(system.stop)
        backends = await stack.enter_async_context(demo_fleet.running(examples))
        await stack.enter_async_context(_guarded([system.child, *(backend.child for backend in backends)]))
        client = await stack.enter_async_context(DemoClient.connect(system.url, system.token))
        await _make_ready(client, backends, console)
        if options.cockpit:
            rounds, local = await _count_in_view(client, corpus, examples, data_dir, console)
        else:
            rounds, local = await _count(client, corpus, examples, console)
        verdict.code = _report(rounds, local, console)
        await _say_limit(backends, console)
        if not options.exit:
            await _stay(system, data_dir, console)


@asynccontextmanager
async def _guarded(children: Sequence[Child]) -> AsyncIterator[None]:
    """Fails the block when one of the children ends within it."""
    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(child.must_live()) for child in children]
        yield
        for watch in watches:
            watch.cancel()


async def _make_ready(client: DemoClient, backends: Sequence[Backend], console: Console) -> None:
    for backend in backends:
        await demo_fleet.register(client, backend)
    with console.status("servers") as status:
        await demo_fleet.until_healthy(
            client, lambda count: status.update(f"servers: {count} of {len(backends)} are healthy")
        )
    console.print(f"{len(backends)} servers are registered and healthy")


async def _count_in_view(
    client: DemoClient, corpus: Sequence[Module], examples: Path, data_dir: Path, console: Console
) -> tuple[list[Round], dict[str, Counts]]:
    """Rounds of the same tasks until the cockpit is left, and the counts made here meanwhile; the rest of the last one is
    shown, for it takes its time."""
    progress = Progress(*COLUMNS, console=console, transient=True)
    bar = progress.add_task("the last round", total=len(corpus))

    async def one() -> Round:
        progress.reset(bar)
        return await _new_push(client, seen=lambda: progress.advance(bar)).all(corpus)

    async def show_once_left(cockpit: Process) -> None:
        await cockpit.wait()
        progress.start()

    try:
        async with asyncio.TaskGroup() as group:
            counting = group.create_task(demo_corpus.count_locally(corpus, examples))
            async with demo_cockpit.open_cockpit(data_dir) as cockpit:
                group.create_task(show_once_left(cockpit))
                rounds = await demo_cockpit.rounds(cockpit, one)
            progress.update(bar, description="counting here")
    finally:
        progress.stop()
    return rounds, counting.result()


async def _count(
    client: DemoClient, corpus: Sequence[Module], examples: Path, console: Console
) -> tuple[list[Round], dict[str, Counts]]:
    """Both counts at the same time: by Pointsman's tasks, and here."""
    with Progress(*COLUMNS, console=console) as progress:
        bar = progress.add_task("modules", total=len(corpus))
        push = _new_push(client, seen=lambda: progress.advance(bar))
        async with asyncio.TaskGroup() as group:
            pushing = group.create_task(push.all(corpus))
            counting = group.create_task(demo_corpus.count_locally(corpus, examples))
            finished = await pushing
            progress.update(bar, description="modules, counting here")
    return [finished], counting.result()


def _new_push(client: DemoClient, seen: Callable[[], object] = lambda: None) -> Push:
    return Push(client, secrets.token_hex(6), seen)


def _report(rounds: Sequence[Round], local: dict[str, Counts], console: Console) -> int:
    """The totals are those of the last round; every round must be equal."""
    problems: list[str] = []
    for finished in rounds:
        stored, wrong = demo_report.stored_counts(finished)
        problems += wrong + demo_report.differences(stored, local)
    console.print(demo_report.server_table(task for finished in rounds for task in finished.values()))
    console.print(demo_report.totals_table(demo_report.totals(stored), demo_report.totals(local)))
    for line in demo_report.problem_lines(problems):
        console.print(line, style="red", markup=False, soft_wrap=True)
    equal = not problems and all(len(finished) == len(local) for finished in rounds)
    often = f", in each of {len(rounds)} rounds" if len(rounds) > 1 else ""
    console.print(f"equal: every module's counts are the same{often}" if equal else "NOT equal")
    return EQUAL if equal else DIFFERENT_OR_FAILED


async def _say_limit(backends: Sequence[Backend], console: Console) -> None:
    """The slow example counts for itself how many tasks it ever had at once."""
    for backend in backends:
        load = await demo_fleet.load_of(backend)
        if "peak" in load:
            example = backend.example
            said = f"had {load['peak']} at a time at most (limit {example.max_concurrent}), refused {load['refused']}"
            console.print(f"{example.server_id} says for itself: {said}")


async def _stay(system: System, data_dir: Path, console: Console) -> None:
    console.print(f"\nPointsman stays up at {system.url}", f"Its interface is described at {system.url}/docs", sep="\n")
    console.print("A token:  pointsman token --role admin --sub me --data-dir", str(data_dir), soft_wrap=True)
    console.print("Ctrl-C ends it.")
    await asyncio.Event().wait()


def _first(failures: BaseExceptionGroup[StepFailed]) -> str:
    inner = failures.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else str(inner)
