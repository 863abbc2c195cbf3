"""``lading sbom``: what a bundle or an image consists of, as CycloneDX."""

from __future__ import annotations

from pathlib import Path

import click

from lading.cli.ui import printing
from lading.cli.ui.attaching import attach_sbom
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import json_option, open_registry, registry_option
from lading.cli.ui.subjects import listed


@click.command(
    "sbom",
    short_help="List what a bundle or an image consists of, as CycloneDX.",
    cls=Command,
    examples=(
        "lading sbom iris:3",
        "lading sbom ./iris.bundle -o iris.cdx.json",
        "lading sbom oci:./images:iris --platform linux/arm64",
    ),
)
@click.argument("subject", metavar="DIR|REF|IMAGE")
@click.option(
    "--format", "form", type=click.Choice(["cyclonedx"]), default="cyclonedx", help="Form to write."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="File to write."
)
@click.option(
    "--platform", default="", metavar="OS/ARCH", help="Image of an index to read; the first if not set."
)
@click.option("--record", is_flag=True, help="Attach the document to its digest in the registry.")
@registry_option
@json_option
def sbom(
    subject: str,
    form: str,
    output: Path | None,
    platform: str,
    record: bool,
    registry: str | None,
    as_json: bool,
) -> None:
    """Write what a bundle or an image consists of as CycloneDX 1.6 in JSON; nothing is run.

    Of a bundle: the packages of its environment's lock with their hashes, its Python, and the packages
    that it was trained with (scope `excluded`). Of an image: what dpkg and pip would list in it. The same
    subject gives the same bytes.
    """
    from lading.trust.sbom import SBOM_TYPE, sbom_document

    about = listed(subject, registry, platform)
    text = sbom_document(about.subject, about.components)
    if record and about.digests:
        with open_registry(registry) as opened:
            attach_sbom(opened, about.digests, text, SBOM_TYPE)
    if output is not None:
        output.write_text(text, encoding="utf-8")
        count = printing.plural(len(about.components), "component")
        if as_json:
            printing.as_json({"path": str(output), "format": form, "components": len(about.components)})
            return
        printing.info(f"`{output}` lists {count} of `{about.subject.name}`")
        return
    click.echo(text, nl=False, color=False)
