"""A model that is loaded once for the tests of jobs."""

from __future__ import annotations

import pytest

from support.bundles import linear_bundle
from support.hosted_app import served_from


@pytest.fixture(scope="session")
def iris_bundle(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("jobs") / "iris")


@pytest.fixture
def iris(iris_bundle):
    return served_from(iris_bundle, 1, ("stable",))
