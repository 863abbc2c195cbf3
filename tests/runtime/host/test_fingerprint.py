"""The fingerprint of the machine and its libraries."""

from __future__ import annotations

import numpy as np

from lading.runtime.host.fingerprint import fingerprint, image_here


def test_a_fingerprint_depends_on_versions_and_image_only():
    plain = fingerprint({})
    assert (plain.numpy, plain.image) == (np.__version__, None)
    assert plain.onnxruntime[0].isdigit()
    assert plain.id == fingerprint({}).id
    assert fingerprint({"LADING_IMAGE": "sha256:12"}).id != plain.id


def test_the_image_is_named_by_a_variable():
    assert image_here({}) is None
    assert image_here({"LADING_IMAGE": "sha256:cd"}) == "sha256:cd"
