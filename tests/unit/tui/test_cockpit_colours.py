"""Colours can be told apart: by contrast with their ground, and by those who do not see red and green as others do."""

import pytest
from textual.color import Color

from pointsman.tui.themes import ALL, CONTEXT, CVD, DARK, PROTECTED, Colours

STATES = ("up", "warn", "down", "drain", "maint", "busy")
DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
"""Of linear RGB, at full severity (Machado, Oliveira, Fernandes 2009)."""


def linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def channels(colour: str) -> list[float]:
    return [linear(part) for part in Color.parse(colour).normalized]


def luminance(colour: str) -> float:
    red, green, blue = channels(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: list[float]) -> tuple[float, float, float]:
    red, green, blue = rgb
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance_without_red_and_green(one: str, other: str) -> float:
    """CIE76."""
    seen = []
    for colour in (one, other):
        rgb = channels(colour)
        seen.append(lab([max(0.0, sum(k * part for k, part in zip(row, rgb, strict=True))) for row in DEUTERANOPIA]))
    return sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5


@pytest.mark.parametrize("colours", ALL, ids=lambda colours: colours.name)
@pytest.mark.parametrize("state", STATES)
def test_a_state_stands_out_from_its_ground(state: str, colours: Colours) -> None:
    assert contrast(getattr(colours, state), colours.ground) >= 7


@pytest.mark.parametrize("colours", ALL, ids=lambda colours: colours.name)
def test_what_is_dim_can_be_read(colours: Colours) -> None:
    assert contrast(colours.dim, colours.ground) >= 4.5
    assert contrast(colours.ink, colours.raised) >= 7


def test_up_and_down_differ_for_those_who_do_not_tell_red_from_green() -> None:
    assert distance_without_red_and_green(CVD.up, CVD.down) >= 40
    assert distance_without_red_and_green(CVD.up, CVD.down) > 2 * distance_without_red_and_green(DARK.up, DARK.down)


@pytest.mark.parametrize("ground", [PROTECTED, CONTEXT])
def test_the_first_line_can_be_read_on_each_context(ground: str) -> None:
    assert contrast("#ffffff", ground) >= 7
