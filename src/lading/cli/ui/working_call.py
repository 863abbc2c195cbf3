"""A command whose refusals show the whole call that would work: the one that was made, and what it lacks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lading.cli.ui.command import Command
from lading.cli.ui.exit_codes import HintedUsageError
from lading.errors import LadingError

_ARGUMENTS = "lading.arguments"
_OPTION = re.compile(r"`(--[a-z-]+)( [^`]+)?`")


class GuidingCommand(Command):
    """A command that shows the call that would work.

    ``fillers`` are values for parameters that have to be stated, ``options`` those that a hint may name as
    the way out.
    """

    def __init__(
        self, *arguments: Any, fillers: Mapping[str, str], options: Sequence[str], **settings: Any
    ) -> None:
        super().__init__(*arguments, **settings)
        self.fillers = fillers
        self.options = options

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; if one is missing, say which call has them all."""
        # A copy: click takes away what it has read.
        ctx.meta[_ARGUMENTS] = arguments = [*args]
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter as error:
            call = f"`{self._call(ctx, arguments)}`"
            raise HintedUsageError(error.format_message(), f"such as {call}", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; if a hint of an error names an option, say which call has it."""
        try:
            return super().invoke(ctx)
        except LadingError as error:
            more = named_options(error.hint or "", self.options)
            if not more:
                raise
            call = shlex.join(["lading", *ctx.command_path.split()[1:], *ctx.meta[_ARGUMENTS]])
            raise error.with_hint(f"{error.hint}, that is `{call} {more}`") from error.__cause__

    def _call(self, ctx: click.Context, arguments: list[str]) -> str:
        """Return the call with a value for all that has to be stated and is not."""
        present, _, _ = self.make_parser(ctx).parse_args(args=[*arguments])
        words = [*arguments]
        for parameter in self.get_params(ctx):
            name = parameter.name or ""
            # Without a value, click has one of its own there.
            if not parameter.required or isinstance(present.get(name), str):
                continue
            filler = self.fillers[name]
            # The model comes first, as in the examples; options may be anywhere.
            if isinstance(parameter, click.Argument):
                words.insert(0, filler)
            else:
                words += [parameter.opts[0], filler.format(name=name_of(present["model"]))]
        return shlex.join(["lading", *ctx.command_path.split()[1:], *words])


def named_options(hint: str, options: Sequence[str]) -> str:
    """Return the first of `options` that a hint names, with its value; each time if it does so repeatedly."""
    named = [match for match in _OPTION.finditer(hint) if match[1] in options]
    return " ".join(f"{match[1]}{match[2] or ''}" for match in named if match[1] == named[0][1])


def name_of(model: object) -> str:
    """Return a name for the model that an argument names: of the file, or of the object in a module."""
    if not isinstance(model, str):
        return "my-model"
    word = model.rpartition(":")[2] if ":" in model else Path(model).stem
    return re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-.")[:63] or "my-model"
