"""``lading rollout status``: the state of every release, or one release in numbers."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, json_option, open_registry, registry_option
from lading.cli.ui.release_view import release_table
from lading.cli.ui.watch import current_snapshot, print_snapshot, snapshot_of


@click.command(
    "status",
    short_help="Show the state of releases.",
    cls=Command,
    examples=("lading rollout status", "lading rollout status iris --release 3 --json"),
)
@click.argument("name", type=NameType(), required=False)
@click.option(
    "--release",
    "number",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Release of NAME to show, also one that has ended.  [default: the current one]",
)
@registry_option
@json_option
def status(name: str | None, number: int | None, registry: str | None, as_json: bool) -> None:
    """Show the current release of every model, or that of NAME in detail.

    The details of a release in progress are the numbers of both sides since its step began, and the verdict
    so far.
    """
    if name is None and number is not None:
        raise click.UsageError("expected a NAME beside `--release`")
    with open_registry(registry) as opened:
        if name is not None:
            snapshot = current_snapshot(opened, name) if number is None else snapshot_of(opened, name, number)
            print_snapshot(snapshot, as_json=as_json)
            return
        releases = opened.releases.wanted()
    if as_json:
        printing.as_json({"releases": releases})
    elif releases:
        release_table(releases)
    else:
        printing.info("nothing is released yet; `lading release REF` releases a version")
