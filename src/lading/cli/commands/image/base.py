"""``lading image base``: the runtime image that bundles are added to."""

from __future__ import annotations

import contextlib
import platform as machine
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.image_view import print_built, versions_text
from lading.cli.ui.parameters import complete_files, json_option

if TYPE_CHECKING:
    from lading.image import Source

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""The kernel's names of architectures, and those of images."""


@click.command(
    "base",
    short_help="Build the runtime image that bundles are added to.",
    cls=Command,
    examples=(
        "lading image base --from rootfs.tar --wheels requirements/image.txt --to oci:runtime",
        "lading image base --from docker.io/library/python:3.11-slim --wheels wheels/ --to oci:runtime",
    ),
)
@click.option(
    "--from",
    "origin",
    required=True,
    metavar="FILE|IMAGE",
    shell_complete=complete_files,
    help="Tar of a root filesystem, or an image, that contains Python.",
)
@click.option(
    "--wheels",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Requirements file of `name==version` lines, or a folder of wheels.",
)
@click.option("--to", "to", required=True, metavar="IMAGE", help="Image to write.")
@click.option("--platform", metavar="OS/ARCH", help="Platform to build for.  [default: this machine's]")
@click.option("--python", default="", metavar="3.N", help="Python to use if there are several.")
@click.option(
    "--compress",
    type=click.Choice(["gzip", "none"]),
    default="gzip",
    help="Compression of the layers.  [default: gzip]",
)
@json_option
def base(
    origin: str, wheels: Path, to: str, platform: str | None, python: str, compress: str, as_json: bool
) -> None:
    """Build the image that any bundle can be added to: Python, and `lading-ml[serve]` at exact versions.

    No container engine is needed and nothing in the image is run. pip fetches the wheels for the platform of
    the image; `/opt/lading/wheels.txt` in the image lists them with their digests.
    """
    from lading.image.base import build_base
    from lading.image.progress import with_progress
    from lading.image.references import open_target

    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        source = _origin(origin)
        if not isinstance(source, Path):
            stack.callback(source.close)
        target = stack.enter_context(contextlib.closing(open_target(to)))
        on_progress = stack.enter_context(printing.progress_bar(f"building {to}"))
        built = build_base(
            source,
            wheels,
            with_progress(target, on_progress),
            platform=platform or _platform_here(),
            python=python,
            compress=compress == "gzip",
        )
    seconds = round(time.monotonic() - began, 3)
    # To stderr even with `--json`: stdout holds one document.
    for note in built.notes:
        printing.info(f"note: {note}")
    print_built(built, seconds, versions_text(built.versions), as_json=as_json)


def _origin(text: str) -> Path | Source:
    """Return the archive or the image to start from. Raises a usage error for a tar that does not exist."""
    from lading.image.references import open_source

    path = Path(text)
    if path.is_file():
        return path
    # Without a colon it is no `oci:…` or `docker-archive:…`, and an image is not called `rootfs.tar.xz`.
    if ".tar" in path.suffixes and ":" not in text:
        raise click.BadParameter(f"file `{text}` does not exist", param_hint="`--from`")
    return open_source(text)


def _platform_here() -> str:
    return f"linux/{_ARCHITECTURES.get(machine.machine(), machine.machine())}"
