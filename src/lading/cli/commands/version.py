"""``lading version``: which lading this is, and on which Python."""

from __future__ import annotations

import platform

import click

import lading
from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import json_option


@click.command(
    "version",
    short_help="Print the version of lading.",
    cls=Command,
    examples=("lading version",),
)
@json_option
def version(as_json: bool) -> None:
    """Print the version, as `lading --version` does; with `--json` also that of Python."""
    if as_json:
        printing.as_json({"lading": lading.__version__, "python": platform.python_version()})
    else:
        printing.data(f"lading {lading.__version__}")
