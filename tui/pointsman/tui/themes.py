"""Colours: three themes, and a palette of Rich styles by role for the widgets that draw lines themselves.

Contrast of each state colour with its background is at least 7:1. In `pointsman-cvd` up is blue and down is orange (after
Okabe and Ito), so that they differ for those who do not tell red from green. Without colour only weights remain.
"""

from dataclasses import dataclass

from rich.style import Style
from textual.theme import Theme

from pointsman.tui.looks import Role

NO_COLOR = {
    Role.UP: Style(),
    Role.WARN: Style(bold=True),
    Role.DOWN: Style(bold=True, reverse=True),
    Role.DRAIN: Style(),
    Role.MAINT: Style(),
    Role.BUSY: Style(),
    Role.DIM: Style(),
    Role.STRONG: Style(bold=True),
    Role.BAR: Style(),
    Role.ACCENT: Style(bold=True),
    Role.PLAIN: Style(),
}


@dataclass(frozen=True, slots=True)
class Colours:
    """One theme, by meaning; `ink` on `ground`, `raised` under headers and the cursor, `line` around boxes."""

    name: str
    dark: bool
    ground: str
    raised: str
    ink: str
    dim: str
    line: str
    up: str
    warn: str
    down: str
    drain: str
    maint: str
    busy: str
    bar: str
    accent: str


DARK = Colours(
    name="pointsman-dark",
    dark=True,
    ground="#11151c",
    raised="#222a38",
    ink="#d8dee9",
    dim="#9aa5b8",
    line="#4a566b",
    up="#6fd08c",
    warn="#f2c14e",
    down="#ff8f87",
    drain="#7cc4ff",
    maint="#c3a6ff",
    busy="#7fd8d8",
    bar="#6fb7e8",
    accent="#9ecbff",
)
LIGHT = Colours(
    name="pointsman-light",
    dark=False,
    ground="#fbfbf8",
    raised="#dfe5ee",
    ink="#1c2430",
    dim="#4a5568",
    line="#a3adbd",
    up="#0b5d2a",
    warn="#6b4700",
    down="#9b1111",
    drain="#0a4a8a",
    maint="#5a2d91",
    busy="#065a5a",
    bar="#1d6299",
    accent="#0a4a8a",
)
CVD = Colours(
    name="pointsman-cvd",
    dark=True,
    ground="#101318",
    raised="#232a36",
    ink="#dde3ec",
    dim="#9aa5b8",
    line="#4a566b",
    up="#66b8f0",
    warn="#f0e442",
    down="#ff9a3c",
    drain="#c9c9d6",
    maint="#d9a3c7",
    busy="#8fe0c8",
    bar="#66b8f0",
    accent="#a8d4ff",
)
ALL = (DARK, LIGHT, CVD)
BY_NAME = {colours.name: colours for colours in ALL}
PROTECTED = "#5b3a91"
CONTEXT = "#24507a"


def palette(theme: str, *, no_color: bool) -> dict[Role, Style]:
    """Rich styles by role."""
    if no_color:
        return NO_COLOR
    colours = BY_NAME.get(theme, DARK)
    return {
        Role.UP: Style(color=colours.up),
        Role.WARN: Style(color=colours.warn, bold=True),
        Role.DOWN: Style(color=colours.down, bold=True),
        Role.DRAIN: Style(color=colours.drain),
        Role.MAINT: Style(color=colours.maint),
        Role.BUSY: Style(color=colours.busy),
        Role.DIM: Style(color=colours.dim),
        Role.STRONG: Style(color=colours.ink, bold=True),
        Role.BAR: Style(color=colours.bar),
        Role.ACCENT: Style(color=colours.accent, bold=True),
        Role.PLAIN: Style(color=colours.ink),
    }


def textual_themes() -> list[Theme]:
    return [
        Theme(
            name=colours.name,
            primary=colours.bar,
            secondary=colours.drain,
            accent=colours.accent,
            foreground=colours.ink,
            background=colours.ground,
            surface=colours.ground,
            panel=colours.raised,
            success=colours.up,
            warning=colours.warn,
            error=colours.down,
            dark=colours.dark,
            variables={"border": colours.line, "border-blurred": colours.raised, "dim": colours.dim},
        )
        for colours in ALL
    ]
