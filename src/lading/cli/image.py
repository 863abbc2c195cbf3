"""``lading image``: images that serve, made from bundles without a container engine, and what is in them."""

from __future__ import annotations

import platform as machine
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lading.cli import printing
from lading.cli.command import Command, Group
from lading.cli.parameters import BundleType, json_option, open_registry, registry_option
from lading.ref import Ref
from lading.settings import store_url

if TYPE_CHECKING:
    from lading.image import Source
    from lading.image.build import Part
    from lading.registry import Registry

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@click.group(
    "image",
    short_help="Make and look after images that serve.",
    cls=Group,
    examples=(
        "lading image build iris:3 --base registry.example.com/lading:1 --to registry.example.com/iris:3",
        "lading image inspect registry.example.com/iris:3",
    ),
)
def image() -> None:
    """Make images that serve, and look after them; no container engine is needed.

    IMAGE is `host/repository:tag` in a registry, `oci:FOLDER:TAG` in an OCI layout, or
    `docker-archive:FILE` as `docker save` and `docker load` have it.
    """


@image.command(
    "build",
    short_help="Put bundles into a runtime image.",
    cls=Command,
    examples=(
        "lading image build iris:3 --base registry.example.com/lading:1 --to registry.example.com/iris:3",
        "lading image build ./iris.bundle --base oci:runtime --to docker-archive:iris.tar:iris:3",
    ),
)
@click.argument("bundles", nargs=-1, required=True, type=BundleType(), metavar="REF|DIR...")
@click.option("--base", required=True, metavar="IMAGE", help="Runtime image to put them on.")
@click.option("--to", "to", required=True, metavar="IMAGE", help="Image to write.")
@click.option(
    "--platform", "platforms", multiple=True, metavar="OS/ARCH", help="Only this one; may be repeated."
)
@registry_option
@json_option
def build(
    bundles: tuple[Ref | Path, ...],
    base: str,
    to: str,
    platforms: tuple[str, ...],
    registry: str | None,
    as_json: bool,
) -> None:
    """Put each bundle on a runtime image as a layer of its own, the very blob that stores hold.

    Only what is not there yet is sent. The same base and bundles give the same digest, every time.
    """
    from lading.image.build import build as build_image
    from lading.image.places import open_source, open_target

    began = time.monotonic()
    with open_registry(registry) as opened:
        parts = _parts(bundles, opened)
        source, target = open_source(base), open_target(to)
        try:
            with printing.busy(f"building {to}"):
                built = build_image(source, parts, target, platforms=platforms)
        finally:
            target.close()
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        import msgspec

        printing.as_json({**msgspec.to_builtins(built), "seconds": seconds})
        return
    printing.data(f"{built.image}@{built.digest}" if "@" not in built.image else built.image)
    names = ", ".join(f"`{one.name}`" for one in built.bundles)
    printing.remark(f"{names} on `{base}`: {printing.size(built.bytes_sent)} sent in {seconds:.2f} s")


@image.command(
    "base",
    short_help="Make the runtime image that bundles are put on.",
    cls=Command,
    examples=(
        "lading image base --from rootfs.tar --wheels requirements/serve.txt --to oci:runtime",
        "lading image base --from docker.io/library/python:3.11-slim --wheels wheels/ --to oci:runtime",
    ),
)
@click.option(
    "--from",
    "ground",
    required=True,
    metavar="FILE|IMAGE",
    help="Tar of a root filesystem, or image, with Python.",
)
@click.option(
    "--wheels",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Requirements file of `name==version` lines, or a folder of wheels.",
)
@click.option("--to", "to", required=True, metavar="IMAGE", help="Image to write.")
@click.option("--platform", metavar="OS/ARCH", help="Platform to make it for.  [default: this machine's]")
@click.option("--python", default="", metavar="3.N", help="Python in it, where it has several.")
@click.option(
    "--compress",
    type=click.Choice(["gzip", "none"]),
    default="gzip",
    help="How to keep layers.  [default: gzip]",
)
@json_option
def base(
    ground: str, wheels: Path, to: str, platform: str | None, python: str, compress: str, as_json: bool
) -> None:
    """Make the image that any bundle can be put on: Python, and `lading[serve]` of exactly these versions.

    No container engine is needed and nothing in the image is run. pip fetches the wheels, for the platform of
    the image; `/opt/lading/wheels.txt` in it lists them with their digests.
    """
    from lading.image.base import build_base
    from lading.image.places import open_source, open_target

    began = time.monotonic()
    on: Path | Source = Path(ground) if Path(ground).is_file() else open_source(ground)
    target = open_target(to)
    try:
        with printing.busy(f"making {to}"):
            built = build_base(
                on,
                wheels,
                target,
                platform=platform or _platform_here(),
                python=python,
                compress=compress == "gzip",
            )
    finally:
        target.close()
    seconds = round(time.monotonic() - began, 3)
    for note in built.notes:
        printing.remark(f"note: {note}")
    if as_json:
        import msgspec

        printing.as_json({**msgspec.to_builtins(built), "seconds": seconds})
        return
    printing.data(f"{built.image}@{built.digest}" if "@" not in built.image else built.image)
    versions = ", ".join(f"{name} {version}" for name, version in built.versions.items())
    printing.remark(f"{versions}: {printing.size(built.bytes_sent)} sent in {seconds:.1f} s")


def _platform_here() -> str:
    return f"linux/{_ARCHITECTURES.get(machine.machine(), machine.machine())}"


def _parts(bundles: Sequence[Ref | Path], registry: Registry) -> list[Part]:
    from lading.image.parts import from_directory, from_registry

    store = store_url()
    return [
        from_directory(one) if isinstance(one, Path) else from_registry(one, registry, store)
        for one in bundles
    ]
