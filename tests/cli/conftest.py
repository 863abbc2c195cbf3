"""A registry of each test's own, and the command line run in this process; journeys run it as people do."""

from __future__ import annotations

import os

import pytest

from lading.cli import main
from lading.registry import Registry
from support.bundles import linear_bundle


@pytest.fixture(autouse=True)
def registry(tmp_path, monkeypatch):
    """A registry of the test's own, and nothing of the developer's environment."""
    for name in [name for name in os.environ if name.startswith("LADING_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LADING_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "registry"


@pytest.fixture
def lading(capsys):
    """Run one command line; give its exit code, stdout and stderr."""

    def run(*arguments):
        code = main([str(one) for one in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris.bundle")


@pytest.fixture
def filled(bundle, tmp_path, registry):
    """Two versions of iris, the first tagged `stable`."""
    with Registry.open(str(registry)) as opened:
        opened.push(bundle, tags=("stable",))
        opened.push(linear_bundle(tmp_path / "second.bundle", seed=1))
    return registry
