"""A bundle that is signed and judged, and a registry of what runs."""

from __future__ import annotations

import pytest

from lading.registry import Registry
from lading.trust.running_scans import RunningScanner
from support.bundles import linear_bundle
from support.feeds import published
from support.scanned_servers import Clock


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("signed") / "iris.bundle")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as opened:
        yield opened


@pytest.fixture
def feeds(tmp_path):
    return published(tmp_path / "feeds")


@pytest.fixture
def scanner(registry, feeds, clock):
    return RunningScanner(registry, feeds, actor="me", clock=clock)
