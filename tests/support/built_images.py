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
    base = tiny_base(tmp_path / "base", *architectures)
    parts = []
    for at, name in enumerate(names or ("iris",)):
        path = tmp_path / f"{name}-{at}.bundle"
        parts.append(from_bundle(linear_bundle(path, name, seed=at)))
    target = open_target(to or f"oci:{tmp_path / 'out'}:iris")
    try:
        return build(open_source(base), parts, target, **more), parts
    finally:
        target.close()


def config_of(name: str) -> dict:
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
