from __future__ import annotations

import pytest

from support.bundles import linear_bundle
from support.hosted_app import AppClient, hosted, served_from


@pytest.fixture(scope="package")
def iris(tmp_path_factory) -> AppClient:
    """Return the application with two versions of iris, the second of them live."""
    folder = tmp_path_factory.mktemp("native")
    old = served_from(linear_bundle(folder / "1", seed=1), 1)
    new = served_from(linear_bundle(folder / "2", seed=2), 2, ("live",))
    return hosted(old, new)
