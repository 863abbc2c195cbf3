"""``lading image inspect``: the contents of an image."""

from __future__ import annotations

import contextlib

import click

from lading import units
from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.image_view import bundle_name, versions_text
from lading.cli.ui.parameters import json_option


@click.command(
    "inspect",
    short_help="Show the contents of an image.",
    cls=Command,
    examples=(
        "lading image inspect registry.example.com/iris:3",
        "lading image inspect docker-archive:iris.tar --json",
    ),
)
@click.argument("image", metavar="IMAGE")
@json_option
def inspect(image: str, as_json: bool) -> None:
    """Show an image's bundles, its runtime and the size of each layer; no layer is fetched."""
    from lading.image.inspect import inspect as inspect_image
    from lading.image.references import open_source

    with contextlib.closing(open_source(image)) as source:
        contents = inspect_image(source)
    if as_json:
        printing.as_json(contents)
        return
    for platform in contents.platforms:
        python = [entry for entry in platform.bundles if entry.executes]
        printing.fields(
            [
                ("image", contents.image),
                ("digest", platform.digest),
                ("platform", platform.platform),
                *(("bundle", f"{bundle_name(entry)}  {entry.digest}") for entry in platform.bundles),
                *(("runs of its own", f"{entry.name}: {entry.executes}") for entry in python),
                *(("environment", f"{entry.lock}, Python {entry.python}") for entry in platform.environments),
                ("purpose", ", ".join(entry.purpose for entry in platform.bundles)),
                ("owner", ", ".join(entry.owner for entry in platform.bundles)),
                ("runtime", versions_text(platform.versions)),
                ("runtime id", platform.runtime),
                ("base", platform.base),
                ("size", units.size(platform.size_bytes)),
            ]
        )
        printing.data("")
        rows = [
            (units.size(layer.size_bytes), layer.what, units.short_digest(layer.digest))
            for layer in platform.layers
        ]
        printing.table(("size", "layer", "digest"), rows)
