"""What the palette finds, and what finding costs."""

from functools import partial

from pointsman.tui.palette import HITS_MAX, Command, commands_of, matching
from tests.support.cockpit_acts import seated
from tests.support.cockpits import cockpit


def command(text: str) -> Command:
    return Command(text, "", partial(int))


def test_words_may_come_in_any_order_and_what_begins_with_them_comes_first() -> None:
    commands = [command("server srv-1"), command("srv-1 again"), command("theme dark")]
    assert [one.text for one in matching(iter(commands), "srv-1")] == ["srv-1 again", "server srv-1"]
    assert [one.text for one in matching(iter(commands), "1 serv")] == ["server srv-1"]


def test_no_more_than_fifty_are_found() -> None:
    assert len(matching(iter([command(f"server srv-{n}") for n in range(1_000)]), "srv")) == HITS_MAX == 50


async def test_it_finds_screens_verbs_servers_and_themes_and_runs_them() -> None:
    async with seated(servers=150) as (seat, _):
        await seat.press("2")
        await seat.sees("[2 Servers")
        texts = [one.text for one in commands_of(seat.app, seat.app.screen)]
        for wanted in ("go to Tasks", "Drain  (d)", "theme pointsman-cvd", "server srv-0077"):
            assert any(wanted in text for text in texts), wanted
        (found,) = matching(commands_of(seat.app, seat.app.screen), "server srv-0077")
        await found.run()
        await seat.sees(lambda text: "srv-0077" in text)


async def test_a_verb_from_the_palette_asks_like_its_key_and_is_not_there_when_it_may_not_be_used() -> None:
    async with seated() as (seat, services):
        await seat.press("2")
        await seat.sees("[2 Servers")
        await seat.press("colon")
        await seat.pilot.pause(0.3)
        await seat.press(*"drain")
        await seat.pilot.pause(0.5)
        await seat.press("enter")
        await seat.sees("same from the shell: pointsman server drain")
        assert services.writes == []
    async with cockpit(read_only=True) as seat:
        await seat.press("2")
        await seat.sees("[2 Servers")
        assert not any("Drain" in one.text for one in commands_of(seat.app, seat.app.screen))
