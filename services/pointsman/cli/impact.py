"""What a command does to the system, as data: it reads, or it writes and can be forbidden to."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import click

type Impact = Literal["ro", "rw"]

ALIASES = {"ls": "list", "show": "get", "rm": "remove"}


class Told(click.Command):
    """Its help names the options that it shares with all others without describing them again."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shared = [param.opts[-1] for param in self.params if isinstance(param, click.Option) and param.hidden]
        if shared:
            formatter.write_paragraph()
            formatter.write_text(f"Also, as `pointsman --help` says: {', '.join(shared)}")
        super().format_epilog(ctx, formatter)


class Reads(Told):
    """Changes nothing in the system."""

    impact: Impact = "ro"


class Writes(Told):
    """Refused, before anything is asked of the system, while only reading is allowed."""

    impact: Impact = "rw"

    def invoke(self, ctx: click.Context) -> Any:
        from pointsman.cli import allowing

        allowing.refuse_writes(ctx)
        return super().invoke(ctx)


class Group(click.Group):
    """A group of commands; `ls` is `list`, `show` is `get`, and so on, everywhere. Its own `aliases` come on top."""

    def __init__(self, *args: Any, aliases: Mapping[str, str] | None = None, **given: Any) -> None:
        super().__init__(*args, **given)
        self.aliases = ALIASES | dict(aliases or {})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, self.aliases.get(cmd_name, ""))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Usage errors name the command, not its alias."""
        _, command, left = super().resolve_command(ctx, args)
        return command.name if command else None, command, left

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        there = {name: real for name, real in self.aliases.items() if real in self.commands}
        if there:
            formatter.write_paragraph()
            formatter.write_text("Also: " + ", ".join(f"{name} = {real}" for name, real in sorted(there.items())))
        super().format_epilog(ctx, formatter)

    def reads(self, *args: Any, **given: Any) -> Callable[[Callable[..., Any]], click.Command]:
        return self.command(*args, cls=Reads, **given)

    def writes(self, *args: Any, **given: Any) -> Callable[[Callable[..., Any]], click.Command]:
        return self.command(*args, cls=Writes, **given)


def group(name: str | None = None, **given: Any) -> Callable[[Callable[..., Any]], Group]:
    return click.group(name, cls=Group, **given)
