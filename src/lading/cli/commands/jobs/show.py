"""``lading jobs show``: what is known of one job, or its answer."""

from __future__ import annotations

import sys

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.job_view import job_fields, job_json
from lading.cli.ui.parameters import json_option, open_registry, registry_option
from lading.errors import UsageError


@click.command(
    "show",
    short_help="Show one job, or its answer.",
    cls=Command,
    examples=(
        "lading jobs show 4f2d0c9e5b7a4c1f8e6d3b2a19087f6e",
        "lading jobs show 4f2d0c9e5b7a4c1f8e6d3b2a19087f6e --result",
    ),
)
@click.argument("job", metavar="ID")
@click.option("--result", "wants_result", is_flag=True, help="Print the answer alone, byte for byte.")
@registry_option
@json_option
def show(job: str, wants_result: bool, registry: str | None, as_json: bool) -> None:
    """Show how far the job ID is, which version answered it, and how far its webhook got."""
    if wants_result and as_json:
        raise UsageError("`--result`", expected="no `--json` beside it", found="both")
    with open_registry(registry) as opened:
        record = opened.jobs.get(job)
        answer = opened.jobs.answer(job) if wants_result else None
    if wants_result:
        if answer is None:
            raise UsageError(
                f"job `{job}`", expected="one with an answer", found=f"one that is {record.state}"
            )
        sys.stdout.flush()
        sys.stdout.buffer.write(answer.body)
    elif as_json:
        printing.as_json(job_json(record))
    else:
        printing.fields(job_fields(record))
