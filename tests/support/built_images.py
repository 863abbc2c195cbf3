"""Images built of tiny bases and tiny bundles, and what is in them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path

from lading.image.build import build
from lading.image.bundle_layers import from_bundle
from lading.image.references import open_source, open_target
from support.bundles import linear_bundle
from support.images import tiny_base


def build_image(tmp_path: Path, *names: str, to: str = "", architectures: tuple[str, ...] = (), **more):
    """Build an image of tiny bundles, one for each name; return it with the layers of the bundles."""
    base = tiny_base(tmp_path / "base", *architectures)
    layers = []
    for number, name in enumerate(names or ("iris",)):
        path = tmp_path / f"{name}-{number}.bundle"
        layers.append(from_bundle(linear_bundle(path, name, seed=number)))
    target = open_target(to or f"oci:{tmp_path / 'out'}:iris")
    try:
        return build(open_source(base), layers, target, **more), layers
    finally:
        target.close()


def tags_in_layout(folder: Path) -> set[str]:
    """Return the tags of the images in an OCI layout."""
    entries = json.loads((folder / "index.json").read_text())["manifests"]
    return {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries}


def config_of(name: str) -> dict:
    """Return the configuration of an image for one platform."""
    source = open_source(name)
    manifest = json.loads(source.root().data)
    with source.open(manifest["config"]["digest"]) as file:
        return json.load(file)


def wheel(folder: Path, files: dict[str, bytes], *, wrong_digest: str = "") -> Path:
    path = folder / "some_thing-1.2-py3-none-any.whl"
    record = io.StringIO()
    writer = csv.writer(record)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            writer.writerow(
                (
                    name,
                    f"sha256={wrong_digest if wrong_digest and name == next(iter(files)) else digest}",
                    len(data),
                )
            )
        archive.writestr("some_thing-1.2.dist-info/RECORD", record.getvalue())
    return path
