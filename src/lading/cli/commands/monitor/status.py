"""``lading monitor status``: what is known of a model's live columns, on a terminal."""

from __future__ import annotations

import time

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.log_options import MomentType
from lading.cli.ui.parameters import RefType, json_option, open_registry, registry_option
from lading.ref import Ref


@click.command(
    "status",
    short_help="Show drift, accuracy and alarms of a model.",
    cls=Command,
    examples=("lading monitor status iris", "lading monitor status iris:3 --since 7d --json"),
)
@click.argument("ref", type=RefType())
@click.option(
    "--since", type=MomentType(), default="1d", metavar="WHEN", help="Begin: `1h`, `7d`, or a time.  [1d]"
)
@click.option("--until", type=MomentType(), metavar="WHEN", help="End.  [default: now]")
@registry_option
@json_option
def status(ref: Ref, since: float, until: float | None, registry: str | None, *, as_json: bool) -> None:
    """Show how a model's inputs and outputs compare with its reference.

    Of the version that answered last, or of the one that REF names. What is not known is reported as unknown,
    never as fine.
    """
    from lading.cli.ui.monitor_view import print_status
    from lading.monitor.snapshot import snapshot

    with open_registry(registry) as opened:
        version = opened.resolve(ref).version if ref.version or ref.tag else None
        model = snapshot(opened, ref.name, since, until or time.time(), version=version)
    if as_json:
        printing.as_json(model)
    else:
        print_status(model)
