"""The page Trace: one task attempt by attempt, live while it runs."""

import asyncio
from contextlib import aclosing

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding

from pointsman.client.bus import BusError
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.search import AuditPage, AuditQuery
from pointsman.contracts.task import Task
from pointsman.tui.asked import Asked
from pointsman.tui.copying import copy
from pointsman.tui.following import follow
from pointsman.tui.looks import Role
from pointsman.tui.screens.asking import AskingScreen, why_of
from pointsman.tui.screens.explain import ExplainScreen
from pointsman.tui.screens.payload import PayloadScreen
from pointsman.tui.screens.server import ServerScreen
from pointsman.tui.trace import Told
from pointsman.tui.trace_lines import lines_of
from pointsman.tui.verbs.tasks import TaskVerbs
from pointsman.tui.widgets.lines import Lines, line
from pointsman.tui.widgets.pager import Pager, as_lines

AGAIN_S = 1.0
LATE_EVERY_S = 5.0
LATE = "task.late-answer"


class TraceScreen(TaskVerbs, AskingScreen):
    NAME = "tasks"
    DEFAULT_CSS = """
    TraceScreen #said { height: 1; display: none; }
    TraceScreen.-said #said { display: block; }
    """
    BINDINGS = [
        Binding("escape", "app.back", "Back", key_display="esc", id="trace.back"),
        Binding("e", "explain", "Explain", id="trace.explain"),
        Binding("i", "payload", "Input/result", id="trace.payload"),
        Binding("left", "attempt(-1)", "Attempt before", show=False, id="trace.before"),
        Binding("right", "attempt(1)", "Attempt after", show=False, id="trace.after"),
        Binding("o", "as_it_was", "Server then", id="trace.replay"),
        Binding("y", "copy_id", "Copy the id", show=False, id="trace.copy"),
        Binding("Y", "copy_command", "Copy the command", show=False, id="trace.copy_command"),
    ]

    def __init__(self, task_id: str) -> None:
        super().__init__()
        self.task_id = task_id
        self.asked: Asked[Task] = Asked("task")
        self.late: Asked[AuditPage] = Asked("late answers")
        self.attempt: int | None = None

    @property
    def chosen(self) -> tuple[str, ...]:
        """The ids that a verb acts on."""
        return (self.task_id,)

    def generation_of(self, task_id: str) -> int | None:
        return None if self.asked.answer is None else self.asked.answer.generation

    def body(self) -> ComposeResult:
        yield Lines(id="said")
        yield Pager(id="trace")

    def on_mount(self) -> None:
        self.query_one(Pager).focus()
        self.run_worker(self._follow(), exit_on_error=False)
        self.set_interval(AGAIN_S, self.cockpit.wake)
        self.set_interval(LATE_EVERY_S, self._ask_late)

    async def _follow(self) -> None:
        """For as long as the page is open, over outages too."""
        while True:
            client = self.cockpit.client
            if client is None:
                self._fail(self.cockpit.why_alone)
            else:
                if self.asked.answer is None:
                    self.asked.began(self.cockpit.moment.now)
                try:
                    async with aclosing(follow(client, self.task_id)) as told:
                        async for task in told:
                            self._take(task)
                except (PointsmanError, BusError, msgspec.MsgspecError) as error:
                    self._fail(why_of(error))
            await asyncio.sleep(AGAIN_S)

    def _take(self, task: Task) -> None:
        was_open = self.asked.answer is None or not is_terminal(self.asked.answer.status)
        self.asked.came(task, self.cockpit.moment.now)
        if was_open:
            self._ask_late()
        self.cockpit.wake()

    def _fail(self, why: str) -> None:
        self.asked.failed(why, self.cockpit.moment.now, self.cockpit.moment.wall_ms)
        self.cockpit.wake()

    def _ask_late(self) -> None:
        """What came after the end is not in the task any more, but in the audit trail."""
        if self.asked.answer is not None and is_terminal(self.asked.answer.status):
            query = AuditQuery(target=self.task_id, what=LATE)
            self.ask(self.late, lambda client: client.history.audit(query))

    def draw(self) -> None:
        moment, task = self.cockpit.moment, self.asked.answer
        said = self.asked.said(moment.now)
        self.set_class(said is not None or task is None, "-said")
        self.query_one("#said", Lines).show([line(" ", said or (f"task {self.task_id}: reading", Role.DIM))])
        if task is None:
            return
        now_ms = max(self.model.at or 0, task.updated_at) if self.model.is_known else round(moment.wall_ms)
        page = self.late.answer
        late = () if page is None else tuple(Told(one.at, "late answer", one.detail, Role.WARN) for one in page.entries)
        lines = lines_of(
            task,
            now_ms=now_ms,
            width=self.size.width,
            zone=moment.zone,
            late=tuple(reversed(late)),
            has_keys=True,
            marked=self.attempt,
        )
        self.query_one(Pager).show(as_lines(lines))

    def action_attempt(self, by: int) -> None:
        """Point at another attempt."""
        numbers = [one.number for one in self.asked.answer.attempts] if self.asked.answer else []
        if numbers:
            place = numbers.index(self.attempt) + by if self.attempt in numbers else len(numbers) - 1
            self.attempt = numbers[min(len(numbers) - 1, max(0, place))]
            self.cockpit.wake()

    def action_as_it_was(self) -> None:
        """The server of the attempt that is pointed at, or of the last one, as it was when that began."""
        tried = self.asked.answer.attempts if self.asked.answer else ()
        if not tried:
            self.notify("no server has had it yet", severity="warning")
            return
        attempt = next((one for one in tried if one.number == self.attempt), tried[-1])
        if attempt.started_at < self.cockpit.replaying.period.first:
            self.notify("that is over an hour ago: no longer kept", severity="warning")
            return
        self.cockpit.replay_at(attempt.started_at)
        self.app.push_screen(ServerScreen(attempt.server_id))

    def action_explain(self) -> None:
        self.app.push_screen(ExplainScreen(self.task_id))

    def action_payload(self) -> None:
        self.app.push_screen(PayloadScreen(self.task_id))

    def action_copy_id(self) -> None:
        copy(self.app, self.task_id)

    def action_copy_command(self) -> None:
        copy(self.app, f"pointsman task trace {self.task_id} --watch")
