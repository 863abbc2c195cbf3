"""``lading image``: images that serve, made from bundles without a container engine, and what is in them."""

from __future__ import annotations

import contextlib
import platform as machine
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command, Group
from lading.cli.ui.parameters import BundleType, json_option, open_registry, registry_option
from lading.ref import Ref
from lading.settings import store_url

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.image import Source
    from lading.image.build import BundleLayer
    from lading.image.inspect import ImageSummary
    from lading.image.labels import BundleEntry
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
    from lading.image.progress import telling
    from lading.image.references import open_source, open_target

    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        parts = [_part(one, registry, stack) for one in bundles]
        source, target = open_source(base), open_target(to)
        stack.callback(target.close)
        with printing.moving(f"building {to}") as told:
            built = build_image(source, parts, telling(target, told), platforms=platforms)
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
        "lading image base --from rootfs.tar --wheels requirements/image.txt --to oci:runtime",
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
    from lading.image.progress import telling
    from lading.image.references import open_source, open_target

    began = time.monotonic()
    if ".tar" in Path(ground).suffixes and ":" not in ground and not Path(ground).is_file():
        raise click.BadParameter(f"file `{ground}` does not exist", param_hint="`--from`")
    on: Path | Source = Path(ground) if Path(ground).is_file() else open_source(ground)
    target = open_target(to)
    try:
        with printing.moving(f"making {to}") as told:
            built = build_base(
                on,
                wheels,
                telling(target, told),
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


@image.command(
    "inspect",
    short_help="Show what is in an image.",
    cls=Command,
    examples=(
        "lading image inspect registry.example.com/iris:3",
        "lading image inspect docker-archive:iris.tar --json",
    ),
)
@click.argument("image", metavar="IMAGE")
@json_option
def inspect(image: str, as_json: bool) -> None:
    """Show an image's bundles, its runtime, and its size by layer; no layer is fetched."""
    from lading.image.inspect import inspect as read
    from lading.image.references import open_source

    contents = read(open_source(image))
    if as_json:
        printing.as_json(contents)
        return
    for one in contents.platforms:
        printing.facts(
            [
                ("image", contents.image),
                ("digest", one.digest),
                ("platform", one.platform),
                *(("bundle", f"{_named(entry)}  {entry.digest}") for entry in one.bundles),
                ("purpose", ", ".join(entry.purpose for entry in one.bundles)),
                ("owner", ", ".join(entry.owner for entry in one.bundles)),
                ("runtime", ", ".join(f"{name} {version}" for name, version in one.versions.items())),
                ("runtime id", one.runtime),
                ("base", one.base),
                ("size", printing.size(one.size_bytes)),
            ]
        )
        printing.data("")
        rows = [(printing.size(at.size_bytes), at.what, printing.short(at.digest)) for at in one.layers]
        printing.table(("size", "layer", "digest"), rows)


@image.command(
    "list",
    short_help="List the images of a repository.",
    cls=Command,
    examples=("lading image list registry.example.com/iris",),
)
@click.argument("repository", metavar="HOST/REPOSITORY")
@json_option
def list_images(repository: str, as_json: bool) -> None:
    """List the images of a repository with their bundles; artifacts beside them are left out."""
    from lading.image.inspect import list_images as read
    from lading.image.references import repository as open_repository

    found = read(open_repository(repository))
    if as_json:
        printing.as_json(found)
        return
    header = ("tags", "bundles", "runtime", "size", "digest")
    printing.table(header, [_listed(one) for one in found])


@image.command(
    "prune",
    short_help="Remove images that nobody needs any more.",
    cls=Command,
    examples=(
        "lading image prune registry.example.com/iris --dry-run",
        "lading image prune registry.example.com/iris --keep 5",
    ),
)
@click.argument("repository", metavar="HOST/REPOSITORY")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=10,
    metavar="N",
    help="Versions and releases of each model to keep images of.  [default: 10]",
)
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@registry_option
@json_option
def prune(repository: str, keep: int, dry_run: bool, registry: str | None, as_json: bool) -> None:
    """Remove the images of versions that no release, none of the last N and no running server names.

    Bundles stay in the registry, so every image can be built again. Images without a bundle and those of
    models that the registry does not know stay.
    """
    from lading.image.prune import prune as prune_images
    from lading.image.references import repository as open_repository

    with open_registry(registry) as opened:
        pruned = prune_images(open_repository(repository), opened, keep=keep, dry_run=dry_run)
    if as_json:
        printing.as_json(pruned)
        return
    rows = [("remove", *_listed(one), "") for one in pruned.removed]
    rows += [("keep", *_listed(one.image), "; ".join(one.kept_by)) for one in pruned.kept]
    printing.table(("", "tags", "bundles", "runtime", "size", "digest", "kept by"), rows)
    done = "would go" if dry_run else "removed"
    printing.remark(f"{len(pruned.removed)} {done}, {len(pruned.kept)} kept")


