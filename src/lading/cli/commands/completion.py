"""``lading completion``: the script that makes a shell complete commands, options, models and versions."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from lading.cli.ui.command import Command

# Bash breaks words at `:` and `@`, which are part of references; without this `iris:<Tab>` completes nothing.
_BASH_WORDBREAKS = "COMP_WORDBREAKS=${COMP_WORDBREAKS//[:@]/}\n"


@click.command(
    "completion",
    short_help="Print a script that completes commands in a shell.",
    cls=Command,
    examples=(
        "lading completion bash > ~/.local/share/bash-completion/completions/lading",
        "lading completion zsh > ~/.zfunc/_lading",
        "lading completion fish > ~/.config/fish/completions/lading.fish",
    ),
)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL: bash, zsh or fish."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    script = _with_directories(kind(ctx.find_root().command, {}, "lading", "_LADING_COMPLETE").source())
    click.echo((_BASH_WORDBREAKS if shell == "bash" else "") + script.strip())


def _with_directories(script: str) -> str:
    # `dirnames` offers directories only where nothing else matches: not beside a model of the same name.
    return script.replace("compopt -o dirnames", "compopt -o plusdirs")
