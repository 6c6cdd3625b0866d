"""The question before an act: its plan, the same as a command, and two buttons, of which the safe one has the focus.

A key that opens it can never carry it out: enter falls on the safe button, or into a field that has to be filled first.
"""

from time import monotonic
from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label

from pointsman.tui.acts import Kind, Tier
from pointsman.tui.cases import Acts, Case
from pointsman.tui.commands import command_of
from pointsman.tui.dialogs.reason import ReasonInput
from pointsman.tui.dialogs.telling import Told, lines_of
from pointsman.tui.underway import OVER, SENT, State
from pointsman.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from pointsman.tui.app import Cockpit

TICK_S = 0.5
REVIEWABLE = frozenset({State.MOVED, State.CONFLICT, State.REFUSED})
WIDTH = 78


class ConfirmDialog(ModalScreen[Case]):
    DEFAULT_CSS = """
    ConfirmDialog { align: center middle; }
    ConfirmDialog #box {
        width: 78; max-width: 100%; height: auto; max-height: 100%; padding: 0 1; background: $background;
        border: round $primary; border-title-style: bold;
    }
    ConfirmDialog.-typed #box { border: heavy $error; }
    ConfirmDialog #said { height: auto; max-height: 60vh; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    ConfirmDialog #said Lines { height: auto; }
    ConfirmDialog #typed { border: none; height: 1; padding: 0 1; margin: 0 0 1 0; background: $panel; }
    ConfirmDialog #mistake { color: $error; height: 1; padding: 0 1; }
    ConfirmDialog #buttons { height: 1; align-horizontal: right; }
    ConfirmDialog Button { height: 1; border: none; min-width: 16; margin: 0 0 0 2; background: $panel; }
    ConfirmDialog Button:focus { background: $primary; color: $background; text-style: bold reverse; }
    ConfirmDialog Button:disabled { text-style: dim; }
    """
    BINDINGS = [
        Binding("escape", "leave", "No, go back", show=False, id="dialog.leave"),
        Binding("n", "leave", "No, go back", show=False, id="dialog.no"),
        Binding("y", "yes", "Yes", show=False, id="dialog.yes"),
        Binding("r", "review", "Look again", show=False, id="dialog.review"),
        Binding("w", "why", "Say why", show=False, id="dialog.why"),
        Binding("Y", "copy", "Copy the command", show=False, id="dialog.copy"),
        Binding("pagedown", "read(1)", "Read on", show=False, id="dialog.on"),
        Binding("pageup", "read(-1)", "Read back", show=False, id="dialog.back"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]

    def __init__(self, case: Case, acts: Acts) -> None:
        super().__init__()
        self.case = case
        self._acts = acts
        self._shown: tuple[object, ...] = ()
        self._is_gone = False
        case.watchers.append(self._case_told)

    @property
    def cockpit(self) -> "Cockpit":
        return cast("Cockpit", self.app)

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            with VerticalScroll(id="said", can_focus=False):
                yield Lines(id="lines")
            yield ReasonInput()
            yield Label("", id="mistake", markup=False)
            yield Input(id="typed", compact=True)
            with Horizontal(id="buttons"):
                yield Button("No, go back", id="no", compact=True)
                yield Button(self.case.underway.act.rule.button, id="yes", compact=True, disabled=True)

    def on_mount(self) -> None:
        rule = self.case.underway.act.rule
        self.query_one("#box").border_title = f" {rule.title} on {self.cockpit.options.system.name} "
        self.set_interval(TICK_S, self._tick)
        self._draw()
        self.query_one("#no", Button).focus()

    def on_unmount(self) -> None:
        if self._case_told in self.case.watchers:
            self.case.watchers.remove(self._case_told)

    def on_resize(self) -> None:
        self._shown = ()
        self._draw()

    def _case_told(self) -> None:
        underway = self.case.underway
        needs_reading = underway.outcome is not None and (underway.outcome.job or underway.outcome.secret)
        if underway.state in OVER and not needs_reading:
            self._go()
        else:
            self._draw()

    def _go(self) -> None:
        """Once, whoever says so first."""
        if not self._is_gone and self.is_attached:
            self._is_gone = True
            self.dismiss(self.case)

    def _tick(self) -> None:
        """The link may have changed, and time passes for what is on its way."""
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        told = self._told()
        underway = self.case.underway
        width = self.query_one("#said").scrollable_content_region.width or WIDTH
        if self._shown == (told, underway, width):
            return
        self._shown = (told, underway, width)
        lines = lines_of(told, width)
        body = self.query_one("#lines", Lines)
        body.styles.height = len(lines)
        body.show(lines)
        is_typed = underway.tier is Tier.TYPED
        self.set_class(is_typed, "-typed")
        why = "  w why" if underway.act.rule.takes_reason else ""
        self.query_one(
            "#box"
        ).border_subtitle = f" {'type, enter, enter' if is_typed else 'y yes'}  esc no{why}  Y copy "
        self._draw_reason()
        self._draw_field()
        self._draw_buttons()

    def _told(self) -> Told:
        waited = self.case.underway.waited_s(monotonic())
        return Told(
            underway=self.case.underway,
            read_only=self.cockpit.why_read_only,
            trouble=self.case.trouble,
            command=command_of(self.case.underway.act),
            waited_s=int(waited),
            job=self.case.job,
        )

    def _draw_reason(self) -> None:
        underway = self.case.underway
        field, mistake = self.query_one(ReasonInput), self.query_one("#mistake", Label)
        is_shown = underway.act.rule.takes_reason and underway.state in (State.PLANNING, State.PLANNED)
        field.display = mistake.display = is_shown
        mistake.update(underway.act.reason_mistake)

    def _draw_field(self) -> None:
        underway = self.case.underway
        field = self.query_one("#typed", Input)
        field.display = underway.tier is Tier.TYPED and underway.state is State.PLANNED and not underway.reaches_nothing
        what = "the end of its id" if underway.act.rule.kind is Kind.TASK and len(underway.act.things) == 1 else ""
        field.placeholder = f"type {underway.phrase} to confirm{f' ({what})' if what else ''}"
        if not underway.typed and field.value:
            field.value = ""

    def _draw_buttons(self) -> None:
        underway = self.case.underway
        no, yes = self.query_one("#no", Button), self.query_one("#yes", Button)
        is_review = underway.state in REVIEWABLE
        no.label = "Close" if underway.state in (*SENT, *REVIEWABLE, State.DONE) else "No, go back"
        yes.label = "Review again" if is_review else underway.act.rule.button
        yes.disabled = not (is_review or underway.may_confirm(self.cockpit.why_read_only))
        yes.display = underway.state not in (*SENT, State.DONE)
        if self.focused is None or not self.focused.focusable:
            no.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        underway, text = self.case.underway, message.value
        is_reason = message.input.id == "reason"
        self.case.underway = underway.with_reason(text) if is_reason else underway.with_typed(text)
        self._draw()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """What was typed right leads to the button; it carries out nothing by itself. A reason leads to the safe one."""
        if message.input.id == "reason":
            self.query_one("#no", Button).focus()
        elif self.case.underway.may_confirm(self.cockpit.why_read_only):
            self.query_one("#yes", Button).focus()

    def on_button_pressed(self, message: Button.Pressed) -> None:
        if message.button.id == "no":
            self.action_leave()
        elif self.case.underway.state in REVIEWABLE:
            self.action_review()
        else:
            self.action_yes()

    def action_yes(self) -> None:
        self._acts.confirm(self.case)

    def action_why(self) -> None:
        field = self.query_one(ReasonInput)
        if field.display:
            field.focus()

    def action_review(self) -> None:
        self._acts.review(self.case)
        self.query_one("#no", Button).focus()

    def action_leave(self) -> None:
        self._acts.leave(self.case)
        self._go()

    def action_read(self, by: int) -> None:
        """A plan that is longer than the terminal."""
        said = self.query_one("#said")
        said.scroll_relative(y=by * max(1, said.size.height - 1), animate=False)

    def action_copy(self) -> None:
        self.cockpit.copy(command_of(self.case.underway.act))
