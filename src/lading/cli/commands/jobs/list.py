"""``lading jobs list``: the jobs of a registry, newest first."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.job_view import JOB_HEADER, STATES, job_json, job_row
from lading.cli.ui.parameters import NameType, json_option, open_registry, registry_option


@click.command(
    "list",
    short_help="List jobs, newest first.",
    cls=Command,
    examples=(
        "lading jobs list",
        "lading jobs list iris --state failed",
        "lading jobs list iris --before 4711 --json",
    ),
)
@click.argument("name", type=NameType(), required=False)
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@click.option(
    "--before", type=click.IntRange(min=1), metavar="N", help="Only jobs with lower numbers: the next page."
)
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, metavar="N", help="Most jobs to list.  [default: 50]"
)
@registry_option
@json_option
def list_jobs(
    name: str | None,
    state: str | None,
    before: int | None,
    limit: int,
    registry: str | None,
    as_json: bool,
) -> None:
    """List the jobs of the model NAME, or of all, with how many of each model wait and run."""
    with open_registry(registry) as opened:
        records = opened.jobs.find(name, state=state, before=before, limit=limit)  # type: ignore[arg-type]  # one of them
        depths = [depth for depth in opened.jobs.depths() if name in (None, depth.name)]
    if as_json:
        open_jobs = [
            {
                "model": depth.name,
                "waiting": depth.waiting,
                "running": depth.running,
                "oldest_s": round(depth.oldest_s, 3),
            }
            for depth in depths
        ]
        printing.as_json({"jobs": [job_json(record) for record in records], "open": open_jobs})
        return
    if records:
        printing.table(JOB_HEADER, [job_row(record) for record in records])
    else:
        printing.info(
            "no such jobs" if name or state or before else "no jobs; `lading serve --jobs` takes some"
        )
    for depth in depths:
        waited = f", the oldest for {depth.oldest_s:.0f} s" if depth.waiting else ""
        printing.info(f"{depth.name}: {depth.waiting} waiting{waited}, {depth.running} running")
