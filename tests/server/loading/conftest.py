"""A bundle and a trust policy that asks for its signature."""

from __future__ import annotations

import pytest

from support.bundles import linear_bundle
from support.signing import policy_file


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris.bundle")


@pytest.fixture
def policy(tmp_path):
    return policy_file(tmp_path)
