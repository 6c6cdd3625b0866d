"""The lines around every screen: top bar, screens, keys."""

from rich.style import Style
from textual.screen import Screen

from pointsman.tui.looks import Role
from pointsman.tui.widgets.lines import Lines, Span

LAST = ("app.replay", "app.show_help", "app.command_palette", "app.quit")


class TopBar(Lines):
    """On the colour of the context, so its text is white or, without colour, reversed."""

    DEFAULT_CSS = """
    TopBar { height: 1; dock: top; }
    """

    def style_of(self, role: Role) -> Style:
        bold = role in (Role.STRONG, Role.DOWN)
        return Style(bold=bold, reverse=True) if self.app.no_color else Style(bold=bold, color="#ffffff")


class ScreensLine(Lines):
    pass


class KeysLine(Lines):
    """The keys of this screen: what may be done here and now, and at the end what may be done everywhere."""

    DEFAULT_CSS = """
    KeysLine { dock: bottom; height: 1; }
    """

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._tell_keys)
        self._tell_keys(self.screen)

    def on_resize(self) -> None:
        super().on_resize()
        self._tell_keys(self.screen)

    def _tell_keys(self, screen: Screen[object]) -> None:
        if self.is_attached and self.size.width and self.app.screen_stack:
            self.show([keys_line(screen, self.size.width)])


def keys_line(screen: Screen[object], width: int) -> list[Span]:
    """As many as fit; those that hold everywhere come last and fall last."""
    seen: dict[str, tuple[str, str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.show and active.enabled and binding.action not in seen:
            seen[binding.action] = (screen.app.get_key_display(binding), binding.description)
    common = {action: seen.pop(action) for name in LAST if (action := _bare(name, seen)) in seen}
    spans: list[Span] = [Span(" ")]
    room = width - 1 - sum(_width(entry) for entry in common.values())
    for action, entry in seen.items():
        if _width(entry) > room:
            continue
        room -= _width(entry)
        spans += _key(action, entry)
    for action, entry in common.items():
        spans += _key(action, entry)
    return spans


def _bare(name: str, seen: dict[str, tuple[str, str]]) -> str:
    return name if name in seen else name.removeprefix("app.")


def _width(entry: tuple[str, str]) -> int:
    return len(entry[0]) + len(entry[1]) + 3


def _key(action: str, entry: tuple[str, str]) -> list[Span]:
    return [Span(entry[0], Role.ACCENT, action), Span(f" {entry[1]}  ", Role.PLAIN, action)]
