"""One model for each test of gRPC."""

from __future__ import annotations

import pytest

from lading.server.inference.version import ServedVersion
from support.bundles import linear_bundle
from support.hosted_app import served_from


@pytest.fixture
def iris(tmp_path) -> ServedVersion:
    return served_from(linear_bundle(tmp_path / "iris"), 3)
