"""``lading batch``: the group of commands that score a data set, and check what was written."""

from __future__ import annotations

import click

from lading.cli.commands.batch.run import run
from lading.cli.commands.batch.verify import verify
from lading.cli.ui.command import Group


class _BatchGroup(Group):
    """A group whose first word may be a model instead of a command: then it is the model of ``run``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named, or ``run`` with all the arguments."""
        # A single word is a mistyped command: a model alone scores nothing.
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-") and args[1:]:
            return "run", run, args
        return super().resolve_command(ctx, args)


@click.group(
    "batch",
    short_help="Score a data set, every row once.",
    cls=_BatchGroup,
    examples=(
        "lading batch iris:3 --input rows.parquet --output scored",
        "lading batch verify scored",
    ),
)
def batch() -> None:
    """Score the rows of files with a model, offline. `lading batch REF …` is short for `lading batch run`."""


for _command in (run, verify):
    batch.add_command(_command)
