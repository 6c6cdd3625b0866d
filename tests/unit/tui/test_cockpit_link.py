"""The link's states, and what the first line says of each."""

from datetime import UTC

import pytest

from pointsman.contracts.frames import Flow
from pointsman.tui.link import Link, Sign, State
from pointsman.tui.looks import plain
from pointsman.tui.model import Model
from pointsman.tui.topbar import SCREENS, Moment, screens_line, top_line
from tests.support.cockpit_world import STARTED_MS, World


def live(at: float = 0.0) -> Link:
    return Link().after(Sign.CONNECTED, at).connected("nats:4222").after(Sign.FRAME, at)


def text(link: Link, now: float, model: Model | None = None, width: int = 120) -> str:
    moment = Moment("prod-eu", is_read_only=False, link=link, now=now, wall_ms=STARTED_MS, zone=UTC)
    return "".join(span.text for span in top_line(model or Model(), moment, width))


def test_a_link_ages_from_live_to_slow_to_stale() -> None:
    assert live().aged(1.4).state is State.LIVE
    assert live().aged(1.5).state is State.SLOW
    assert live().aged(3.0).state is State.STALE


def test_a_late_frame_makes_a_slow_link_live_and_says_nothing_of_it() -> None:
    assert live().aged(2.0).after(Sign.FRAME, 2.1).state is State.LIVE


def test_after_an_outage_it_says_for_how_long_and_then_forgets_it() -> None:
    lost = live().after(Sign.LOST, 10.0)
    assert lost.state is State.DISCONNECTED
    again = lost.after(Sign.CONNECTED, 20.0)
    assert again.state is State.STALE
    back = again.after(Sign.FRAME, 22.0)
    assert (back.state, back.outage_s) == (State.RECOVERED, 12.0)
    assert "back after 12 s" in text(back, 22.5)
    settled = back
    for second in range(22, 28):
        settled = settled.after(Sign.FRAME, second).aged(second)
    assert settled.state is State.LIVE


def test_silence_after_a_refusal_is_told_as_one_though_a_snapshot_came() -> None:
    refused = live().after(Sign.REFUSED, 1.0).denied("no subject for you").after(Sign.FRAME, 1.1)
    assert refused.state is State.LIVE
    assert refused.aged(4.2).state is State.DENIED
    assert refused.connected("elsewhere").aged(4.2).state is State.STALE


def test_a_cluster_that_takes_long_to_start_does_not_come_back() -> None:
    waiting = Link().after(Sign.CONNECTED, 0.0).aged(5.0)
    assert waiting.state is State.STALE
    assert waiting.after(Sign.FRAME, 9.0).state is State.LIVE


def test_a_refusal_stays_until_frames_come() -> None:
    refused = live().after(Sign.REFUSED, 1.0).denied("Permissions Violation for Subscription to pointsman.view.frame")
    assert refused.after(Sign.LOST, 2.0).state is State.DENIED
    assert "✖ DENIED Permissions Violation" in text(refused, 1.0)
    assert refused.after(Sign.FRAME, 3.0).state is State.LIVE


@pytest.mark.parametrize(
    ("link", "now", "words"),
    [
        (Link(), 1.0, "… connecting"),
        (Link().after(Sign.CONNECTED, 0.0), 1.0, "… waiting for the first frame"),
        (live(), 0.2, "● live 0.2 s"),
        (live().aged(2.1), 2.1, "▲ slow 2.1 s"),
        (live().aged(12.0).timed(3.0), 12.0, "✖ STALE statistics silent 12 s, NATS answers in 3 ms"),
        (live().aged(12.0), 12.0, "NATS does not answer"),
        (live().after(Sign.LOST, 5.0).trying(2, 9.0, "it broke"), 8.0, "✖ DISCONNECTED 3.0 s  try 3, next in 1 s"),
    ],
)
def test_each_state_is_a_glyph_and_a_word(link: Link, now: float, words: str) -> None:
    assert words in text(link, now)
    assert plain(words) in plain(text(link, now)), "and so it is in ASCII"
    assert len(text(link, now, width=60)) <= 60


def test_a_disconnected_cockpit_says_of_when_its_data_is() -> None:
    model = Model()
    model.fold(World(servers=2).whole())
    assert "data of 14:37:19" in text(live().after(Sign.LOST, 5.0), 6.0, model)


def test_what_is_not_known_is_never_zero() -> None:
    model = Model()
    assert "alerts --" in text(Link(), 0.0, model)
    assert "0" not in "".join(span.text for span in screens_line(model, "overview", 120))


def test_nothing_wrong_is_said_so() -> None:
    model = Model()
    model.fold(World(servers=2).whole())
    assert "no alerts" in text(live(), 0.1, model)


@pytest.mark.parametrize("width", [60, 80, 110, 200])
@pytest.mark.parametrize("active", SCREENS)
def test_the_screens_fit_into_their_line(active: str, width: int) -> None:
    model = Model()
    model.fold(World(servers=2).whole())
    model.flow = Flow(pending=1_234, running=2_345)
    shown = "".join(span.text for span in screens_line(model, active, width))
    assert f"[{list(SCREENS).index(active) + 1} {SCREENS[active]}" in shown
    assert len(shown) <= width
