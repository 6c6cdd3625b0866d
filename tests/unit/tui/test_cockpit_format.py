"""How the cockpit writes numbers: with a unit, and never 0 for what it does not know."""

from datetime import UTC

import pytest

from pointsman.contracts.frames import Flow, ServerPulse, ServerRow
from pointsman.contracts.server import HealthState, Wanted
from pointsman.tui import format as shown
from pointsman.tui.flowline import flow_lines
from pointsman.tui.looks import plain, server_look
from pointsman.tui.widgets.area import bars, braille, ceiling, fitted


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "--"),
        (0, "0 ms"),
        (680, "680 ms"),
        (999.6, "1.0 s"),
        (5_000, "5.0 s"),
        (9_960, "10 s"),
        (41_000, "41 s"),
        (99_000, "1m39s"),
        (180_000, "3m"),
        (1_239_000, "20m"),
        (7_800_000, "2h10m"),
        (273_600_000, "3d4h"),
    ],
)
def test_durations_have_two_digits_of_meaning(ms: float | None, text: str) -> None:
    assert shown.duration(ms) == text


def test_rates_counts_and_parts() -> None:
    assert (shown.rate(1958.4), shown.rate(12.06), shown.rate(0.0), shown.rate(None)) == (
        "1,958/s",
        "12.1/s",
        "0.0/s",
        "--/s",
    )
    assert (shown.number(1224), shown.number(None)) == ("1,224", "--")
    assert (shown.percent(0.0061), shown.percent(None)) == ("0.61 %", "--")
    assert [shown.short(value) for value in (0, 7.5, 750, 1500, 7_500_000)] == ["0", "7.5", "750", "1.5k", "7.5M"]
    assert shown.clock(1_764_427_039_000, UTC) == "14:37:19"


@pytest.mark.parametrize(
    ("submitted", "completed", "pending", "text"),
    [
        (100.0, 99.0, 50, "steady"),
        (300.0, 180.0, 50, "grows +120/s"),
        (100.0, 200.0, 3_800, "empty in 38 s"),
        (0.0, 0.0, 0, "steady"),
        (None, 10.0, 5, "--"),
    ],
)
def test_the_queue_has_a_trend(submitted: float | None, completed: float, pending: int, text: str) -> None:
    assert shown.trend(Flow(submitted=submitted, completed=completed, pending=pending)) == text


@pytest.mark.parametrize("width", [58, 78, 98, 118])
def test_an_unknown_flow_shows_dashes_at_every_width(width: int) -> None:
    text = "\n".join("".join(span.text for span in spans) for spans in flow_lines(Flow(), width))
    assert "--" in text
    assert not [
        word for word in text.replace("p50", "").replace("p95", "").replace("10 s", "").split() if word[0].isdigit()
    ]


def row(**changes: object) -> ServerRow:
    known = {"id": "a", "pool": "p", "wanted": Wanted.ACTIVE, "state": HealthState.HEALTHY, "since": 0, "limit": 4}
    return ServerRow(**known | {"max_concurrent": 4, "weight": 100, "score": 100} | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "running", "text"),
    [
        ({}, 1, "● UP"),
        ({"warmth": 0.4}, 1, "● UP 40 %"),
        ({"state": HealthState.SUSPECT, "failures": 2, "failures_max": 3}, 1, "▲ SUSPECT 2/3"),
        ({"state": HealthState.UNHEALTHY}, 1, "✖ DOWN"),
        ({"state": HealthState.UNHEALTHY, "wanted": Wanted.DRAINING}, 1, "✖ DOWN drain"),
        ({"wanted": Wanted.DRAINING}, 14, "◐ DRAIN 14 left"),
        ({"wanted": Wanted.DRAINING}, 0, "◐ DRAINED"),
        ({"wanted": Wanted.MAINTENANCE}, 0, "◌ MAINT"),
        ({"state": HealthState.NEW}, 0, "○ NEW"),
        ({"state": HealthState.RECOVERING}, 0, "◔ RECOVERING"),
        ({"state": "PONDERING"}, 0, "○ PONDERING"),
    ],
)
def test_a_server_is_a_glyph_and_a_word(changes: dict[str, object], running: int, text: str) -> None:
    assert str(server_look(row(**changes), ServerPulse(id="a", running=running))) == text
    assert plain(text).isascii()


def test_bars_have_eighths_and_in_ascii_whole_columns() -> None:
    assert shown.bar(0.5, 8) == "████"
    assert shown.bar(0.53, 8) == "████▎"
    assert shown.bar(0.5, 8, ascii_only=True) == "####"
    assert shown.bar(None, 8) == ""
    assert shown.bar(7.0, 8) == "████████"


def test_charts_are_zero_based_and_leave_unknown_seconds_empty() -> None:
    assert fitted([1.0, 2.0], 4) == [None, None, 1.0, 2.0]
    assert fitted([1.0, 3.0, None, 5.0], 2) == [2.0, 5.0]
    assert ceiling(2_063) == 2_500
    assert ceiling(0) == 1
    assert braille([None, 1.0], 1, 1) == ["⢸"]
    assert braille([None, None], 1, 1) == [" "]
    assert bars([1.0, 0.5, None], 3, 2) == ["#  ", "## "]
