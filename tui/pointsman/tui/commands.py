"""The same act from the shell: what every dialog shows, and `Y` copies. Pure."""

import shlex
from collections.abc import Iterable, Sequence

from msgspec import UNSET
from msgspec.structs import fields

from pointsman.contracts.server import ServerRequest
from pointsman.contracts.task import TaskRequest
from pointsman.tui.acts import Act, Verb

SHOWN_IDS = 3
SERVER_FLAGS = {
    "name": "--name",
    "pool": "--pool",
    "groups": "--group",
    "capabilities": "--capability",
    "labels": "--label",
    "max_concurrent": "--max-concurrent",
    "weight": "--weight",
    "priority": "--priority",
    "version": "--server-version",
}
TASK_FLAGS = {
    "pool": "--pool",
    "priority": "--priority",
    "capabilities": "--capability",
    "labels": "--label",
    "max_attempts": "--max-attempts",
    "fairness_key": "--fairness-key",
    "concurrency_key": "--concurrency-key",
    "affinity_key": "--affinity-key",
}
TASK_DURATIONS = {"delay_ms": "--delay", "timeout_ms": "--attempt-timeout", "deadline_ms": "--deadline"}


def command_of(act: Act) -> str:
    """One line for a POSIX shell; every object is named, however many there are."""
    return " ".join(["pointsman", *_words(act)])


def shortened(command: str, ids: Iterable[str]) -> str:
    """For a dialog: of many ids the first three, and how many more."""
    named = list(ids)
    if len(named) <= SHOWN_IDS:
        return command
    rest = " ".join(shlex.quote(one) for one in named[SHOWN_IDS:])
    return command.replace(f" {rest}", f" … ({len(named) - SHOWN_IDS} more; Y copies all)", 1)


def _words(act: Act) -> list[str]:
    match act.verb:
        case Verb.DRAIN | Verb.MAINTENANCE:
            return ["server", str(act.verb), *_named(_ids(act), _reason(act))]
        case Verb.ACTIVATE:
            return ["server", "activate", *_named(_ids(act))]
        case Verb.UNREGISTER:
            return ["server", "remove", *_named(_ids(act))]
        case Verb.WEIGHT:
            return ["server", "weight", *_named([f"{shlex.quote(name)}={weight}" for name, weight in act.weights])]
        case Verb.REGISTER:
            assert act.server is not None
            return ["server", "register", *_registration(act.server)]
        case Verb.CANCEL | Verb.RETRY:
            return ["task", str(act.verb), *_tasks(act), *_reason(act)]
        case Verb.SUBMIT:
            assert act.task is not None
            return ["task", "submit", *_submission(act.task)]
        case Verb.SWITCH:
            return ["balancer", "switch", act.algorithm, *_pool(act)]
        case Verb.UNDO:
            return ["balancer", "undo", *_pool(act)]
        case Verb.ACKNOWLEDGE:
            return ["alert", "acknowledge", *_ids(act), *(["--note", shlex.quote(act.reason)] if act.reason else [])]


def _named(names: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    """What looks like an option stands behind `--`, after all that is one."""
    return [*options, "--", *names] if any(name.startswith("-") for name in names) else [*names, *options]


def _ids(act: Act) -> list[str]:
    return [shlex.quote(name) for name in act.ids]


def _reason(act: Act) -> list[str]:
    return ["--reason", shlex.quote(act.reason)] if act.reason else []


def _tasks(act: Act) -> list[str]:
    return ["--matching", shlex.quote(act.matching)] if act.matching else _ids(act)


def _pool(act: Act) -> list[str]:
    guard = [f"--if-match={thing.seen}" for thing in act.things if thing.seen is not None]
    return ["--pool", *_ids(act), *guard]


def _registration(server: ServerRequest) -> list[str]:
    words = ["--at", shlex.quote(server.url)] if server.url else []
    words += _flags(server, SERVER_FLAGS)
    words += [] if server.is_async else ["--sync"]
    words += ["--api-key", "env:NAME"] if server.api_key else []
    return _named([shlex.quote(server.id)] if server.id else [], words)


def _submission(task: TaskRequest) -> list[str]:
    payload = bytes(task.payload).decode()
    words = [task.type, *([] if payload == "{}" else ["--payload", shlex.quote(payload)]), *_flags(task, TASK_FLAGS)]
    for name, flag in TASK_DURATIONS.items():
        value = getattr(task, name)
        words += [] if value is None else [f"{flag}={value}ms"]
    return words


def _flags(given: ServerRequest | TaskRequest, flags: dict[str, str]) -> list[str]:
    """What differs from the default."""
    words: list[str] = []
    for field in fields(given):
        value, flag = getattr(given, field.name), flags.get(field.name)
        if flag is None or value in (None, UNSET, field.default):
            continue
        if isinstance(value, dict):
            words += [f"{flag}={shlex.quote(f'{name}={text}')}" for name, text in value.items()]
        elif isinstance(value, tuple):
            words += [f"{flag}={shlex.quote(one)}" for one in value]
        else:
            words.append(f"{flag}={shlex.quote(str(value))}")
    return words
