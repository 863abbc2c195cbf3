"""``lading rollout``: the group of commands that show releases in progress and steer them."""

from __future__ import annotations

import click

from lading.cli.commands.rollout.abort import abort
from lading.cli.commands.rollout.pause import pause
from lading.cli.commands.rollout.promote import promote
from lading.cli.commands.rollout.resume import resume
from lading.cli.commands.rollout.run import run
from lading.cli.commands.rollout.status import status
from lading.cli.commands.rollout.watch import watch
from lading.cli.ui.command import Group


@click.group(
    "rollout",
    short_help="Watch releases in progress and steer them.",
    cls=Group,
    examples=(
        "lading rollout status",
        "lading rollout watch iris",
    ),
)
def rollout() -> None:
    """Show releases in progress and steer them.

    A canary moves by itself: one process drives all rollouts of a registry, inside `lading serve` or as
    `lading rollout run`.
    """


for _command in (status, promote, abort, pause, resume, watch, run):
    rollout.add_command(_command)
