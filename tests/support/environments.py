"""Environments of bundles for tests: built once for all tests of this run, and not in the user's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def environments(tmp_path_factory, monkeypatch) -> Path:
    """Let this test and what it starts find environments in a folder that all workers of the run share."""
    shared = shared_cache(tmp_path_factory)
    monkeypatch.setenv("LADING_CACHE", str(shared))
    return shared


def shared_cache(tmp_path_factory) -> Path:
    """Return the folder of environments that all workers of the run share."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "environments-cache"
    shared.mkdir(exist_ok=True)
    return shared
