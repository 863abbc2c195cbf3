"""``lading remove``: a version leaves the registry."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import RefType, json_option, open_registry, registry_option
from lading.cli.ui.version_view import version_json
from lading.ref import Ref


@click.command(
    "remove",
    short_help="Remove a version.",
    cls=Command,
    examples=("lading remove iris:1",),
)
@click.argument("ref", type=RefType())
@registry_option
@json_option
def remove(ref: Ref, registry: str | None, as_json: bool) -> None:
    """Remove the version that REF names; its number is never used again.

    A version that a tag, a running server or one of its model's last releases refers to is refused.
    `lading gc` frees the space.
    """
    with open_registry(registry) as opened:
        version = opened.resolve(ref)
        opened.remove(ref)
    if as_json:
        printing.as_json(version_json(version))
    else:
        printing.data(str(version.ref))
    printing.info("removed; `lading gc` frees the space")
