"""A version whose runs are recorded and can be held at a gate."""

from __future__ import annotations

import pytest

from lading.server.inference.version import ServedVersion
from support.hosted_app import GatedRuntime
from support.inference_jobs import gated_runtime, gated_version


@pytest.fixture
def served(tmp_path) -> ServedVersion:
    return gated_version(tmp_path)


@pytest.fixture
def runtime(served) -> GatedRuntime:
    """The runtime of `served`; its gate is open at first."""
    return gated_runtime(served)
