"""The command `pointsman`: names its subcommands and imports one only when it is used."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from pointsman.cli import options
from pointsman.cli.given import Given

COMMANDS = {
    "alert": "alert:alert",
    "balancer": "balancer:balancer",
    "backup": "backup:backup",
    "check": "check:check",
    "cheat": "cheat:cheat",
    "completion": "completion:completion",
    "context": "context:context",
    "demo": "demo:demo",
    "doctor": "doctor:doctor",
    "events": "events:events",
    "limit": "limit:limit",
    "migrate": "migrate:migrate",
    "pool": "pool:pool",
    "record": "record:record",
    "restore": "restore:restore",
    "serve": "serve:serve",
    "server": "server:server",
    "settings": "settings:settings",
    "stats": "stats:stats",
    "task": "task:task",
    "token": "token:token",
    "tui": "tui:tui",
    "type": "tasktype:task_type",
    "up": "up:up",
    "webhook-secret": "webhook_secret:webhook_secret",
}
ALIASES = {
    "alerts": "alert",
    "limits": "limit",
    "pools": "pool",
    "servers": "server",
    "tasks": "task",
    "types": "type",
    "ctx": "context",
}
SECTIONS = {
    "Watch and steer": {
        "alert": "What needs attention, and the mark that somebody knows.",
        "balancer": "How tasks are spread: who leads, which algorithm, switch and undo.",
        "events": "Follow what happens to tasks.",
        "limit": "Limits of pools, types and concurrency keys.",
        "pool": "Pools: algorithm, shares, retries, backlog.",
        "record": "Write what cockpits are shown into a file.",
        "server": "Servers: see, register, drain, maintenance, activate, remove.",
        "stats": "Numbers of a day, by hour, by server.",
        "tui": "All of it on one screen: the cockpit.",
        "task": "Tasks: submit, list, get, wait, watch, explain, cancel, retry.",
        "type": "Declared task types: defaults, limits, payload schemas.",
    },
    "This command line": {
        "cheat": "The commands that one needs, by topic.",
        "check": "One state for a monitoring system: nagios, prometheus, json.",
        "completion": "Completion for bash, zsh or fish.",
        "context": "Named systems: add, select, list, get, previous, remove.",
        "doctor": "What can be reached, and whether it is as it must be.",
    },
    "Run a system": {
        "backup": "Write everything that matters into a folder.",
        "demo": "Run the whole system on real input and check the result.",
        "migrate": "Bring database and broker to this version's layout.",
        "restore": "Bring a backup back into empty stores.",
        "serve": "Run the named services against existing stores.",
        "settings": "Show every setting, its default and its value.",
        "token": "Print an access token.",
        "up": "Run everything on this machine.",
        "webhook-secret": "Print the secret that signs an owner's webhooks.",
    },
}
EPILOG = """Exit codes: 0 done, 1 the thing itself failed, 2 usage or a question that nobody could answer, 3 not found,
4 conflict, 5 not allowed, 6 a wait timed out, 69 nobody answered, 130 interrupted. `pointsman cheat` shows examples."""


@contextmanager
def while_read() -> Iterator[None]:
    """Nobody reads on, as in `| head -1`: ends without a word, as programs do that SIGPIPE ends."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        raise SystemExit(options.UNREAD) from None


class LazyGroup(click.Group):
    """A group whose help needs no import of its commands."""

    def make_context(self, *args: Any, **given: Any) -> click.Context:
        with while_read():
            return super().make_context(*args, **given)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(f"pointsman.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Usage errors name the command, not its alias; one that is not there brings those like it to mind."""
        try:
            _, command, left = super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None
        return command.name if command else None, command, left

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with while_read():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(options.INTERRUPTED) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(sorted(commands.items()))


def _entry(ctx: click.Context, /, **given: Any) -> None:
    """Pointsman: the push dispatcher you can host yourself.

    Options may stand before or after the command. `pointsman COMMAND --help` says more about each.
    """
    ctx.obj = Given(**given)


_group = click.group(
    "pointsman", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG
)
_version = click.version_option(package_name="pointsman", prog_name="pointsman")
pointsman: click.Group = _group(options.taking(_version(click.pass_context(_entry)), options.common(is_hidden=False)))


def main(arguments: list[str] | None = None) -> Any:
    return pointsman.main(args=arguments, prog_name="pointsman")


if __name__ == "__main__":
    main()
