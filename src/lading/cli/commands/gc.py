"""``lading gc``: free the space of what no version refers to."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import json_option, open_registry, registry_option


@click.command(
    "gc",
    short_help="Remove what no version refers to.",
    cls=Command,
    examples=(
        "lading gc --dry-run",
        "lading gc",
    ),
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option(
    "--older-than-s",
    type=click.FloatRange(min=0),
    metavar="NUMBER",
    default=3600,
    show_default=True,
    help="Keep anything younger, since a push may be in progress.",
)
@registry_option
@json_option
def gc(dry_run: bool, older_than_s: float, registry: str | None, as_json: bool) -> None:
    """Remove blobs that no version refers to, files of interrupted pushes, and stale caches."""
    with open_registry(registry) as opened, printing.spinner("collecting"):
        report = opened.gc(dry_run=dry_run, older_than_s=older_than_s)
    if as_json:
        summary = {"dry_run": dry_run, "freed_bytes": report.freed_bytes, "kept": report.kept}
        printing.as_json({**summary, "removed": report.removed})
    elif report.removed:
        rows = [(item.kind, item.name, printing.human_size(item.size_bytes)) for item in report.removed]
        printing.table(("kind", "name", "size"), rows)
    size = printing.human_size(report.freed_bytes)
    removed, freed = ("would remove", f"{size} to free") if dry_run else ("removed", f"{size} freed")
    printing.info(f"{removed} {len(report.removed)}, kept {report.kept}, {freed}")
