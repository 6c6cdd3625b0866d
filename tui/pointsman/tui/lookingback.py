"""The part of the app that goes into the past and back: its keys, which are others' keys otherwise."""

from datetime import tzinfo

from textual.binding import Binding
from textual.widgets import Input, TextArea

from pointsman.tui.acting import ActingApp
from pointsman.tui.replay import moment_of
from pointsman.tui.replaying import Replaying
from pointsman.tui.screens.base import CockpitScreen
from pointsman.tui.screens.one_line import OneLineScreen

REPLAY_KEYS = (
    ("left_square_bracket", "replay_step(-1000)", "A second back"),
    ("right_square_bracket", "replay_step(1000)", "A second on"),
    ("left_curly_bracket", "replay_step(-60000)", "A minute back"),
    ("right_curly_bracket", "replay_step(60000)", "A minute on"),
    ("comma", "replay_play(-1)", "Play backward"),
    ("full_stop", "replay_play(1)", "Play"),
    ("n", "replay_incident(1)", "Next incident"),
    ("N", "replay_incident(-1)", "Incident before"),
    ("at", "replay_jump", "Jump to a time"),
)
REPLAY_BINDINGS = (
    Binding("t", "app.replay", "Replay", id="app.replay"),
    *(
        Binding(key, f"app.{action}", words, show=False, priority=True, id=f"replay.{action.partition('(')[0]}{place}")
        for place, (key, action, words) in enumerate(REPLAY_KEYS)
    ),
)


class LookingBackApp(ActingApp):
    replaying: Replaying
    zone: tzinfo | None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys of replay are others' keys otherwise, and letters where text is typed."""
        if action.startswith("replay_"):
            return self.replaying.place is not None and isinstance(self.screen, CockpitScreen) and not self._is_typing
        return True

    @property
    def _is_typing(self) -> bool:
        return isinstance(self.focused, Input | TextArea)

    def action_replay(self) -> None:
        if self.replaying.place is None:
            self.replaying.enter()
        else:
            self.replaying.leave()
        self.screen.refresh_bindings()

    def replay_at(self, at: int) -> None:
        """Look at the cluster as it was then, in ms since the epoch."""
        self.replaying.enter(at)
        self.screen.refresh_bindings()

    def action_replay_step(self, by_ms: int) -> None:
        self.replaying.step(by_ms)

    def action_replay_play(self, direction: int) -> None:
        self.replaying.play(direction)

    def action_replay_incident(self, direction: int) -> None:
        if not self.replaying.to_incident(direction):
            self.notify("nothing is known that way", title="No incident")

    def action_replay_jump(self) -> None:
        def refusal(text: str) -> str | None:
            at = moment_of(text, self.replaying.now_ms, self.zone)
            if at is None:
                return "a time of day, or how long ago: 14:31, 14:31:40, 5m"
            period = self.replaying.period
            return None if at in period else f"known is {period.text(self.zone)}"

        def jump(text: str | None) -> None:
            if text is not None and (at := moment_of(text, self.replaying.now_ms, self.zone)) is not None:
                self.replay_at(at)

        self.push_screen(OneLineScreen("jump to", "14:31, 14:31:40 or 5m", refusal), jump)
