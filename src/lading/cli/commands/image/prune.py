"""``lading image prune``: remove the images of versions that are out of use."""

from __future__ import annotations

import contextlib

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.image_view import SUMMARY_HEADER, summary_row
from lading.cli.ui.parameters import json_option, open_registry, registry_option


@click.command(
    "prune",
    short_help="Remove images that are no longer needed.",
    cls=Command,
    examples=(
        "lading image prune registry.example.com/iris --dry-run",
        "lading image prune registry.example.com/iris --keep 5",
    ),
)
@click.argument("repository", metavar="HOST/REPOSITORY")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=10,
    metavar="N",
    help="How many versions and releases of each model to keep images of.  [default: 10]",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@registry_option
@json_option
def prune(repository: str, keep: int, dry_run: bool, registry: str | None, as_json: bool) -> None:
    """Remove the images of versions that are out of use.

    Kept are those of the last N versions, of the last N releases and of running servers, images without a
    bundle, and images of models that the registry does not know. Bundles stay in the registry, so any image
    can be built again.
    """
    from lading.image.prune import prune as prune_images
    from lading.image.references import open_repository

    with open_registry(registry) as opened, contextlib.closing(open_repository(repository)) as images:
        pruned = prune_images(images, opened, keep=keep, dry_run=dry_run)
    if as_json:
        printing.as_json(pruned)
        return
    rows = [("remove", *summary_row(image), "") for image in pruned.removed]
    rows += [("keep", *summary_row(kept.image), "; ".join(kept.kept_by)) for kept in pruned.kept]
    printing.table(("", *SUMMARY_HEADER, "kept by"), rows)
    removed = "would be removed" if dry_run else "removed"
    printing.info(f"{len(pruned.removed)} {removed}, {len(pruned.kept)} kept")
