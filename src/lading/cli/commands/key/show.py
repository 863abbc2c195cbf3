"""``lading key show``: which key a file holds."""

from __future__ import annotations

from pathlib import Path

import click

from lading.cli.ui import printing
from lading.cli.ui.attestation_view import key_fields, key_json
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import FILE, json_option


@click.command(
    "show",
    short_help="Show which public key a file holds.",
    cls=Command,
    examples=("lading key show ci.pub",),
)
@click.argument("path", type=FILE, metavar="FILE.pub")
@json_option
def show(path: Path, as_json: bool) -> None:
    """Show kind and id of the public key in FILE.pub: its id is what `sha256sum` prints for the file."""
    from lading.trust.keys import read_public_key

    public = read_public_key(path)
    if as_json:
        printing.as_json(key_json(public))
        return
    printing.fields(key_fields(public))
