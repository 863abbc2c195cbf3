from __future__ import annotations

import pytest

from lading.server.inference.version import ServedVersion
from support.bundles import linear_bundle
from support.echo_models import echo_bundle, echo_bundles, sum_bundle
from support.hosted_app import AppClient, hosted, served_from


@pytest.fixture(scope="package")
def versions(tmp_path_factory) -> list[ServedVersion]:
    """Return an echo of every dtype, a sum of two inputs, shapes without a batch, two versions of iris."""
    folder = tmp_path_factory.mktemp("oip")
    return [
        *map(served_from, echo_bundles(folder)),
        served_from(sum_bundle(folder / "sum")),
        served_from(echo_bundle(folder / "scalar", "float32", "scalar", ())),
        served_from(echo_bundle(folder / "row", "int64", "row", ("length",))),
        served_from(linear_bundle(folder / "1", seed=1), 1),
        served_from(linear_bundle(folder / "2", seed=2), 2, ("live",)),
        served_from(linear_bundle(folder / "plain", "plain"), 0),
    ]


@pytest.fixture(scope="package")
def client(versions) -> AppClient:
    return hosted(*versions)
