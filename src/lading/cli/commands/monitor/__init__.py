"""``lading monitor``: the group of commands that watch what models are asked with, and what they answer."""

from __future__ import annotations

import click

from lading.cli.commands.monitor.baseline import baseline
from lading.cli.commands.monitor.dashboard import dashboard
from lading.cli.commands.monitor.report import report
from lading.cli.commands.monitor.rules import rules
from lading.cli.commands.monitor.run import run
from lading.cli.commands.monitor.status import status
from lading.cli.ui.command import Group


@click.group(
    "monitor",
    short_help="Watch drift and accuracy of the models that are served.",
    cls=Group,
    examples=("lading monitor status iris", "lading monitor report iris"),
)
def monitor() -> None:
    """Watch drift and accuracy of the models that are served.

    Servers count the values of requests and answers in the cells of each model's reference, and store the
    counts in the registry. One process tests them, and raises an alarm where they differ.
    """


for _command in (status, report, baseline, run, rules, dashboard):
    monitor.add_command(_command)
