"""The classes of every command and group: click's, with examples in the help and did-you-mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import click

from lading.cli.ui import exit_codes as exits
from lading.cli.ui.parameters import BundleType
from lading.errors import ModelNotFound
from lading.ref import Ref


class Command(click.Command):
    """A command with examples, one shell line each; a line that ends in a backslash goes on."""

    def __init__(self, *arguments: Any, examples: tuple[str, ...] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = examples

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; where it takes directories too, a model that is not there may be meant as one."""
        try:
            return super().invoke(ctx)
        except ModelNotFound as error:
            for name in _bare_names(self, ctx):
                if error.model == name:
                    hint = f"{error.hint or ''} (a directory is written `./{name}`)".strip()
                    raise error.with_hint(hint) from error.__cause__
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples before the options, where people look first."""
        write_examples(formatter, self.examples)
        super().format_options(ctx, formatter)


class Group(click.Group):
    """A group of commands with examples and a suggestion for a mistyped command."""

    def __init__(self, *arguments: Any, examples: tuple[str, ...] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = examples

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; click before 8.4 suggests nothing, so the suggestion is made here."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            nearest = difflib.get_close_matches(name, list(self.commands), n=1)
            raise exits.WrongUse(f"no such command `{name}`", exits.did_you_mean(nearest), ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options of a group; nothing at all is answered with the help, unless it does something."""
        if not args and not self.invoke_without_command and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(exits.WRONG_USE)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """List the commands in the order in which people need them."""
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples before the options and commands."""
        write_examples(formatter, self.examples)
        super().format_options(ctx, formatter)


def _bare_names(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """List the names that were given where a directory could have been."""
    for one in command.params:
        if isinstance(one.type, BundleType):
            given = ctx.params.get(one.name or "")
            for ref in given if isinstance(given, tuple) else (given,):
                if isinstance(ref, Ref) and str(ref) == ref.name:
                    yield ref.name


def write_examples(formatter: click.HelpFormatter, examples: tuple[str, ...]) -> None:
    """Write a section of examples as they are to be typed."""
    if not examples:
        return
    with formatter.section("Example" if len(examples) == 1 else "Examples"):
        for example in examples:
            for line in example.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
