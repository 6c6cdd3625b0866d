"""The command `pointsman`: names its subcommands and imports one only when it is used."""

import importlib
from typing import Any

import click

COMMANDS = {
    "balancer": "balancer:balancer",
    "backup": "backup:backup",
    "demo": "demo:demo",
    "doctor": "doctor:doctor",
    "events": "events:events",
    "limit": "limit:limit",
    "migrate": "migrate:migrate",
    "pool": "pool:pool",
    "restore": "restore:restore",
    "serve": "serve:serve",
    "server": "server:server",
    "settings": "settings:settings",
    "task": "task:task",
    "token": "token:token",
    "tui": "tui:tui",
    "type": "tasktype:task_type",
    "up": "up:up",
    "webhook-secret": "webhook_secret:webhook_secret",
}
SUMMARIES = {
    "balancer": "Choose how tasks are spread over servers.",
    "backup": "Write everything that matters into a folder.",
    "demo": "Run the whole system on real input and check the result.",
    "doctor": "Check that the stores can be reached and keep what they acknowledge.",
    "events": "Follow what happens to tasks.",
    "limit": "List, set and clear limits of pools, types and concurrency keys.",
    "migrate": "Bring database and broker to this version's layout.",
    "pool": "List, show and change pools.",
    "restore": "Bring a backup back into empty stores.",
    "serve": "Run the named services against existing stores.",
    "server": "List, show, drain, activate and remove servers.",
    "settings": "Show every setting, its default and its value.",
    "task": "List, read, explain, cancel and retry tasks.",
    "token": "Print an access token.",
    "tui": "Watch and steer a running system in the terminal.",
    "type": "List, declare and remove task types.",
    "up": "Run everything on this machine.",
    "webhook-secret": "Print the secret that signs an owner's webhooks.",
}


class LazyGroup(click.Group):
    """A group whose help needs no import of its commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"pointsman.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pointsman", prog_name="pointsman")
def pointsman() -> None:
    """Pointsman: the push dispatcher you can host yourself."""


def main(arguments: list[str] | None = None) -> Any:
    return pointsman.main(args=arguments, prog_name="pointsman")


if __name__ == "__main__":
    main()
