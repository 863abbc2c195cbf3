"""One model for all tests of a file, and servers over it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lading.server.inference.version import ServedVersion
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import GatedRuntime, gated, hosted, served_from
from support.http_requests import SETTINGS
from support.wire import Listening, listening


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> ServedVersion:
    return served_from(linear_bundle(tmp_path_factory.mktemp("http") / "iris"))


@pytest.fixture(scope="module")
def expected(served) -> list[float]:
    """The prediction for the row that `request` sends."""
    return served.run({"X": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)})["probabilities"][0].tolist()


@pytest.fixture(scope="module", params=["fast", "asgi"])
def host(request, served) -> Iterator[Listening]:
    """A server with fast routes, then one that answers every route under plain ASGI."""
    app = hosted(served, **SETTINGS).app
    with listening(app, ServeSettings(**SETTINGS), fast=request.param == "fast") as listening_host:
        yield listening_host


@pytest.fixture(scope="module")
def fast_host(served) -> Iterator[Listening]:
    """A server with fast routes."""
    app = hosted(served, **SETTINGS).app
    with listening(app, ServeSettings(**SETTINGS), fast=True) as listening_host:
        yield listening_host


@pytest.fixture
def waiting_version(tmp_path) -> ServedVersion:
    """A version whose runs wait until the gate of `runtime` opens."""
    version = served_from(linear_bundle(tmp_path / "iris"))
    gated(version, 10)
    return version


@pytest.fixture
def runtime(waiting_version) -> Iterator[GatedRuntime]:
    """The runtime of `waiting_version`."""
    runtime = waiting_version.model.runtime
    yield runtime
    runtime.gate.set()
