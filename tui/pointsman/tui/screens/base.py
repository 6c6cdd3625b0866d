"""What every screen of the cockpit is.

How a screen gets what it shows: `self.model` is the cluster as shown (now, or the replayed moment); it is folded whether or not
anybody looks, so a screen keeps no copy of it. `self.cockpit` is the app: `.options`, `.link`, `.zone`, `.client` (the typed
client while there is a connection, else None).

How it draws: `body()` composes once; `draw()` puts the model on the widgets, without awaiting anything. It is called only
while the screen is visible: at most `hz` times a second after frames, and when it is shown, resized or the theme changes. Ask
for one with `self.cockpit.wake()` after changing a filter or a sort. Widgets that draw lines themselves (`Lines`, `LiveTable`,
`Area`, `Heat`) compare with what they drew and touch only what differs, so `draw()` need not remember anything.

How keys are declared: one `Binding` per key with an `id` ("<screen>.<act>"; the operator's key map names it), a short word for
the last line and `show=False` for what `?` alone shall tell. Each verb has an action name of its own, for the last line merges
equal ones. Actions that change anything are named in `WRITES`: they are hidden and refused, with the reason as a toast, while
`self.cockpit.why_read_only` gives one.
"""

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget

from pointsman.tui.model import Model
from pointsman.tui.topbar import screens_line, top_line
from pointsman.tui.widgets.bars import KeysLine, ScreensLine, TopBar
from pointsman.tui.widgets.lines import Lines, line

if TYPE_CHECKING:
    from pointsman.tui.app import Cockpit

MIN_WIDTH, MIN_HEIGHT = 60, 16


class CockpitScreen(Screen[None]):
    NAME: ClassVar[str] = ""
    """The screen of `topbar.SCREENS` that is marked as active while this one is shown."""
    WRITES: ClassVar[frozenset[str]] = frozenset()
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (80, "-medium"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]
    _focused: Widget | None = None

    def compose(self) -> ComposeResult:
        yield TopBar(id="top")
        yield ScreensLine(id="screens")
        yield from self.body()
        yield Lines(id="too-small")
        yield Lines(id="replay")
        yield KeysLine(id="keys")

    def body(self) -> ComposeResult:
        raise NotImplementedError

    def draw(self) -> None:
        raise NotImplementedError

    def go_back(self) -> bool:
        """Whether there was something of its own to leave: a filter, a mode. Else escape leaves the screen."""
        return False

    def point_at(self, subject: str) -> None:
        """Put the cursor on this server, pool or task, if the screen shows it."""

    @property
    def cockpit(self) -> "Cockpit":
        return cast("Cockpit", self.app)

    @property
    def model(self) -> Model:
        return self.cockpit.shown

    @property
    def is_drawable(self) -> bool:
        """Its widgets are there: not before it is mounted, nor while it goes away."""
        return self.is_attached and not self._pruning and bool(self.size) and bool(self.query(KeysLine))

    @property
    def is_too_small(self) -> bool:
        return self.size.width < MIN_WIDTH or self.size.height < MIN_HEIGHT

    def draw_all(self) -> None:
        """The lines around, then the screen itself."""
        if not self.is_drawable:
            return
        self.draw_top()
        if self.is_too_small:
            size = f"needs {MIN_WIDTH}x{MIN_HEIGHT}, this is {self.size.width}x{self.size.height}"
            self.query_one("#too-small", Lines).show([line(size)])
            return
        self._draw_replay()
        self.query_one(ScreensLine).show([screens_line(self.model, self.NAME, self.size.width)])
        self.draw()

    def draw_top(self) -> None:
        """The top bar alone: what the clock changes."""
        if not self.is_drawable:
            return
        bar = self.query_one(TopBar)
        bar.styles.background = self.cockpit.context_color
        bar.show([top_line(self.model, self.cockpit.moment, self.size.width)])

    def _draw_replay(self) -> None:
        replaying = self.cockpit.replaying
        self.set_class(replaying.place is not None, "-replay")
        if replaying.place is not None:
            self.query_one("#replay", Lines).show([replaying.bar(self.size.width, self.cockpit.zone)])

    def on_screen_resume(self) -> None:
        """Also told to those that are mounted ahead."""
        if self.is_current:
            self.cockpit.wake()

    def on_resize(self, event: events.Resize) -> None:
        was_too_small = self.has_class("-too-small")
        is_too_small = event.size.width < MIN_WIDTH or event.size.height < MIN_HEIGHT
        if is_too_small and not was_too_small:
            self._focused = self.focused
        self.set_class(is_too_small, "-too-small")
        if was_too_small and not is_too_small:
            self.call_after_refresh(self._focus_again)
        self.call_after_refresh(self.draw_all)

    def _focus_again(self) -> None:
        """What is hidden loses the focus."""
        if self.focused is None:
            candidates = (self._focused, *self.query(self.AUTO_FOCUS or "*"))
            self.set_focus(next((one for one in candidates if one and one.is_attached and one.focusable), None))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (action in self.WRITES and self.cockpit.why_read_only)

    def on_key(self, event: events.Key) -> None:
        """A verb that is not to be used now says why."""
        reason = self.cockpit.why_read_only
        if reason and any(_name(binding.action) in self.WRITES for binding in self._bound_to(event.key)):
            event.stop()
            self.notify(reason, severity="warning", title="Not here")

    def _bound_to(self, key: str) -> list[Binding]:
        return list(self._bindings.key_to_bindings.get(key, ()))


def _name(action: str) -> str:
    return action.partition("(")[0]
