"""``lading pull``: a version's bundle in a directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import RefType, json_option, open_registry, registry_option
from lading.errors import BundleError
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle import Bundle


@click.command(
    "pull",
    short_help="Pull a version's bundle into a directory.",
    cls=Command,
    examples=("lading pull iris:1 --to ./iris.bundle",),
)
@click.argument("ref", type=RefType())
@click.option(
    "--to",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Directory to create. If it exists, it must hold the same bundle.",
)
@registry_option
@json_option
def pull(ref: Ref, to: Path, registry: str | None, as_json: bool) -> None:
    """Pull the bundle that REF names into a new directory and print its path.

    A directory that already holds the same, intact bundle is left as it is, so an init container may run
    twice; if REF is a digest, that takes no registry.
    """
    bundle = _existing(ref, to) or _pull(ref, to, registry)
    if as_json:
        printing.as_json({"path": str(bundle.path), "name": bundle.manifest.name, "digest": bundle.digest})
    else:
        printing.data(str(bundle.path))
    printing.info(f"pulled `{ref}`, {bundle.digest}")


def _existing(ref: Ref, to: Path) -> Bundle | None:
    """Return the bundle in `to` if it is intact and the one that REF names by its digest, else None."""
    from lading.bundle import Bundle

    if ref.digest is None or not to.exists():
        return None
    try:
        bundle = Bundle.open(to, digest=ref.digest)
    except BundleError:
        return None
    return bundle if bundle.manifest.name == ref.name else None


def _pull(ref: Ref, to: Path, registry: str | None) -> Bundle:
    """Pull the bundle unless `to` holds it; the registry refuses to overwrite anything else there."""
    with open_registry(registry) as opened, printing.progress_bar(f"pulling {ref}") as on_progress:
        existing = _existing(Ref(ref.name, digest=opened.resolve(ref).digest), to) if to.exists() else None
        return existing or opened.pull(ref, to, on_progress=on_progress)
