"""The Python of an image that serves: its version and its path, read from the layers, without running it.

It is the one that the image's program `lading` names in its first line, however the image was made.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, BinaryIO

from lading.errors import ImageInvalid
from lading.image import Manifest, Source, environment_of
from lading.image.layers import MAX_UNPACKED_BYTES, open_tar

SCRIPT = "usr/local/bin/lading"
_FIRST_LINE = re.compile(rb"#!\s*(/\S*/python(3\.\d+)?|/usr/bin/env python3)\s*\n")
# Where Docker's official images have their Python, before any other on the path.
_OFFICIAL = "/usr/local/bin/python3"
# The longest first line that Linux reads.
_LINE_BYTES = 256


@dataclass(frozen=True, slots=True)
class ImagePython:
    """A Python in an image: its version, as in ``3.11``, and the path of the program."""

    version: str
    path: str


def find_python_of_lading(
    source: Source, manifest: Manifest, config: dict[str, Any], skip: Collection[str]
) -> ImagePython:
    """Return the Python that runs `lading` in an image.

    Layers whose uncompressed digest is in `skip` are not read. Raises `ImageInvalid` for an image without it.
    """
    # From the top: lading is a small layer above all that it needs.
    for layer, diff_id in zip(reversed(manifest.layers), reversed(config["rootfs"]["diff_ids"]), strict=True):
        if diff_id in skip:
            continue
        with source.open(layer.digest) as file:
            match = _FIRST_LINE.match(_read_script(file, source.where))
        if match is None:
            continue
        # Those state the version, and a name of the program need not have it.
        stated = environment_of(config.get("config") or {}).get("PYTHON_VERSION", "")
        version = match[2].decode() if match[2] else ".".join(stated.split(".")[:2])
        path = _OFFICIAL if match[1].startswith(b"/usr/bin/env") else match[1].decode()
        if version:
            return ImagePython(version, path)
    raise ImageInvalid(
        f"base `{source.where}`",
        expected=f"a Python that its `/{SCRIPT}` names, with its version",
        found="none",
        hint="models in Python need a runtime image that `lading image base` made, or one like it",
    )


def _read_script(file: BinaryIO, where: str) -> bytes:
    """Return the beginning of the program in a layer, empty if it is not in this one."""
    unpacked = 0
    with open_tar(file, f"base `{where}`") as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            unpacked += member.size
            if unpacked > MAX_UNPACKED_BYTES:
                expected = f"at most {MAX_UNPACKED_BYTES >> 30} GiB in a layer"
                raise ImageInvalid(f"base `{where}`", expected=expected, found="more")
            if member.name.removeprefix("./") == SCRIPT and member.isfile():
                script = archive.extractfile(member)
                return b"" if script is None else script.read(_LINE_BYTES)
    return b""
