"""``lading access``: the group of commands about who may call a server."""

from __future__ import annotations

import click

from lading.cli.commands.access.check import check
from lading.cli.commands.access.key import key
from lading.cli.ui.command import Group


@click.group(
    "access",
    short_help="Say who may call servers.",
    cls=Group,
    examples=(
        "lading access key new --name scoring --role predict --models fraud,iris*",
        "lading access check access.toml",
    ),
)
def access() -> None:
    """Make keys for the access file of `lading serve` and `lading hub`, and check that file."""


for _command in (key, check):
    access.add_command(_command)
