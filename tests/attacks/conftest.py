from __future__ import annotations

import shutil

import pytest

from support.bundles import linear_bundle


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("pristine") / "iris.bundle").path


@pytest.fixture
def bundle(pristine, tmp_path):
    """Return the path of a good bundle, alone in its directory, for the test to damage."""
    return shutil.copytree(pristine, tmp_path / "case" / "iris.bundle")
