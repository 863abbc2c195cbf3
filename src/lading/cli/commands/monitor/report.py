"""``lading monitor report``: what is known of a model's live columns, as one page with charts."""

from __future__ import annotations

import time
from pathlib import Path

import click

import lading
from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.log_options import MomentType, log_option
from lading.cli.ui.model_status import by_option, model_status
from lading.cli.ui.parameters import RefType, registry_option
from lading.ref import Ref


@click.command(
    "report",
    short_help="Write drift, accuracy and alarms of a model as a page.",
    cls=Command,
    examples=("lading monitor report iris", "lading monitor report iris:3 --since 4w --output iris.html"),
)
@click.argument("ref", type=RefType())
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File to write.  [NAME-report.html]")
@click.option(
    "--since", type=MomentType(), default="7d", metavar="WHEN", help="Begin: `1h`, `7d`, or a time.  [7d]"
)
@click.option("--until", type=MomentType(), metavar="WHEN", help="End.  [default: now]")
@by_option
@log_option
@registry_option
def report(
    ref: Ref,
    output: Path | None,
    since: float,
    until: float | None,
    by: tuple[str, ...],
    log: str | None,
    registry: str | None,
) -> None:
    """Write one HTML file with charts of a model's inputs and outputs next to its reference.

    It needs no other file and no network, and prints well.
    """
    from lading.blobs.os_errors import destination_errors
    from lading.monitor.report import report_html

    model = model_status(ref, since, until, by, log, registry)
    path = output or Path(f"{ref.name}-report.html")
    page = report_html(model, now=time.time(), generated_by=f"lading {lading.__version__}")
    with destination_errors(str(path)):
        path.write_text(page, "utf-8")
    printing.data(str(path))
