"""``lading jobs cancel``: have a job not run any more."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.job_view import job_json
from lading.cli.ui.parameters import json_option, open_registry, registry_option


@click.command(
    "cancel",
    short_help="Cancel a job that waits or runs.",
    cls=Command,
    examples=("lading jobs cancel 4f2d0c9e5b7a4c1f8e6d3b2a19087f6e",),
)
@click.argument("job", metavar="ID")
@registry_option
@json_option
def cancel(job: str, registry: str | None, as_json: bool) -> None:
    """Cancel the job ID. What a server computes of it at this moment is dropped."""
    with open_registry(registry) as opened:
        record = opened.jobs.cancel(job)
    if as_json:
        printing.as_json(job_json(record))
    else:
        printing.data(record.id)
