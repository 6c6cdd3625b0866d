"""Looking at the last hour again."""

import zlib
from datetime import UTC, datetime

import pytest

from pointsman.contracts.frames import News, encode_frame
from pointsman.contracts.server import HealthState
from pointsman.tui.model import Model
from pointsman.tui.moments import Moments
from pointsman.tui.replay import HOUR_MS, Replay, hour_before, moment_of
from tests.support.cockpit_world import STARTED_MS, World
from tests.support.cockpits import cockpit

NOW = STARTED_MS
HOUR = hour_before(NOW)


def test_it_moves_within_the_last_hour_only() -> None:
    here = Replay(NOW)
    assert here.moved(-1_000, HOUR).at == NOW - 1_000
    assert here.moved(5_000, HOUR).at == NOW
    assert here.moved(-2 * HOUR_MS, HOUR).at == NOW - HOUR_MS


def test_playing_gets_faster_turns_round_by_stopping_and_stops_at_the_end() -> None:
    place = Replay(NOW - 10_000).sped(1)
    assert [place.speed, place.sped(1).speed, place.sped(1).sped(1).speed, place.sped(1).sped(1).sped(1).speed] == [
        1,
        4,
        16,
        16,
    ]
    assert place.sped(-1).speed == 0
    assert place.played(200, HOUR).at == NOW - 9_800
    assert place.played(60_000, HOUR) == Replay(NOW, 0)


@pytest.mark.parametrize(
    ("text", "before_now_s"),
    [("14:37:09", 10), ("14:37", 19), ("5m", 300), ("90s", 90), ("14:40", 86_239), ("2025-11-29T14:37:00Z", 19)],
)
def test_a_moment_is_named_by_time_of_day_by_its_age_or_in_full(text: str, before_now_s: int) -> None:
    at = moment_of(text, NOW, UTC)
    assert at is not None
    assert abs((NOW - at) / 1000 - before_now_s) <= 2, datetime.fromtimestamp(at / 1000, UTC)


def test_what_is_no_moment_is_told_so() -> None:
    assert moment_of("soon", NOW, UTC) is None


def hour() -> tuple[Moments, Model, World]:
    """Ten seconds in which a server goes down at the fifth."""
    world, model, moments = World(servers=5), Model(), Moments()
    model.fold(world.whole())
    moments.note(model)
    for number in range(50):
        if number == 25:
            world.change("srv-0002", state=HealthState.UNHEALTHY)
            news = News(at=world.at + 200, kind="server", subject="srv-0002", what="up -> down")
            model.fold(world.tell("srv-0002", news=(news,)))
        else:
            model.fold(world.step())
        moments.note(model)
    moments.note_incidents(model.news)
    return moments, model, world


def test_a_moment_shows_the_states_of_then_and_the_news_up_to_then() -> None:
    moments, model, _ = hour()
    before = moments.model_at(STARTED_MS + 4_000, model.news)
    after = moments.model_at(STARTED_MS + 7_000, model.news)
    assert before is not None and after is not None
    assert before.servers["srv-0002"].row.state == HealthState.HEALTHY and not before.news
    assert after.servers["srv-0002"].row.state == HealthState.UNHEALTHY and len(after.news) == 1
    assert [second for second, _ in after.flows] == [STARTED_MS // 1000 + second for second in range(8)]


def test_incidents_are_found_in_both_directions() -> None:
    moments, _, _ = hour()
    at = moments.incidents[0]
    assert moments.incident_after(STARTED_MS) == at
    assert moments.incident_before(STARTED_MS + 9_000) == at
    assert moments.incident_after(at) is None and moments.incident_before(at) is None


def test_fetched_seconds_stand_beside_those_that_came_and_broken_ones_are_left_out() -> None:
    moments, _, _ = hour()
    old = World(servers=2, at=STARTED_MS - 60_000)
    assert not moments.has(STARTED_MS - 60_000)
    moments.take(zlib.compress(encode_frame(old.whole())))
    assert moments.has(STARTED_MS - 58_000) and not moments.has(STARTED_MS - 30_000)
    assert moments.take(b"broken") is None
    found = moments.model_at(STARTED_MS - 60_000, ())
    assert found is not None and len(found.servers) == 2


async def test_replay_shows_the_past_says_so_and_lets_nothing_be_changed() -> None:
    async with cockpit(World(servers=12)) as seat:
        await seat.press("2")
        for _ in range(25):
            seat.source.frame()
        seat.world.change("srv-0003", state=HealthState.UNHEALTHY)
        seat.source.frame(seat.world.tell("srv-0003"))
        for _ in range(10):
            seat.source.frame()
        await seat.sees("✖ DOWN")
        await seat.press("t")
        await seat.sees("REPLAY 14:37:26")
        assert "the past" in (seat.app.why_read_only or "")
        await seat.press("left_square_bracket", "left_square_bracket", "left_square_bracket")
        text = await seat.sees("REPLAY 14:37:23")
        assert "✖ DOWN" not in text and "RO" in text
        await seat.press("t")
        await seat.sees(lambda text: "● live" in text and "✖ DOWN" in text and "REPLAY" not in text)


async def test_one_jumps_to_a_time_of_the_last_hour() -> None:
    async with cockpit(World(servers=3)) as seat:
        await seat.press("t", "at")
        await seat.sees("jump to")
        await seat.press(*"soon", "enter")
        await seat.sees("a time of day, or how long ago")
        await seat.press(*["backspace"] * 4, *"5m", "enter")
        await seat.sees("REPLAY 14:32:19")
        await seat.sees("nothing known")


async def test_help_lists_the_keys_of_the_screen_and_runs_them() -> None:
    async with cockpit(World(servers=3)) as seat:
        await seat.press("2", "question_mark")
        await seat.sees("Only bad")
        await seat.press(*"only bad")
        await seat.sees(lambda text: "Only bad" in text and "Freeze order" not in text)
        await seat.press("enter")
        await seat.sees("only bad (!)")
