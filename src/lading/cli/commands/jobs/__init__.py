"""``lading jobs``: the group of commands about requests that are answered later."""

from __future__ import annotations

import click

from lading.cli.commands.jobs.cancel import cancel
from lading.cli.commands.jobs.list import list_jobs
from lading.cli.commands.jobs.show import show
from lading.cli.ui.command import Group


@click.group(
    "jobs",
    short_help="List, show and cancel the jobs of a registry.",
    cls=Group,
    examples=(
        "lading jobs list",
        "lading jobs list iris --state failed",
        "lading jobs show 4f2d0c9e5b7a4c1f8e6d3b2a19087f6e",
    ),
)
def jobs() -> None:
    """Look at jobs: requests that servers with `--jobs` have taken, and answer one after the other."""


for _command in (list_jobs, show, cancel):
    jobs.add_command(_command)
