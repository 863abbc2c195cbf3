"""``lading image verify``: whether an image and the bundle itself give the same answers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.evidence_view import report_evidence
from lading.cli.ui.parameters import (
    BundleType,
    allow_option,
    json_option,
    open_registry,
    registry_option,
)
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.registry import Registry


@click.command(
    "verify",
    short_help="Verify that an image answers like the bundle in it.",
    cls=Command,
    examples=("lading image verify registry.example.com/iris:3 --against iris:3",),
)
@click.argument("image", metavar="IMAGE")
@click.option(
    "--against", required=True, type=BundleType(), metavar="REF|DIR", help="Bundle to compare with."
)
@allow_option
@registry_option
@json_option
def verify(image: str, against: Ref | Path, allow: str | None, registry: str | None, as_json: bool) -> None:
    """Serve an image and, beside it, the bundle pulled at start-up; their answers must be bit-identical.

    Both are sent the golden rows and random ones over HTTP. The evidence is recorded for the image's
    runtime (see `lading matrix`); a server in that image refuses a bundle whose last evidence failed.
    Without podman (or docker, for an image in a registry), this machine's runtime serves the image's bundle.
    """
    from lading.image.engine import find_engine
    from lading.image.equivalence import verify_image
    from lading.runtime.python.host import this_host

    python = this_host(allow)
    engine = find_engine(image)
    if engine is None:
        printing.info("no podman or docker here can run it: this machine's runtime serves the image's bundle")
    with open_registry(registry) as opened, tempfile.TemporaryDirectory(prefix="lading-") as folder:
        with printing.spinner(f"verifying {image}"):
            reference = _reference_bundle(against, opened, Path(folder) / "reference")
            evidence = verify_image(image, reference, engine, python)
        if isinstance(against, Ref):
            opened.record(evidence)
    report_evidence(evidence, as_json=as_json)
    runtime = f"image `{evidence.fingerprint.image}`" if engine is not None else "this machine"
    printing.info(f"`{evidence.name}` answers the same from the image and as a pulled bundle, on {runtime}")


def _reference_bundle(against: Ref | Path, registry: Registry, to: Path) -> Bundle:
    """Pull the bundle as a server does that loads it at start-up; a directory goes through the same tar."""
    if isinstance(against, Ref):
        return registry.pull(against, to)
    from lading.bundle import Bundle, unpack_tar

    with tempfile.TemporaryFile() as file:
        Bundle.open(against).write_tar(file)
        file.seek(0)
        return unpack_tar(file, to)
