"""A form whose fields are checked while they are typed, by the same contract that the services check them by.

A mistake stands under its field; so does what the service says of it when it was asked. What is right leads to the
question every act leads to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label

from pointsman.contracts.errors import FieldError, PointsmanError, from_validation
from pointsman.tui.acts import Act
from pointsman.tui.cases import Case
from pointsman.tui.underway import State

if TYPE_CHECKING:
    from pointsman.tui.app import Cockpit


@dataclass(frozen=True, slots=True)
class Field:
    """`name` is that of the contract. What is left empty is not given."""

    name: str
    label: str
    hint: str = ""
    is_required: bool = False


class FormDialog[R: msgspec.Struct](ModalScreen[Case | None]):
    TITLE_TEXT: ClassVar[str] = ""
    FIELDS: ClassVar[tuple[Field, ...]] = ()
    DEFAULT_CSS = """
    FormDialog { align: center middle; }
    FormDialog #box {
        width: 78; max-width: 100%; height: auto; max-height: 100%; padding: 0 1; background: $background;
        border: round $primary; border-title-style: bold;
    }
    FormDialog #fields { height: auto; max-height: 60vh; scrollbar-size-vertical: 1; }
    FormDialog .row { height: 1; }
    FormDialog .row Label { width: 18; }
    FormDialog .row Input { border: none; height: 1; padding: 0 1; width: 1fr; background: $panel; }
    FormDialog .mistake { color: $error; height: auto; display: none; padding: 0 0 0 19; }
    FormDialog #wrong { color: $error; height: auto; }
    FormDialog #buttons { height: 1; align-horizontal: right; }
    FormDialog Button { height: 1; border: none; min-width: 16; margin: 0 0 0 2; background: $panel; }
    FormDialog Button:focus { background: $primary; color: $background; text-style: bold reverse; }
    FormDialog Button:disabled { text-style: dim; }
    """
    BINDINGS = [
        Binding("escape", "leave", "Back", show=False, id="form.leave"),
        Binding("up", "app.focus_previous", show=False),
        Binding("down", "app.focus_next", show=False),
    ]

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._given = dict(given or {})
        self.request: R | None = None

    @property
    def cockpit(self) -> "Cockpit":
        return cast("Cockpit", self.app)

    def made(self, values: dict[str, str]) -> R:
        """The request; raises PointsmanError or msgspec.ValidationError."""
        raise NotImplementedError

    def act_of(self, request: R) -> Act:
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            with VerticalScroll(id="fields", can_focus=False):
                for field in self.FIELDS:
                    with Horizontal(classes="row"):
                        yield Label(field.label)
                        given = self._given.get(field.name, "")
                        yield Input(given, placeholder=field.hint, id=f"field-{field.name}", compact=True)
                    yield Label("", id=f"mistake-{field.name}", classes="mistake", markup=False)
            yield Label("", id="wrong", markup=False)
            with Horizontal(id="buttons"):
                yield Button("Back", id="back", compact=True)
                yield Button("Go on", id="go", compact=True, disabled=True)

    def on_mount(self) -> None:
        self.query_one("#box").border_title = f" {self.TITLE_TEXT} on {self.cockpit.options.system.name} "
        self.query(Input).first().focus()
        self.check()

    def on_input_changed(self, message: Input.Changed) -> None:
        self.check()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """On to the next field; from the last to the button that goes on, which asks before anything is done."""
        if message.input is not self.query(Input).last():
            self.focus_next()
        elif self.request is not None:
            self.query_one("#go", Button).focus()

    def check(self) -> None:
        values = {field.name: self.query_one(f"#field-{field.name}", Input).value.strip() for field in self.FIELDS}
        missing = [field for field in self.FIELDS if field.is_required and not values[field.name]]
        errors: tuple[FieldError, ...] = ()
        self.request = None
        try:
            made = self.made(values)
            self.request = None if missing else made
        except PointsmanError as error:
            errors = error.errors or (FieldError(field="", message=error.detail),)
        except msgspec.ValidationError as error:
            errors = from_validation(error).errors
        untouched = {field.name for field in missing}
        self.say(tuple(error for error in errors if error.field not in untouched))
        self.query_one("#go", Button).disabled = self.request is None

    def say(self, errors: tuple[FieldError, ...]) -> None:
        """Each under its field; what belongs to none under all of them."""
        rest: list[str] = []
        told: dict[str, str] = {}
        for error in errors:
            name = self.field_of(error.field)
            if name is None:
                rest.append(f"{error.field}: {error.message}" if error.field else error.message)
            else:
                told[name] = error.message
        for field in self.FIELDS:
            label = self.query_one(f"#mistake-{field.name}", Label)
            label.display = field.name in told
            label.update(told.get(field.name, ""))
        self.query_one("#wrong", Label).update("\n".join(rest))

    def field_of(self, name: str) -> str | None:
        """The field that a refusal is about, as the contract names it."""
        first = name.split(".")[0].split("[")[0]
        return first if any(field.name == first for field in self.FIELDS) else None

    def on_button_pressed(self, message: Button.Pressed) -> None:
        if message.button.id == "go":
            self.go_on()
        else:
            self.action_leave()

    def go_on(self) -> None:
        """The question; what comes of it comes back here."""
        if self.request is None:
            return
        case = self.cockpit.begin(self.act_of(self.request))
        if case is not None:
            case.watchers.append(lambda: self._ended(case))

    def _ended(self, case: Case) -> None:
        if not self.is_attached:
            return
        match case.underway.state:
            case State.REFUSED | State.CONFLICT:
                self.say(case.fields or (FieldError(field="", message=case.underway.detail),))
            case State.DONE if not (case.underway.outcome and case.underway.outcome.secret):
                self.call_later(self._leave_after, case)
            case _:
                pass

    def _leave_after(self, case: Case) -> None:
        if self.is_attached and self.is_current:
            self.dismiss(case)
        elif self.is_attached:
            self.call_after_refresh(self._leave_after, case)

    def action_leave(self) -> None:
        self.dismiss(None)


def listed(text: str) -> tuple[str, ...]:
    """`a, b c` as three."""
    return tuple(text.replace(",", " ").split())


def mistake(field: str, message: str) -> PointsmanError:
    return PointsmanError(400, message, errors=(FieldError(field=field, message=message),))


def labelled(text: str, field: str) -> dict[str, str]:
    """`team=a, env=prod`; values may have blanks. Raises 400."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    if any(not middle for _, middle, _ in pairs):
        raise mistake(field, "name=value, more of them after a comma")
    return {name.strip(): value.strip() for name, _, value in pairs}


def numeral(text: str, field: str) -> int:
    """Raises 400."""
    try:
        return int(text)
    except ValueError:
        raise mistake(field, "a whole number") from None
