"""Named systems: what is in the file, which one is meant, and what may be done there."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.cli import contexts, place
from pointsman.cli.contexts import Context, ContextError, Contexts, NotRunning
from pointsman.cli.given import Given

PROD = Context(url="https://prod.example", token="env:PROD", protected=True, color="red")
DEV = Context(nats_url="nats://dev:4222", nats_user="me", nats_password="env:PW")
BOOK = Contexts(current="prod", contexts={"prod": PROD, "dev": DEV})


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "contexts.toml"
    contexts.write(path, BOOK)
    return {"POINTSMAN_CONTEXTS": str(path), "PROD": "of-prod", "PW": "pw"}


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
names = st.text("abcABC012._-", min_size=1, max_size=12)


@given(st.dictionaries(names, st.builds(Context, nats_url=texts, data_dir=texts, protected=st.booleans()), max_size=4))
def test_what_is_written_is_read_again(many: dict[str, Context]) -> None:
    book = Contexts(current="x", contexts=many)
    assert contexts.parse(contexts.as_toml(book), "here") == book


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("current = 3", "current"),
        ("[contexts.a]\nurl = 'ftp://x'", "url must start with"),
        ("[contexts.a]\nurl = 'http://[::1'", "names no host"),
        ("[contexts.a]\nurl = 'http://a b:80'", "names no host"),
        ("[contexts.a]\nprotected = true", "needs url, nats_url or data_dir"),
        ("[contexts.a]\nurl = 'https://x'\ntoken = 'secret'", "must be env:NAME"),
        ("[contexts.a]\nnats_url = 'nats://x'\nnats_user = 'me'", "needs nats_password"),
        ("[contexts.'a b']\nurl = 'https://x'", "a name is"),
        ("[contexts.a]\nurl = 'https://x'\ncolour = 'red'", "unknown field"),
        ("[[", "here: "),
    ],
)
def test_a_wrong_file_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ContextError, match=said) as error:
        contexts.parse(text, "here")
    assert "secret'" not in str(error.value)


def test_a_file_that_others_may_read_or_write_is_refused(env: dict[str, str]) -> None:
    path = contexts.path_of(env)
    assert path.stat().st_mode & 0o777 == 0o600
    for mode in (0o620, 0o602, 0o644):
        path.chmod(mode)
        with pytest.raises(ContextError, match="chmod 600"):
            contexts.read(path)


@pytest.mark.parametrize("home", ["/nowhere", "/dev/null"])
def test_who_has_no_home_has_no_contexts(home: str) -> None:
    assert contexts.read(contexts.path_of({"HOME": home})) == Contexts()


def test_two_who_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "contexts.toml"

    def add(number: int) -> None:
        contexts.change(path, lambda book: Contexts(contexts=book.contexts | {f"c{number}": DEV}))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(contexts.read(path).contexts) == 12
    assert sorted(one.name for one in path.parent.iterdir()) == ["contexts.toml", "contexts.toml.lock"]


def test_secrets_come_from_where_they_are_named(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("of-file\n")
    file.chmod(0o600)
    assert contexts.secret("env:A", {"A": "of-env"}) == "of-env"
    assert contexts.secret(f"file:{file}", {}) == "of-file"
    assert contexts.secret("command:echo of-$WHAT", dict(os.environ) | {"WHAT": "command"}) == "of-command"
    file.chmod(0o604)
    for wrong, said in (
        ("env:B", "is not set"),
        (f"file:{file}", "open to everybody"),
        ("file:/no/such", "No such file"),
        ("command:exit 3", "exit code 3"),
        ("command:echo it is locked >&2; exit 3", "exit code 3: it is locked"),
        ("command:cat", "nothing there"),
        ("command:true", "nothing there"),
        ("command:yes", "says more than 65,536 bytes"),
        ("command:yes >&2", "says more than 65,536 bytes"),
        ("hush", "must be env:NAME"),
    ):
        with pytest.raises(ContextError, match=said):
            contexts.secret(wrong, dict(os.environ))


def test_a_command_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "COMMAND_S_MAX", 0.2)
    for command in ("sleep 3", "sleep 3 & echo hush", "exec >&- 2>&-; sleep 3"):
        with pytest.raises(ContextError, match=r"not over after 0.2 s"):
            contexts.secret(f"command:{command}", dict(os.environ))


def test_previous_goes_back_and_forth() -> None:
    book = contexts.selected(BOOK, "dev")
    assert (book.current, book.previous) == ("dev", "prod")
    assert contexts.selected(book, "prod").previous == "dev"
    gone = contexts.without(book, "prod")
    assert (gone.current, gone.previous, list(gone.contexts)) == ("dev", None, ["dev"])
    with pytest.raises(ContextError, match="there are: dev, prod"):
        contexts.selected(BOOK, "qa")


@pytest.mark.parametrize(
    ("given", "more", "url", "origin"),
    [
        (Given(), {}, "https://prod.example", "context prod"),
        (Given(), {"POINTSMAN_CONTEXT": "dev"}, "nats://dev:4222", "context dev"),
        (Given(), {"POINTSMAN_URL": "http://env"}, "http://env", "POINTSMAN_URL"),
        (Given(), {"POINTSMAN_NATS_URL": "nats://env:1"}, "nats://env:1", "POINTSMAN_NATS_URL"),
        (Given(context="dev"), {"POINTSMAN_URL": "http://env"}, "nats://dev:4222", "context dev"),
        (Given(context="dev"), {"POINTSMAN_NATS_URL": "nats://env:1"}, "nats://dev:4222", "context dev"),
        (Given(url="http://flag", context="dev"), {"POINTSMAN_URL": "http://env"}, "http://flag", "--url"),
        (Given(url="tls://flag"), {}, "tls://flag", "--url"),
    ],
)
def test_flag_goes_before_environment_before_context(
    env: dict[str, str], given: Given, more: dict[str, str], url: str, origin: str
) -> None:
    found = place.resolve(given, env | more)
    assert (found.url, found.origins["url"]) == (url, origin)


def test_a_folder_without_a_running_system_is_not_taken_for_the_broker_of_somebody_else(
    env: dict[str, str], tmp_path: Path
) -> None:
    for flags, more in (
        (Given(data_dir=tmp_path / "typo"), {}),
        (Given(), {"POINTSMAN_DATA_DIR": str(tmp_path / "typo")}),
    ):
        with pytest.raises(NotRunning, match=r"no system runs in .*typo"):
            place.resolve(flags, env | more)
    named = env | {"POINTSMAN_DATA_DIR": str(tmp_path), "POINTSMAN_NATS_URL": "nats://ours:4222"}
    assert place.resolve(Given(), named).url == "nats://ours:4222"


def test_a_secret_goes_only_to_the_address_it_was_given_with(env: dict[str, str]) -> None:
    hasty = env | {"POINTSMAN_TOKEN": "of-env"}
    assert place.resolve(Given(), hasty).token == "of-prod"
    assert place.resolve(Given(url="http://flag"), hasty).token == "of-env"
    assert place.resolve(Given(url="nats://flag"), hasty).token == ""
    assert place.resolve(Given(token="env:PW"), hasty).token == "pw"


@pytest.mark.parametrize("token", ["hush\nhush", "hüsh", "漢字", "hush\x01"])
def test_a_token_that_no_header_can_hold_is_refused_without_telling_it(token: str, env: dict[str, str]) -> None:
    for how, more in (
        (Given(url="http://a"), {"POINTSMAN_TOKEN": token}),
        (Given(url="http://a", token="env:PROD"), {"PROD": token}),
        (Given(), {"PROD": token}),
    ):
        with pytest.raises(ContextError, match="printable ASCII") as error:
            place.resolve(how, env | more)
        assert token not in str(error.value)


def test_a_protected_context_is_opened_by_the_flag_alone(env: dict[str, str]) -> None:
    prod, dev = (place.resolve(Given(context=name), env) for name in ("prod", "dev"))
    assert "prod is protected" in str(place.reads_only(Given(), env, prod))
    assert place.reads_only(Given(read_only=False), env, prod) is None
    assert place.reads_only(Given(), env, dev) is None
    locked = env | {"POINTSMAN_READ_ONLY": "1"}
    assert place.reads_only(Given(), locked, dev) == "POINTSMAN_READ_ONLY is set"
    assert place.reads_only(Given(read_only=False), locked, dev) is None
    assert place.reads_only(Given(read_only=True), env, dev) == "--read-only"
    with pytest.raises(ContextError, match="must be 1 or 0"):
        place.reads_only(Given(), env | {"POINTSMAN_READ_ONLY": "maybe"}, dev)
