"""``lading help``: the help of a command, for those who look for it where other tools have it."""

from __future__ import annotations

import click

from lading.cli.ui.command import Command
from lading.cli.ui.exit_codes import HintedUsageError


@click.command(
    "help",
    short_help="Print the help of a command.",
    cls=Command,
    examples=(
        "lading help",
        "lading help image build",
    ),
)
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def show_help(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Print the help of COMMAND, as `lading COMMAND --help` does, or the list of all commands."""
    context = ctx.find_root()
    for word in words:
        group = context.command
        if not isinstance(group, click.Group):
            hint = f"see `{context.command_path} --help`"
            raise HintedUsageError(f"`{context.command_path}` has no command `{word}`", hint)
        # Raises the usage error that suggests the nearest command.
        _, command, _ = group.resolve_command(context, [word])
        assert command is not None, word
        context = click.Context(command, info_name=word, parent=context, **command.context_settings)
    click.echo(context.get_help(), color=context.color)
