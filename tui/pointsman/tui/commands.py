"""The same act from the shell: what every dialog shows, and `Y` copies. Pure."""

import shlex
from collections.abc import Iterable, Sequence

import msgspec
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


def command(*words: str, of: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """One line for a POSIX shell. `of` are names: behind `--` and all options where one could be taken for an option."""
    rest = [*options, "--", *of] if any(name.startswith("-") for name in of) else [*of, *options]
    return shlex.join(["pointsman", *words, *rest])


def command_of(act: Act) -> str:
    """Every object is named, however many there are."""
    match act.verb:
        case Verb.DRAIN | Verb.MAINTENANCE:
            return command("server", act.verb, of=act.ids, options=_reason(act))
        case Verb.ACTIVATE:
            return command("server", "activate", of=act.ids)
        case Verb.UNREGISTER:
            return command("server", "remove", of=act.ids, options=_reason(act))
        case Verb.WEIGHT:
            return command("server", "weight", of=[f"{name}={weight}" for name, weight in act.weights])
        case Verb.REGISTER:
            assert act.server is not None
            return _register(act.server)
        case Verb.CANCEL | Verb.RETRY if act.matching:
            return command("task", act.verb, options=["--matching", act.matching, *_reason(act)])
        case Verb.CANCEL | Verb.RETRY:
            return command("task", act.verb, of=act.ids, options=_reason(act))
        case Verb.SUBMIT:
            assert act.task is not None
            return _submit(act.task)
        case Verb.SWITCH:
            return command("balancer", "switch", act.algorithm, options=_pool(act))
        case Verb.UNDO:
            return command("balancer", "undo", options=_pool(act))
        case Verb.ACKNOWLEDGE:
            return command("alert", "acknowledge", of=act.ids, options=["--note", act.reason] if act.reason else [])


def shortened(line: str, ids: Iterable[str]) -> str:
    """For a dialog: of many ids the first three, and how many more."""
    named = list(ids)
    if len(named) <= SHOWN_IDS:
        return line
    rest = " ".join(shlex.quote(one) for one in named[SHOWN_IDS:])
    return line.replace(f" {rest}", f" … ({len(named) - SHOWN_IDS} more; Y copies all)", 1)


def _reason(act: Act) -> list[str]:
    return ["--reason", act.reason] if act.reason else []


def _pool(act: Act) -> list[str]:
    guard = [f"--if-match={thing.seen}" for thing in act.things if thing.seen is not None]
    return ["--pool", *act.ids, *guard]


def _register(server: ServerRequest) -> str:
    options = ["--at", server.url] if server.url else []
    options += _flags(server, SERVER_FLAGS)
    options += [] if server.is_async else ["--sync"]
    options += ["--api-key", "env:NAME"] if server.api_key else []
    return command("server", "register", of=[server.id] if server.id else [], options=options)


def _submit(task: TaskRequest) -> str:
    """With options; as a line of JSON where there is none for what is wanted."""
    if not _has_options(task):
        line = msgspec.json.encode(task).decode()
        return f"printf '%s\\n' {shlex.quote(line)} | {command('task', 'submit', options=['-f', '-'])}"
    payload = bytes(task.payload).decode()
    options = [] if payload == "{}" else ["--payload", payload]
    options += _flags(task, TASK_FLAGS)
    for name, flag in TASK_DURATIONS.items():
        value = getattr(task, name)
        options += [] if value is None else [f"{flag}={value}ms"]
    return command("task", "submit", of=[task.type], options=options)


def _has_options(task: TaskRequest) -> bool:
    told = {"type", "payload", *TASK_FLAGS, *TASK_DURATIONS}
    rest = [one for one in fields(task) if one.name not in told]
    return all(getattr(task, one.name) == one.default for one in rest) and not any("=" in name for name in task.labels)


def _flags(given: ServerRequest | TaskRequest, flags: dict[str, str]) -> list[str]:
    """What differs from the default."""
    words: list[str] = []
    for field in fields(given):
        value, flag = getattr(given, field.name), flags.get(field.name)
        if flag is None or value in (None, UNSET, field.default):
            continue
        if isinstance(value, dict):
            words += [f"{flag}={name}={text}" for name, text in value.items()]
        elif isinstance(value, tuple):
            words += [f"{flag}={one}" for one in value]
        else:
            words.append(f"{flag}={value}")
    return words
