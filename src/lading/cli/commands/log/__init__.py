"""``lading log``: the group of commands about logged predictions."""

from __future__ import annotations

import click

from lading.cli.commands.log.delete import delete
from lading.cli.commands.log.query import query
from lading.cli.commands.log.show import show
from lading.cli.ui.command import Group


@click.group(
    "log",
    short_help="Look at logged predictions.",
    cls=Group,
    examples=(
        "lading log show iris --last 20",
        'lading log query iris "select hour, count(*) from log group by hour"',
    ),
)
def log() -> None:
    """Look at the requests that servers have logged (`lading serve --log-predictions 1`), or remove some."""


for _command in (query, show, delete):
    log.add_command(_command)
