"""What a scan can be of, by how it is named."""

from __future__ import annotations

import pytest

from lading.cli.ui.subjects import is_image


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("oci:./a:b", True),
        ("registry.example.com/iris:3", True),
        ("localhost/iris", True),
        ("localhost:5000/iris", True),
        ("./iris.bundle", False),
        ("../iris", False),
        ("iris:3", False),
        ("models/iris.bundle", False),
    ],
)
def test_an_image_is_known_by_its_transport_or_its_host(text, answer):
    assert is_image(text) is answer
