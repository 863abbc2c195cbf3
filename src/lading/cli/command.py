"""The class of every command: a click command that shows examples below its text."""

from __future__ import annotations

from typing import Any

import click


class Command(click.Command):
    """A command with examples, one shell line each; a line that ends in a backslash goes on."""

    def __init__(self, *arguments: Any, examples: tuple[str, ...] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples before the options, where people look first."""
        write_examples(formatter, self.examples)
        super().format_options(ctx, formatter)


def write_examples(formatter: click.HelpFormatter, examples: tuple[str, ...]) -> None:
    """Write a section of examples as they are to be typed."""
    if not examples:
        return
    with formatter.section("Example" if len(examples) == 1 else "Examples"):
        for example in examples:
            for line in example.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
