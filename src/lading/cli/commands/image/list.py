"""``lading image list``: the images of a repository."""

from __future__ import annotations

import contextlib

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.image_view import SUMMARY_HEADER, summary_row
from lading.cli.ui.parameters import json_option


@click.command(
    "list",
    short_help="List the images of a repository.",
    cls=Command,
    examples=("lading image list registry.example.com/iris",),
)
@click.argument("repository", metavar="HOST/REPOSITORY")
@json_option
def list_images(repository: str, as_json: bool) -> None:
    """List the images of a repository with their bundles; other artifacts in it are left out."""
    from lading.image.inspect import list_images as list_repository
    from lading.image.references import open_repository

    with contextlib.closing(open_repository(repository)) as opened:
        images = list_repository(opened)
    if as_json:
        printing.as_json(images)
        return
    printing.table(SUMMARY_HEADER, [summary_row(image) for image in images])