@image.command(
    "verify",
    short_help="Prove that image and bundle answer alike.",
    cls=Command,
    examples=("lading image verify registry.example.com/iris:3 --against iris:3",),
)
@click.argument("image", metavar="IMAGE")
@click.option(
    "--against", required=True, type=BundleType(), metavar="REF|DIR", help="The bundle to compare with."
)
@registry_option
@json_option
def verify(image: str, against: Ref | Path, registry: str | None, as_json: bool) -> None:
    """Serve an image and, beside it, the bundle pulled at the start; both must answer bit by bit alike.

    They are asked the golden rows and random ones over HTTP. The evidence is recorded for the image's
    runtime (see `lading matrix`); a server in that image refuses a bundle whose last evidence failed.
    Without podman, or docker for an image in a registry, this machine's own runtime serves the bundle in it.
    """
    import tempfile

    from lading.cli.commands.verify import refusal, show
    from lading.image.engine import find_engine
    from lading.image.equivalence import verify_image

    engine = find_engine(image)
    if engine is None:
        printing.remark(
            "no podman or docker here runs it: the image's bundle is served by this machine's runtime"
        )
    with open_registry(registry) as opened, tempfile.TemporaryDirectory(prefix="lading-") as folder:
        with printing.busy(f"verifying {image}"):
            evidence = verify_image(image, _twin(against, opened, Path(folder) / "twin"), engine)
        if isinstance(against, Ref):
            opened.record(evidence)
    if as_json:
        printing.as_json({"holds": evidence.holds, "evidence": evidence})
    else:
        show(evidence)
    if not evidence.holds:
        raise refusal(evidence)
    runtime = f"image `{evidence.fingerprint.image}`" if engine is not None else "this machine"
    printing.remark(f"`{evidence.name}` answers alike from the image and as a pulled bundle, on {runtime}")


def _twin(against: Ref | Path, registry: Registry, to: Path) -> Bundle:
    """Pull the bundle as a server that loads at its start does; a directory is copied the same way."""
    if isinstance(against, Ref):
        return registry.pull(against, to)
    import tempfile

    from lading.bundle import Bundle, unpack_tar

    with tempfile.TemporaryFile() as file:
        Bundle.open(against).write_tar(file)
        file.seek(0)
        return unpack_tar(file, to)


def _named(entry: BundleEntry) -> str:
    return f"{entry.name}:{entry.version}" if entry.version else entry.name


def _listed(one: ImageSummary) -> tuple[str, ...]:
    return (
        ", ".join(one.tags),
        ", ".join(_named(entry) for entry in one.bundles),
        ", ".join(f"{name} {version}" for name, version in one.runtime.items()),
        printing.size(one.size_bytes),
        printing.short(one.digest),
    )


def _platform_here() -> str:
    return f"linux/{_ARCHITECTURES.get(machine.machine(), machine.machine())}"


def _part(bundle: Ref | Path, registry: str | None, stack: contextlib.ExitStack) -> BundleLayer:
    from lading.image.bundle_layers import from_directory, from_registry

    if isinstance(bundle, Path):
        return from_directory(bundle)
    # Open until the image is built: only then is it known whether its bytes are needed.
    return from_registry(bundle, stack.enter_context(open_registry(registry)), store_url())
