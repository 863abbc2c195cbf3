"""The classes of every command and group: click's, with examples in the help and "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lading.cli.ui import exit_codes
from lading.cli.ui.parameters import BundleType
from lading.errors import ModelNotFound
from lading.ref import Ref


class Command(click.Command):
    """A command with examples, one shell line each; a line that ends in a backslash continues on the next."""

    def __init__(self, *arguments: Any, examples: tuple[str, ...] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = examples

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; if it also takes directories, an unknown model may have been meant as one."""
        try:
            return super().invoke(ctx)
        except ModelNotFound as error:
            for name in _bare_names(self, ctx):
                if error.model == name:
                    meant = f"a directory is written `./{name}`"
                    if Path(name).is_file():
                        meant = f"`{name}` is a file; `lading pack` makes a bundle of a model"
                    hint = f"{error.hint or ''} ({meant})".strip()
                    raise error.with_hint(hint) from error.__cause__
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples before the options, where people look first."""
        write_examples(formatter, self.examples)
        super().format_options(ctx, formatter)


class Group(click.Group):
    """A group of commands with examples, and a suggestion for a mistyped command."""

    def __init__(self, *arguments: Any, examples: tuple[str, ...] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = examples

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named; raises a usage error with a suggestion if it does not exist."""
        name = args[0]
        # click suggests a command only from 8.4 on, so the suggestion is made here.
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            nearest = difflib.get_close_matches(name, list(self.commands), n=1)
            hint = exit_codes.did_you_mean(nearest)
            raise exit_codes.HintedUsageError(f"no such command `{name}`", hint, ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options of a group; without any argument, print the help and exit with a usage error."""
        if not args and not self.invoke_without_command and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(exit_codes.USAGE_ERROR)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """List the commands in the order in which people need them; click would sort them by name."""
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples before the options and commands."""
        write_examples(formatter, self.examples)
        super().format_options(ctx, formatter)


def _bare_names(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """Iterate over the model names on the command line that could also have been directories."""
    for parameter in command.params:
        if isinstance(parameter.type, BundleType):
            value = ctx.params.get(parameter.name or "")
            for ref in value if isinstance(value, tuple) else (value,):
                if isinstance(ref, Ref) and str(ref) == ref.name:
                    yield ref.name


def write_examples(formatter: click.HelpFormatter, examples: tuple[str, ...]) -> None:
    """Write a section with examples exactly as they are to be typed."""
    if not examples:
        return
    with formatter.section("Example" if len(examples) == 1 else "Examples"):
        for example in examples:
            for line in example.splitlines():
                # Not `write_text`, which would wrap a command line in the middle.
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
