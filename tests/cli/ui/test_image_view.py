"""How images are shown."""

from __future__ import annotations

import json

from lading.cli.ui.image_view import SUMMARY_HEADER, bundle_name, print_built, summary_row
from lading.image.build import Built
from lading.image.inspect import ImageSummary
from lading.image.labels import BundleEntry

DIGEST = "sha256:" + "ab" * 32
IRIS = BundleEntry(name="iris", version=3, digest=DIGEST, blob=DIGEST, purpose="", owner="")
WINE = BundleEntry(name="wine", version=0, digest=DIGEST, blob=DIGEST, purpose="", owner="")


def test_a_bundle_without_a_version_is_shown_by_its_name():
    assert [bundle_name(entry) for entry in (IRIS, WINE)] == ["iris:3", "wine"]


def test_an_image_is_a_row_with_its_tags_and_bundles():
    image = ImageSummary(
        digest=DIGEST,
        tags=("3", "stable"),
        bundles=[IRIS, WINE],
        runtime={"python": "3.11"},
        size_bytes=2_000_000,
    )
    row = dict(zip(SUMMARY_HEADER, summary_row(image), strict=True))
    assert row == {
        "tags": "3, stable",
        "bundles": "iris:3, wine",
        "runtime": "python 3.11",
        "size": "2.0 MB",
        "digest": "sha256:abababababab",
    }


def test_a_built_image_is_printed_by_its_digest(capsys):
    built = Built(
        image="host/iris:3", digest=DIGEST, platforms={}, bundles=[], environments=[], bytes_sent=1_500
    )
    print_built(built, 0.25, "`iris` on `base`", as_json=False)
    output = capsys.readouterr()
    assert output.out == f"host/iris:3@{DIGEST}\n"
    assert output.err == "`iris` on `base`: 1.5 kB sent in 0.25 s\n"
    print_built(built, 0.25, "", as_json=True)
    assert json.loads(capsys.readouterr().out)["seconds"] == 0.25
