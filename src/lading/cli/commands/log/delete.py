"""``lading log delete``: remove logged predictions, such as those of one person."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.log_options import MODEL, log_option, opened_log, where_option
from lading.cli.ui.parameters import json_option, registry_option


@click.command(
    "delete",
    short_help="Remove logged predictions.",
    cls=Command,
    examples=(
        "lading log delete iris --where \"id = '5f0c1d2e3a4b'\"",
        "lading log delete iris --where \"time < '2026-11-01'\" --yes",
    ),
)
@click.argument("model", type=MODEL)
@where_option("Condition on the columns of `lading log query`.", required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@log_option
@registry_option
@json_option
def delete(model: str, where: str, yes: bool, log: str | None, registry: str | None, as_json: bool) -> None:
    """Remove the records of MODEL that match, and all labels of their requests.

    Files are written again without them, one after the other, each replaced as a whole; servers that log go
    on meanwhile.
    """
    with opened_log(log, registry, "lading log delete") as opened:
        from lading.monitor.log.deletion import close_segments, delete_records, matching

        # First, so that the number that is asked about is the number that goes.
        close_segments(opened, model)
        positions = matching(opened, model, where)
        count = positions.num_rows
        if count and not yes:
            click.confirm(
                f"permanently remove {printing.plural(count, 'record')} of `{model}`?", abort=True, err=True
            )
        removed = delete_records(opened, model, positions) if count else 0
    if as_json:
        printing.as_json({"model": model, "removed": removed})
    else:
        printing.info(f"removed {printing.plural(removed, 'record')} of `{model}` from {opened.where}")
