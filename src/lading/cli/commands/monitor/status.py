"""``lading monitor status``: what is known of a model's live columns, on a terminal."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.log_options import MomentType, log_option
from lading.cli.ui.model_status import by_option, model_status
from lading.cli.ui.parameters import RefType, json_option, registry_option
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
@by_option
@log_option
@registry_option
@json_option
def status(
    ref: Ref,
    since: float,
    until: float | None,
    by: tuple[str, ...],
    log: str | None,
    registry: str | None,
    *,
    as_json: bool,
) -> None:
    """Show how a model's inputs and outputs compare with its reference.

    Of the version that answered last, or of the one that REF names. What is not known is reported as unknown,
    never as fine.
    """
    from lading.cli.ui.monitor_view import print_status

    model = model_status(ref, since, until, by, log, registry)
    if as_json:
        printing.as_json(model)
    else:
        print_status(model)
