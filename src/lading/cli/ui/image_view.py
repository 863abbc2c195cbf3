"""How images are shown: the bundles in them, a row of a list, and what building one printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading import units
from lading.cli.ui import printing

if TYPE_CHECKING:
    from lading.image.base import BaseBuilt
    from lading.image.build import Built
    from lading.image.inspect import ImageSummary
    from lading.image.labels import BundleEntry

SUMMARY_HEADER = ("tags", "bundles", "runtime", "size", "digest")


def bundle_name(entry: BundleEntry) -> str:
    """Return a bundle with its version, if it has one."""
    return f"{entry.name}:{entry.version}" if entry.version else entry.name


def versions_text(versions: dict[str, str]) -> str:
    """Return the versions of a runtime in one line."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def summary_row(image: ImageSummary) -> tuple[str, ...]:
    """Return the row of an image under `SUMMARY_HEADER`."""
    return (
        ", ".join(image.tags),
        ", ".join(bundle_name(entry) for entry in image.bundles),
        versions_text(image.runtime),
        units.size(image.size_bytes),
        units.short_digest(image.digest),
    )


def print_built(built: Built | BaseBuilt, seconds: float, note: str, *, as_json: bool) -> None:
    """Print the name of an image that was written, with its digest, and `note` for people."""
    if as_json:
        import msgspec

        printing.as_json({**msgspec.to_builtins(built), "seconds": seconds})
        return
    # The digest pins the image; a name that has one already is written as it is.
    printing.data(f"{built.image}@{built.digest}" if "@" not in built.image else built.image)
    printing.info(f"{note}: {units.size(built.bytes_sent)} sent in {seconds:.2f} s")
