"""The tree of commands: what each says of itself, and what it refuses before it asks anybody."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pointsman.cli import impact, main
from pointsman.cli.main import pointsman

HUGE = 5_000 * "9"
OF_THE_CONTEXTS_FILE = "context"
HEAVY = ("aiohttp", "httpx", "textual", "litestar", "asyncpg", "rich", "structlog", "cryptography", "asyncio", "nats")


def walked(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walked(found, *path, name)
    else:
        yield path, command


COMMANDS = list(walked(pointsman))
NAMES = [" ".join(path) for path, _ in COMMANDS]


@pytest.fixture
def runner(tmp_path: Path) -> CliRunner:
    return CliRunner(env={"POINTSMAN_CONTEXTS": str(tmp_path / "contexts.toml"), "POINTSMAN_URL": "nats://127.0.0.1:9"})


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=NAMES)
def test_every_command_says_what_it_does_and_whether_it_writes(
    path: tuple[str, ...], command: click.Command, runner: CliRunner
) -> None:
    assert getattr(command, "impact", None) in ("ro", "rw"), path
    assert command.help and command.help[0].isupper(), path
    names = [name for param in command.params for name in (param.name, *param.opts)]
    assert len(names) == len(set(names)) + sum(param.name in param.opts for param in command.params), path
    assert all(param.help for param in command.params if isinstance(param, click.Option)), path
    shown = runner.invoke(pointsman, [*path, "--help"])
    assert (shown.exit_code, "Usage: " in shown.output) == (0, True)


def test_the_first_page_names_every_command() -> None:
    told = {name for section in main.SECTIONS.values() for name in section}
    assert told == set(main.COMMANDS)


WRITES = {
    "task submit": ["resize"],
    "task cancel": ["task_1"],
    "task retry": ["--matching", "state:failed", "--yes"],
    "server register": ["a", "--at", "http://x"],
    "server drain": ["a", "--yes"],
    "server maintenance": ["a", "--yes"],
    "server activate": ["a", "--yes"],
    "server remove": ["a", "--yes"],
    "server weight": ["a=3"],
    "alert acknowledge": ["no-leader"],
    "balancer switch": ["p2c"],
    "balancer undo": [],
    "pool set": ["default", "--max-backlog", "3"],
    "pool undo": ["default"],
    "limit set": ["pool", "default", "--max-concurrent", "1"],
    "limit clear": ["pool", "default"],
    "type declare": ["x"],
    "type remove": ["x"],
    "type undo": ["x"],
    "serve": ["task"],
    "up": [],
    "demo": [],
    "migrate": [],
    "restore": ["."],
}


def test_the_list_of_what_writes_is_whole() -> None:
    writes = {" ".join(path) for path, command in COMMANDS if getattr(command, "impact", "") == "rw"}
    assert writes == set(WRITES)


@pytest.mark.parametrize("name", sorted(WRITES))
def test_nothing_is_asked_of_a_system_that_may_only_be_read(name: str, runner: CliRunner) -> None:
    """The address leads nowhere, so asking would be 69."""
    arguments = [*name.split(), *WRITES[name]]
    for flags, env in ((["--read-only"], {}), ([], {"POINTSMAN_READ_ONLY": "1"})):
        done = runner.invoke(pointsman, [*flags, *arguments], env=env)
        assert (done.exit_code, name in done.stderr) == (5, True), done.output


def test_a_protected_context_starts_read_only(runner: CliRunner) -> None:
    runner.env.pop("POINTSMAN_URL")
    made = ["context", "add", "prod", "--nats-url", "nats://127.0.0.1:9", "--protected", "--color", "red"]
    assert runner.invoke(pointsman, made).exit_code == 0
    refused = runner.invoke(pointsman, ["balancer", "undo"])
    assert (refused.exit_code, "--no-read-only" in refused.stderr) == (5, True)
    asks = runner.invoke(pointsman, ["balancer", "undo", "--no-read-only"])
    assert (asks.exit_code, "--yes" in asks.stderr) == (2, True)
    assert runner.invoke(pointsman, ["balancer", "undo", "--no-read-only", "--yes"]).exit_code == 69
    assert runner.invoke(pointsman, ["server", "ls"]).exit_code == 69
    shown = runner.invoke(pointsman, ["context", "get", "--origin"])
    assert "context prod is protected" in shown.output and "context prod" in shown.output


def test_contexts_are_added_selected_listed_and_forgotten(runner: CliRunner) -> None:
    def run(*arguments: str, expect: int = 0) -> str:
        done = runner.invoke(pointsman, ["context", *arguments])
        assert done.exit_code == expect, done.output
        return done.output

    assert "selected" in run("add", "a", "--nats-url", "nats://a")
    run("add", "b", "--url", "https://b", "--token", "env:B")
    assert "--replace" in run("add", "b", "--url", "https://b2", expect=2)
    assert "must be env:NAME" in run("add", "c", "--url", "https://c", "--token", "hush", expect=2)
    run("select", "b")
    assert run("ls", "-o", "csv").splitlines() == [
        "selected,name,address,protected,color",
        ",a,nats://a,no,",
        "*,b,https://b,no,",
    ]
    assert "a is selected" in run("previous")
    assert "there are: a, b" in run("select", "q", expect=3)
    run("rm", "b")
    assert run("ls", "-o", "name") == "a\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["server", "ls", "--watch", "0"],
        ["server", "ls", "--timeout", "soon"],
        ["server", "ls", "--timeout", "0"],
        ["server", "drain"],
        ["server", "weight", "a"],
        ["server", "weight", f"a={HUGE}"],
        ["server", "register", "a"],
        ["server", "register", "a", "--at", "http://x", "--label", "x"],
        ["server", "drain", "a", "b", "--if-match", "3", "--yes"],
        ["task", "submit"],
        ["task", "submit", "x", "-f", "y"],
        ["task", "submit", "-f", "y", "--payload", "{}"],
        ["task", "submit", "x", "--payload", "[]"],
        ["task", "submit", "x", "--payload", "{"],
        ["task", "submit", "UPPER"],
        ["task", "submit", "x", "--delay", "soon"],
        ["task", "wait", "t", "--for", "completed"],
        ["task", "wait", "t", "--for", "state=happy"],
        ["task", "tail", "payload.user:42"],
        ["task", "tail", "colour:red"],
        ["task", "cancel"],
        ["task", "cancel", "x", "--matching", "y"],
        ["events", "--since", "x"],
        ["events", "--no-follow"],
        ["events", "--columns", "a"],
        ["events", "-o", "yaml"],
        ["stats", "day", "--from", "yesterday"],
        ["stats", "hour", "--date", "1.1.2026"],
        ["pool", "set", "default"],
        ["pool", "set", "default", "--max-backlog", HUGE],
        ["pool", "set", "default", "--share", f"a={HUGE}"],
        ["--url", "nats://x", "migrate"],
        ["--context", "prod", "token", "--role", "admin", "--sub", "me"],
        ["--url", "ftp://x", "server", "ls"],
        ["--context", "nowhere", "server", "ls"],
        ["--token", "hush", "--url", "http://x", "server", "ls"],
        ["-o", "xml", "server", "ls"],
        ["--url", "http://", "server", "ls"],
        ["--url", "http://one two", "server", "ls"],
        ["--url", "http://..", "server", "ls"],
        ["--url", "nats://one:4222,nats://two:99999", "server", "ls"],
        ["tui", "--snapshot", "text", "--at", "soon"],
        ["tui", "--snapshot", "text", "--at", "5h"],
        ["webhook-secret", "--owner", ""],
        ["token", "--role", "admin", "--sub", "me", "--ttl", "soon"],
    ],
    ids=lambda words: " ".join(words)[:60],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], runner: CliRunner) -> None:
    done = runner.invoke(pointsman, arguments)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr and "Traceback" not in done.stderr


def test_a_word_that_is_nearly_a_command_brings_it_to_mind(runner: CliRunner) -> None:
    for word, meant in (("servr", "server"), ("taks", "task")):
        done = runner.invoke(pointsman, [word])
        assert (done.exit_code, f"'{meant}'" in done.stderr) == (2, True), done.output


def test_a_form_in_the_environment_is_checked_too(runner: CliRunner) -> None:
    done = runner.invoke(pointsman, ["events"], env={"POINTSMAN_OUTPUT": "xml"})
    assert (done.exit_code, "POINTSMAN_OUTPUT" in done.stderr) == (2, True)


def test_nobody_there_is_69_also_over_rest(runner: CliRunner) -> None:
    for url in ("nats://127.0.0.1:9", "http://127.0.0.1:9", "http://127.0.0.1:9/ä b"):
        done = runner.invoke(pointsman, ["server", "ls", "--url", url])
        assert (done.exit_code, "cannot be reached" in done.stderr) == (69, True), done.output


def test_what_an_address_holds_of_a_user_is_not_told(runner: CliRunner) -> None:
    for way in ("nats", "http"):
        done = runner.invoke(pointsman, ["server", "ls", "--url", f"{way}://me:hush@127.0.0.1:9"])
        assert (done.exit_code, "127.0.0.1:9" in done.stderr, "hush" in done.stderr) == (69, True, False), done.output


def test_a_folder_where_nothing_runs_is_69(runner: CliRunner, tmp_path: Path) -> None:
    for command in (["server", "ls"], ["tui", "--snapshot", "text"]):
        done = runner.invoke(pointsman, [*command, "--data-dir", str(tmp_path)])
        assert (done.exit_code, "no system runs in" in done.stderr) == (69, True), done.output


def test_what_a_stranger_says_does_not_steer_the_terminal(runner: CliRunner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:

        def answer() -> None:
            connection, _ = stranger.accept()
            with connection:
                connection.sendall(b"INFO {}\r\n-ERR '\x1b]0;mine\x07go away'\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"nats://127.0.0.1:{stranger.getsockname()[1]}"
        done = runner.invoke(pointsman, ["server", "ls", "--url", url, "--timeout", "5s"])
        thread.join()
    assert (done.exit_code, "go away" in done.stderr) == (69, True), done.output
    assert done.stderr.replace("\n", "").isprintable()


def test_who_listens_but_never_answers_is_69_and_no_wait_that_timed_out(runner: CliRunner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for command in (["server", "ls"], ["task", "get", "task_1"]):
            done = runner.invoke(pointsman, [*command, "--url", f"http://127.0.0.1:{port}", "--timeout", "0.3s"])
            assert (done.exit_code, "no answer" in done.stderr) == (69, True), done.output


@pytest.mark.parametrize(
    "arguments", [["--help"], ["cheat"], ["server", "--help"], ["settings"], ["completion", "fish"]]
)
def test_who_reads_no_further_hears_no_complaint(arguments: list[str]) -> None:
    unread, written = os.pipe()
    os.close(unread)
    done = subprocess.run(
        [sys.executable, "-c", "from pointsman.cli.main import main; main()", *arguments],
        env={"PATH": "/usr/bin"}, stdout=written, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    os.close(written)
    assert (done.returncode, done.stderr) == (141, b"")


def test_names_stand_for_others_in_the_same_way_everywhere() -> None:
    context = click.Context(pointsman)
    for group in ("server", "pool", "type", "task", "limit", "context"):
        found = pointsman.get_command(context, group)
        assert isinstance(found, impact.Group)
        assert found.get_command(context, "ls") is found.commands["list"], group
    for plural, one in main.ALIASES.items():
        assert pointsman.get_command(context, plural) is pointsman.get_command(context, one)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell: str, runner: CliRunner) -> None:
    assert "_POINTSMAN_COMPLETE" in runner.invoke(pointsman, ["completion", shell]).output


def test_completion_offers_commands_and_is_silent_when_nobody_is_there(runner: CliRunner) -> None:
    for words, offered in (
        ("pointsman serv", "server"),
        ("pointsman server dr", "drain"),
        ("pointsman server get g", ""),
    ):
        env = {"_POINTSMAN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", "from pointsman.cli.main import main; main()"],
            env={"PATH": "/usr/bin", "POINTSMAN_URL": "nats://127.0.0.1:9"} | env,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (offered in done.stdout, done.stderr) == (True, ""), done


@pytest.mark.parametrize(
    "arguments", [["--help"], ["server", "ls", "--url", "nats://127.0.0.1:9"], ["server", "--help"]]
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom pointsman.cli.main import pointsman\n"
        f"try:\n    pointsman.main({arguments!r})\nexcept SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if sys.modules.get(name)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_cheat_shows_only_what_there_is(runner: CliRunner) -> None:
    for line in runner.invoke(pointsman, ["cheat"]).output.splitlines():
        words = line.split()
        if words[:1] == ["pointsman"] and not words[1].startswith("-"):
            command = pointsman.get_command(click.Context(pointsman), words[1])
            assert command is not None, line
            if isinstance(command, click.Group):
                assert command.get_command(click.Context(command), words[2]) is not None, line
