"""One server, the whole page: the same facts as beside the list, with all that the cockpit has heard of it."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal

from pointsman.contracts.frames import Sample
from pointsman.tui.format import clock, duration
from pointsman.tui.looks import Role, kind_look
from pointsman.tui.serverlines import detail_lines
from pointsman.tui.verbs.servers import ServerVerbs
from pointsman.tui.widgets.lines import Lines, Span, line
from pointsman.tui.widgets.titles import entitle


class ServerScreen(ServerVerbs):
    NAME = "servers"

    def __init__(self, server_id: str) -> None:
        super().__init__()
        self.server_id = server_id

    def body(self) -> ComposeResult:
        with Horizontal(id="page"):
            yield Lines(id="facts", classes="box")
            yield Lines(id="tasks", classes="box")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The id that a verb acts on."""
        return (self.server_id,)

    def draw(self) -> None:
        facts = self.query_one("#facts", Lines)
        server = self.model.servers.get(self.server_id)
        entitle(facts, f"server {self.server_id}")
        if server is None:
            _fill(facts, [[], line((f" {self.server_id} is not here any more", Role.WARN)), line(" esc goes back")])
        else:
            _fill(facts, detail_lines(server, self.model, facts.size.width, self.cockpit.zone))
        tasks = self.query_one("#tasks", Lines)
        if tasks.display:
            entitle(tasks, "tasks on it, sample")
            seen = [thing for thing in reversed(self.model.sample) if thing.server_id == self.server_id]
            _fill(tasks, [self._task_line(thing) for thing in seen] or [line((" none in the sample yet", Role.DIM))])

    def _task_line(self, thing: Sample) -> list[Span]:
        look = kind_look(thing.kind)
        took = "" if thing.ms is None else f" {duration(thing.ms):>7}"
        at = clock(thing.at, self.cockpit.zone)
        return line(f" {at} {thing.task_id[-8:]} ", (f"{look!s:<11}", look.role), f"{took}  {thing.type or ''}")


def _fill(box: Lines, lines: Sequence[Sequence[Span]]) -> None:
    room = box.size.height
    box.show([*lines[:room], *([[]] * (room - len(lines)))])
