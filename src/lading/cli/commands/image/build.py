"""``lading image build``: bundles on top of a runtime image."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.image_view import print_built
from lading.cli.ui.parameters import (
    BundleType,
    json_option,
    open_registry,
    policy_option,
    registry_option,
)
from lading.ref import Ref
from lading.settings import store_url, trust_policy

if TYPE_CHECKING:
    from lading.image.build import BundleLayer


@click.command(
    "build",
    short_help="Add bundles to a runtime image.",
    cls=Command,
    examples=(
        "lading image build iris:3 --base registry.example.com/lading:1 --to registry.example.com/iris:3",
        "lading image build ./iris.bundle --base oci:runtime --to docker-archive:iris.tar:iris:3",
    ),
)
@click.argument("bundles", nargs=-1, required=True, type=BundleType(), metavar="REF|DIR...")
@click.option("--base", required=True, metavar="IMAGE", help="Runtime image to add them to.")
@click.option("--to", "to", required=True, metavar="IMAGE", help="Image to write.")
@click.option(
    "--platform", "platforms", multiple=True, metavar="OS/ARCH", help="Only this platform; repeatable."
)
@click.option(
    "--wheels",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of wheels to build environments of models in Python from, offline.  "
    "[default: the package index of pip]",
)
@policy_option
@registry_option
@json_option
def build(
    bundles: tuple[Ref | Path, ...], base: str, to: str, platforms: tuple[str, ...], **options: Any
) -> None:
    """Add each bundle to a runtime image as its own layer, which is the same blob that a store keeps.

    The environment of models in Python is a layer too, which all bundles with the same lock share. It is
    built for the image's Python from the wheels that the lock names; nothing of a bundle or wheel is run.
    Only what the target lacks is sent. What was attested about the bundles goes along, as files beside them
    in a small layer. The same base, bundles and attestations always give the same digest.
    """
    from lading.image.build import build as build_image
    from lading.image.progress import with_progress
    from lading.image.references import open_source, open_target

    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        layers = [_layer(each, options["registry"], options["policy"], stack) for each in bundles]
        source = stack.enter_context(contextlib.closing(open_source(base)))
        target = stack.enter_context(contextlib.closing(open_target(to)))
        with printing.progress_bar(f"building {to}") as on_progress:
            reporting = with_progress(target, on_progress)
            built = build_image(source, layers, reporting, platforms=platforms, wheels=options["wheels"])
        _carry(to, [text for layer in layers for text in layer.attested])
    seconds = round(time.monotonic() - began, 3)
    names = ", ".join(f"`{entry.name}`" for entry in built.bundles)
    print_built(built, seconds, f"{names} on `{base}`", as_json=options["as_json"])


def _carry(to: str, texts: list[str]) -> None:
    """Attach what was attested about the bundles to the image, if it is in a registry."""
    if not texts or to.startswith(("oci:", "docker-archive:")):
        return
    from lading.image.references import remote_image
    from lading.image.signing import carry_attestations

    named = remote_image(to)
    with contextlib.closing(named.repository):
        carry_attestations(named, texts)


def _layer(
    bundle: Ref | Path, registry: str | None, policy: str | None, stack: contextlib.ExitStack
) -> BundleLayer:
    from lading.image.bundle_layers import from_bundle, from_registry

    if isinstance(bundle, Path):
        from lading.bundle import Bundle
        from lading.registry.gate import admit_folder

        opened = Bundle.open(bundle)
        admit_folder("image", opened, trust_policy(policy))
        return from_bundle(opened)
    # The registry stays open until the image is built: only then is it known whether the bytes are needed.
    from_here = stack.enter_context(open_registry(registry, policy))
    version = from_here.resolve(bundle)
    from_here.admission.check("image", version)
    return from_registry(Ref(version.name, digest=version.digest), from_here, store_url())
