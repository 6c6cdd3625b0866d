"""What the command line hands to the cockpit: which systems, what may be done on each, how often it draws."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pointsman.cli import cockpit_systems, contexts, place
from pointsman.cli.contexts import Context, ContextError, Contexts
from pointsman.cli.given import Given
from pointsman.cli.main import pointsman

BOOK = Contexts(
    current="dev",
    previous="prod",
    contexts={
        "dev": Context(nats_url="nats://dev:4222", color="green"),
        "prod": Context(nats_url="nats://prod:4222", nats_user="ann", nats_password="env:PROD", protected=True),
        "web": Context(url="https://web"),
    },
)


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "contexts.toml"
    contexts.write(file, BOOK)
    for name in (place.URL_ENV, place.CONTEXT_ENV, place.READ_ONLY_ENV, "PROD", *place.SETTINGS_ENV):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(contexts.FILE_ENV, str(file))
    return file


def test_every_context_is_there_as_it_is_marked() -> None:
    dev, prod, web = cockpit_systems.all_of(Given())
    assert (dev.name, dev.color, dev.protected, dev.read_only, dev.refusal) == ("dev", "green", False, False, "")
    assert (prod.name, prod.protected, prod.read_only) == ("prod", True, True)
    assert web.refusal == cockpit_systems.NEEDS_NATS


def test_read_only_holds_everywhere_and_its_opposite_only_where_it_was_said() -> None:
    assert [one.read_only for one in cockpit_systems.all_of(Given(read_only=True))] == [True, True, True]
    asked = Given(context="prod", read_only=False, url=None)
    assert [one.read_only for one in cockpit_systems.all_of(asked)] == [False, True, False]
    there = place.Place(url="nats://prod:4222", context="prod", protected=True)
    assert cockpit_systems.of_place(asked, there).read_only is False


def test_a_secret_is_read_when_one_connects_and_goes_to_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever named the system that the cockpit was started on."""
    _, prod, _ = cockpit_systems.all_of(Given(url="nats://elsewhere:4222", data_dir=Path("x"), token="env:T"))
    with pytest.raises(ContextError, match="env:PROD: this variable is not set"):
        prod.locate()
    monkeypatch.setenv("PROD", "secret")
    monkeypatch.setenv(place.URL_ENV, "nats://elsewhere:4222")
    address = prod.locate()
    assert (address.url, address.user, address.password) == ("nats://prod:4222", "ann", "secret")


def test_the_one_before_is_that_of_the_file_only_on_the_selected_one() -> None:
    before = cockpit_systems.before(Given())
    assert before is not None
    assert (before.name, before.read_only) == ("prod", True)
    assert cockpit_systems.before(Given(url="nats://x")) is None
    assert cockpit_systems.before(Given(context="prod")) is None


def test_a_file_that_others_could_write_is_not_believed(book: Path) -> None:
    book.chmod(0o666)
    with pytest.raises(ContextError, match="open to others"):
        cockpit_systems.all_of(Given())


@pytest.mark.parametrize("hz", ["0.1", "11", "nan", "often", "-1"])
def test_a_rate_that_cannot_be_drawn_at_is_refused_with_what_is_possible(hz: str) -> None:
    done = CliRunner().invoke(pointsman, ["tui", f"--hz={hz}"])
    assert done.exit_code == 2
    assert "--hz" in done.stderr
    assert "0.2<=x<=10" in done.stderr or "not a valid float" in done.stderr
