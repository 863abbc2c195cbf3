"""References to images: which are valid, and what they name."""

from __future__ import annotations

import pytest

from lading.errors import (
    InvalidReference,
)
from lading.image.references import open_source, remote_image


@pytest.mark.parametrize(
    "text", ["iris", "iris:3", "library/iris", "oci:", "docker-archive:a:", "a.b/c@sha256:1", "h:1/c:"]
)
def test_an_invalid_image_reference_is_refused(text):
    with pytest.raises(InvalidReference, match="found another form"):
        open_source(text)


def test_image_references_are_read_as_container_tools_read_them():
    for text, where in {
        "localhost:5000/a/b:1": "localhost:5000/a/b:1",
        "example.com/iris": "example.com/iris:latest",
        f"example.com/iris@sha256:{'0' * 64}": f"example.com/iris@sha256:{'0' * 64}",
    }.items():
        assert remote_image(text).where == where
