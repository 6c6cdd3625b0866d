"""`pointsman completion`: the script that lets a shell complete commands, options and names of the running system."""

from typing import Any

import click

from pointsman.cli.impact import Reads

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_POINTSMAN_COMPLETE"


@click.command(cls=Reads)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
      bash  eval "$(pointsman completion bash)"      in ~/.bashrc
      zsh   eval "$(pointsman completion zsh)"       in ~/.zshrc, after compinit
      fish  pointsman completion fish | source       in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    from pointsman.cli.main import pointsman

    found: Any = get_completion_class(shell)
    click.echo(found(pointsman, {}, "pointsman", VARIABLE).source())
