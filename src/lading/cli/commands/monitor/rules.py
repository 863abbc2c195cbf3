"""``lading monitor rules``: alerting rules for Prometheus."""

from __future__ import annotations

import click

from lading.cli.ui.command import Command


@click.command(
    "rules",
    short_help="Print alerting rules for Prometheus.",
    cls=Command,
    examples=("lading monitor rules > lading.rules.yml",),
)
def rules() -> None:
    """Print alerting rules for a Prometheus that scrapes `/metrics` of lading servers.

    Name the file under `rule_files` of Prometheus' configuration. Each rule has a severity: `page`, `warn`
    or `info`.
    """
    from lading.monitor.shipped import RULES, shipped

    click.echo(shipped(RULES), nl=False)
