"""``lading monitor dashboard``: a dashboard for Grafana."""

from __future__ import annotations

import click

from lading.cli.ui.command import Command


@click.command(
    "dashboard",
    short_help="Print a dashboard for Grafana.",
    cls=Command,
    examples=("lading monitor dashboard > lading.json",),
)
def dashboard() -> None:
    """Print a dashboard for a Grafana whose data source is a Prometheus that scrapes lading servers.

    Import the file under Dashboards, or put it into a folder that Grafana provisions.
    """
    from lading.monitor.shipped import DASHBOARD, shipped

    click.echo(shipped(DASHBOARD), nl=False)
